"""Usage as Lago prints it, by tables."""

from __future__ import annotations

import random
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from app.api.usage.usage_json import (
    UsageSelection,
    current_usage_json,
    current_usage_stream,
    projecting_usage,
)
from app.bounds.turns import drained
from app.definitions.model import Charge, ChargeFilter, Metric
from app.meter.usage import (
    OPEN,
    ChargeInForce,
    PendingRow,
    PeriodUsage,
    Publication,
    UsageRow,
)
from bench.growth.spent import steps_of
from tests.world.past import past_usage_json
from tests.world.period_usage import period_usage

FROM_MS = 1_767_225_600_000
"""2026-01-01T00:00:00Z."""
END_MS = 1_769_904_000_000
"""2026-02-01T00:00:00Z."""

EU = ChargeFilter(id="f-eu", values={"region": ("eu",)})
US = ChargeFilter(id="f-us", values={"region": ("us",)}, invoice_display_name="America")


def metric(code: str, aggregation_type: Any = "sum_agg", name: str | None = None) -> Metric:
    return Metric(
        id=f"m-{code}",
        organization_id="o",
        code=code,
        name=name or code,
        aggregation_type=aggregation_type,
        created_at_ms=0,
    )


def charge(code: str = "storage", **more: Any) -> Charge:
    return Charge(
        id=f"c-{code}",
        metric_id=f"m-{code}",
        code=code,
        charge_model="standard",
        created_at_ms=0,
        **more,
    )


def row(units: str, events: int, code: str = "storage", **more: Any) -> UsageRow:
    return UsageRow(
        charge_id=f"c-{code}",
        filter_id=more.pop("filter_id", None),
        units=Decimal(units),
        total_aggregated_units=Decimal(units),
        events_count=events,
        **more,
    )


def usage(
    charges: list[Charge],
    rows: list[UsageRow],
    metrics: dict[str, Metric] | None = None,
    timezone: str = "UTC",
    publication: Publication = OPEN,
) -> PeriodUsage:
    known = metrics or {}
    in_force = (ChargeInForce(c, known.get(c.code, metric(c.code))) for c in charges)
    return period_usage(in_force, rows, FROM_MS, END_MS, publication, timezone)


def figures(entry: dict[str, Any]) -> tuple[str, int]:
    return entry["units"], entry["events_count"]


def buckets(filters: list[dict[str, Any]]) -> list[tuple[Any, str, int]]:
    return [(entry["values"], *figures(entry)) for entry in filters]


def groups(charge_usage: dict[str, Any]) -> list[tuple[Any, str, int]]:
    return [(entry["grouped_by"], *figures(entry)) for entry in charge_usage["grouped_usage"]]


def only(shown: dict[str, Any]) -> dict[str, Any]:
    (entry,) = shown["charges_usage"]
    assert isinstance(entry, dict)
    return entry


def test_the_whole_object() -> None:
    shown = current_usage_json(usage([charge()], [row("12.50", 3)]))
    assert shown == {
        "from_datetime": "2026-01-01T00:00:00Z",
        "to_datetime": "2026-01-31T23:59:59Z",
        "issuing_date": "2026-01-31",
        "lago_invoice_id": None,
        "currency": "EUR",
        "amount_cents": 0,
        "taxes_amount_cents": 0,
        "total_amount_cents": 0,
        "charges_usage": [
            {
                "units": "12.5",
                "total_aggregated_units": "12.5",
                "events_count": 3,
                "amount_cents": 0,
                "amount_currency": "EUR",
                "pricing_unit_details": None,
                "charge": {
                    "lago_id": "c-storage",
                    "code": "storage",
                    "charge_model": "standard",
                    "invoice_display_name": None,
                },
                "billable_metric": {
                    "lago_id": "m-storage",
                    "name": "storage",
                    "code": "storage",
                    "aggregation_type": "sum_agg",
                },
                "filters": [],
                "grouped_usage": [],
                "presentation_breakdowns": [],
            }
        ],
        "as_of": {
            "append_time": "2026-01-01T00:00:00.001Z",
            "partition": 3,
            "raw_offset": 42,
            "rekeyed_offset": 7,
        },
        "stale": False,
    }


@pytest.mark.parametrize(
    ("timezone", "issuing_date"),
    [
        pytest.param("UTC", "2026-01-31", id="utc"),
        pytest.param("Asia/Tokyo", "2026-02-01", id="ahead"),
        pytest.param("America/New_York", "2026-01-31", id="behind"),
    ],
)
def test_issuing_date_is_local(timezone: str, issuing_date: str) -> None:
    assert current_usage_json(usage([], [], timezone=timezone))["issuing_date"] == issuing_date


