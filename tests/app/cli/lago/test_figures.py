"""Figures of two sides are paired by what they are, whatever their order and spelling."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from app.cli.lago.figures import compared, period_of, share
from tests.app.cli.lago.stand_in import Json


def shown(charges: list[Json], starts: str = "2024-03-01T00:00:00Z") -> Json:
    ends = "2024-03-31T23:59:59Z"
    return {"from_datetime": starts, "to_datetime": ends, "charges_usage": charges}


def a_charge(units: str, groups: dict[str | None, str] | None = None, **more: Any) -> Json:
    return {
        "units": units,
        "charge": {"charge_model": "standard", "lago_id": units, **more},
        "billable_metric": {"code": "calls"},
        "grouped_usage": [
            {"grouped_by": {"team": name}, "units": of_it} for name, of_it in (groups or {}).items()
        ],
    }


def differing(lago: list[Json], here: list[Json]) -> list[tuple[str, str, str]]:
    found = compared(list(map(period_of, lago)), list(map(period_of, here)), past=False)
    return [(each.field, each.lago, each.here) for each in found]


def test_charges_of_one_metric_come_in_any_order_where_none_has_a_code() -> None:
    lago, here = [[shown([a_charge(u) for u in order])] for order in (("1", "2"), ("2", "1"))]
    assert differing(lago, here) == []
    agreed, total = share([period_of(lago[0])], [period_of(here[0])])
    assert agreed == total == Fraction(3)
    here[0]["charges_usage"][0]["units"] = "3"
    assert differing(lago, here) == [("units", "2", "3")]


@pytest.mark.parametrize(("one", "other"), [(None, "(none)"), ("(none)", '"(none)"')])
def test_no_two_groups_are_taken_for_one(one: str | None, other: str | None) -> None:
    lago = [shown([a_charge("3", {one: "1", other: "2"})])]
    here = [shown([a_charge("3", {one: "2", other: "1"})])]
    assert differing(lago, here) != []
    assert differing(lago, lago) == []


def test_an_instant_of_another_zone_is_the_same_one() -> None:
    here = [shown([a_charge("1")])]
    lago = [shown([a_charge("1")], "2024-03-01T01:00:00+01:00")]
    assert differing(lago, here) == []


def test_of_two_periods_that_begin_at_once_both_are_looked_at() -> None:
    short = {**shown([a_charge("5")]), "to_datetime": "2024-03-01T00:00:00Z"}
    whole = shown([a_charge("1")])
    assert differing([whole, short], [short, whole]) == []
    assert differing([whole], [short, whole]) == [("period", "none", "2024-03-01T00:00:00Z")]
    agreed, total = share(
        *[list(map(period_of, each)) for each in ([whole, short], [short, whole])]
    )
    assert agreed == total == Fraction(6)