def test_filters_are_listed_even_when_unused_and_the_default_bucket_last() -> None:
    charges = [charge(filters=(EU, US))]
    shown = only(current_usage_json(usage(charges, [row("12", 2, filter_id="f-eu"), row("3", 1)])))
    assert figures(shown) == ("15.0", 3)
    assert buckets(shown["filters"]) == [
        ({"region": ["eu"]}, "12.0", 2),
        ({"region": ["us"]}, "0.0", 0),
        (None, "3.0", 1),
    ]
    assert [entry["invoice_display_name"] for entry in shown["filters"]] == [None, "America", None]
    assert shown["grouped_usage"] == []


CLOUD = {"pricing_group_keys": ["cloud"]}


@pytest.mark.parametrize(
    ("properties", "rows", "expected"),
    [
        pytest.param(
            CLOUD,
            [
                row("6", 1, grouped_by=(("cloud", "gcp"),)),
                row("8", 2, grouped_by=(("cloud", "aws"),)),
                row("1", 1, grouped_by=(("cloud", None),)),
            ],
            [
                ({"cloud": None}, "1.0", 1),
                ({"cloud": "aws"}, "8.0", 2),
                ({"cloud": "gcp"}, "6.0", 1),
            ],
            id="groups-in-order-of-value",
        ),
        pytest.param(CLOUD, [], [({"cloud": None}, "0.0", 0)], id="unused-is-the-null-group"),
        pytest.param(
            {"grouped_by": ["cloud"]}, [], [({"cloud": None}, "0.0", 0)], id="former-name"
        ),
        pytest.param({}, [row("8", 2)], [], id="not-grouped"),
    ],
)
def test_groups(properties: Any, rows: list[UsageRow], expected: Any) -> None:
    shown = only(current_usage_json(usage([charge(properties=properties)], rows)))
    assert groups(shown) == expected
    assert all(entry["filters"] == [] for entry in shown["grouped_usage"])
    assert all("amount_currency" not in entry for entry in shown["grouped_usage"])


class Compared(str):
    """Text that counts how often it is put in order."""

    times = 0
    __hash__ = str.__hash__

    def __lt__(self, other: str) -> bool:
        Compared.times += 1
        return super().__lt__(other)


def test_many_groups_are_put_in_order_while_they_are_written() -> None:
    """To sort them all at once is a long step before the first is written."""
    clouds = [Compared(number) for number in range(10_000)]
    random.Random(7).shuffle(clouds)
    rows = [row("1", 1, grouped_by=(("cloud", each), ("region", None))) for each in clouds]
    Compared.times = 0
    (told,) = current_usage_stream(usage([charge(properties=CLOUD)], rows))["charges_usage"]
    entries = told["grouped_usage"]
    found = [next(entries)]
    assert Compared.times < 3 * len(clouds)
    found += entries
    assert [entry["grouped_by"]["cloud"] for entry in found] == sorted(map(str, clouds))


def filtered(filters: int) -> PeriodUsage:
    """A charge of so many filters, each of which has one cell of a group of its own."""
    made = [ChargeFilter(id=f"f-{n}", values={"n": (str(n),)}) for n in range(filters)]
    rows = [
        row("1", 1, filter_id=f"f-{n}", grouped_by=(("cloud", str(n)),)) for n in range(filters)
    ]
    return usage([charge(filters=tuple(made), properties=CLOUD)], rows)


def test_a_filter_costs_the_same_beside_many() -> None:
    few, many = (steps_of(partial(current_usage_json, filtered(n))) / n for n in (100, 1_000))
    assert many < 1.1 * few


def test_what_it_comes_to_is_found_some_rows_at_a_step() -> None:
    steps = projecting_usage(filtered(1_000), FROM_MS + 1)
    # The first step brings rows of filters that used nothing, too.
    next(steps)
    a_step = steps_of(partial(next, steps))
    assert a_step < steps_of(partial(drained, steps)) / 8


def test_filters_nest_in_groups_and_a_filter_groups_by_its_own_keys() -> None:
    grouped = ChargeFilter(id="f-eu", values={"region": ("eu",)}, properties=CLOUD)
    charges = [charge(filters=(grouped,), properties=CLOUD)]
    rows = [
        row("1", 1, filter_id="f-eu", grouped_by=(("cloud", "aws"),)),
        row("2", 1, filter_id="f-eu", grouped_by=(("cloud", "gcp"),)),
        row("4", 1, grouped_by=(("cloud", "aws"),)),
    ]
    shown = only(current_usage_json(usage(charges, rows)))
    assert buckets(shown["filters"]) == [({"region": ["eu"]}, "3.0", 2), (None, "4.0", 1)]
    assert groups(shown) == [({"cloud": "aws"}, "5.0", 2), ({"cloud": "gcp"}, "2.0", 1)]
    aws, gcp = shown["grouped_usage"]
    assert buckets(aws["filters"]) == [({"region": ["eu"]}, "1.0", 1), (None, "4.0", 1)]
    assert buckets(gcp["filters"]) == [({"region": ["eu"]}, "2.0", 1)]


def test_a_filter_without_keys_is_not_grouped_though_the_charge_is() -> None:
    charges = [charge(filters=(EU,), properties=CLOUD)]
    shown = only(current_usage_json(usage(charges, [row("1", 1, filter_id="f-eu")])))
    assert groups(shown) == [({}, "1.0", 1), ({"cloud": None}, "0.0", 0)]


def test_past_usage_names_three_figures() -> None:
    state = Publication(
        state="published", due_at_ms=0, closed_at_ms=0, final_after_ms=9, pending_cut_ms=3_600_000
    )
    late = replace(
        row("3", 1, filter_id="f-eu"), revision=2, pending=PendingRow(Decimal(5), 3, "late_events")
    )
    same = replace(row("1", 1, filter_id="f-us"), revision=0)
    new = replace(row("0", 0), pending=PendingRow(Decimal(7), 1, None))
    shown = past_usage_json(usage([charge(filters=(EU, US))], [late, same, new], publication=state))
    assert (shown["final_after"], shown["closed_at"]) == (
        "1970-01-01T00:00:00.009Z",
        "1970-01-01T00:00:00.000Z",
    )
    total = only(shown)
    assert total["units"] == "4.0"
    assert total["published"] == {"revision": 2, "units": "4.0", "events_count": 2}
    assert total["pending"] == {
        "cut": "1970-01-01T01:00:00.000Z",
        "events": 3,
        "delta_units": "9.0",
        "reasons": ["first_record", "late_events"],
    }
    assert (total["live"]["units"], total["live"]["events_count"]) == ("13.0", 5)
    eu, us, other = total["filters"]
    assert (eu["published"]["units"], eu["live"]["units"]) == ("3.0", "5.0")
    assert us["pending"] is None
    assert us["live"]["units"] == us["published"]["units"] == "1.0"
    assert other["published"] is None
    assert other["pending"]["delta_units"] == "7.0"


def test_what_is_pending_is_not_rounded() -> None:
    pending = PendingRow(Decimal("1" + 30 * "0" + ".5"), 1, "late_events")
    state = Publication(state="published", pending_cut_ms=0)
    revised = replace(row("1", 1), revision=0, pending=pending)
    total = only(past_usage_json(usage([charge()], [revised], publication=state)))
    assert total["pending"]["delta_units"] == 30 * "9" + ".5"


def test_past_usage_leaves_out_what_was_not_used() -> None:
    charges = [charge(filters=(EU, US)), charge("api")]
    state = Publication(state="published")
    shown = past_usage_json(usage(charges, [row("3", 1, filter_id="f-us")], publication=state))
    assert (shown["state"], shown["final"]) == ("published", False)
    assert buckets(only(shown)["filters"]) == [({"region": ["us"]}, "3.0", 1)]


@pytest.mark.parametrize(
    ("selection", "codes"),
    [
        pytest.param(UsageSelection(), ["b", "a", "c"], id="all-by-metric-name"),
        pytest.param(UsageSelection(charge_id="c-a"), ["a"], id="by-id"),
        pytest.param(UsageSelection(charge_code="b"), ["b"], id="by-code"),
        pytest.param(UsageSelection(billable_metric_code="c"), ["c"], id="by-metric"),
        pytest.param(UsageSelection(charge_id="c-a", charge_code="b"), ["a"], id="id-wins"),
        pytest.param(UsageSelection(charge_code="zzz"), [], id="unknown"),
    ],
)
def test_selection_of_charges(selection: UsageSelection, codes: list[str]) -> None:
    metrics = {
        code: metric(code, name=name) for code, name in (("a", "beta"), ("b", "Alpha"), ("c", "Z"))
    }
    charges = [charge(code) for code in "abc"]
    shown = current_usage_json(usage(charges, [], metrics), selection)
    assert [entry["charge"]["code"] for entry in shown["charges_usage"]] == codes
