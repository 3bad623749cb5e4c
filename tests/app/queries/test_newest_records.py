"""The newest record of each cell is listed by pages, and only those of a page are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bounds.turns import STEP_ITEMS, drained
from app.definitions import commands
from app.meter.records import RecordPlace, RecordQuery
from app.queries import records
from app.queries.listing import First
from app.queries.records import Records, _page, _Published, _published
from app.runtime.homes import HomePartitions
from tables.partition.partition import Partition
from tests.world.bodies import Json
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION, subscription_body
from tests.world.events import raw
from tests.world.story import Story

NAMES = (SUBSCRIPTION, "a", "z")
AT = "2024-04-10"


def _told() -> Story:
    """Three subscriptions with two metrics by groups, three months, and what came too late."""
    grouped = {"properties": {"pricing_group_keys": ["g"]}}
    told = Story().metric("m", "sum_agg").metric("n", "sum_agg")
    told.plan({"billable_metric_code": "m", **grouped}, {"billable_metric_code": "n"})
    for name in NAMES:
        told.subscribe(external_id=name)
    for month in (1, 2, 3):
        for name in NAMES[month % 2 :]:
            for code, groups in (("m", 4 * month), ("n", 1)):
                for group in range(groups):
                    _send(told, name, code, f"2024-0{month}-02", f"g{group}")
    for name in NAMES[1:]:
        _send(told, name, "m", "2024-02-03", "g1", "2024-03-20")
    return told


def _send(
    told: Story, name: str, code: str, at: str, group: str, appended: str | None = None
) -> None:
    told.append(appended or at, raw(code, f"t{len(told.events)}", ms(at), name, v="1", g=group))


def _listed(
    state: Partition, query: RecordQuery, offset: int, limit: int
) -> tuple[list[RecordPlace], int]:
    names: Iterator[Any] = iter([(ORG, NAMES[0]), None, *((ORG, name) for name in NAMES[1:])])
    periods = First[_Published](offset + limit)
    count = drained(_published(state, names, query, periods))
    return drained(_page(periods, query, offset, limit)), count


def _expected(sent: list[Json], kind: str | None, code: str | None) -> list[str]:
    """Return ids of the newest records of all that was sent, in the order of the listing."""
    newest: dict[str, Json] = {}
    is_completion = kind == "period.completed"
    for record in sent:
        if (record["type"] == "period.completed") == is_completion:
            newest[record["cell_id"]] = record
    found = [
        one for one in newest.values() if kind in (None, one["type"]) and code in (None, _code(one))
    ]
    order = [
        (one["external_subscription_id"], -ms(one["period"]["from"]), one["cell_id"], one["id"])
        for one in found
    ]
    return [each[-1] for each in sorted(order)]


def _code(record: Json) -> str | None:
    metric = record.get("billable_metric")
    return None if metric is None else metric["code"]


@pytest.mark.parametrize("kind", [None, "usage.recorded", "usage.revised", "period.completed"])
@pytest.mark.parametrize("code", [None, "m", "n", "other"])
def test_pages_hold_what_was_published_last(kind: str | None, code: str | None) -> None:
    told = _told()
    expected, state = _expected(told.messages(AT), kind, code), told.meter(AT).partition
    assert (code == "other" or (kind, code) == ("usage.revised", "n")) <= (not expected)
    for is_flushed in (False, True):
        if is_flushed:
            state.published.take_changes()
            state.published.periods.clear()
        for limit in (1, 7, 100):
            shown = list[str]()
            for offset in range(0, len(expected) + limit, limit):
                query = RecordQuery(type=kind, metric_code=code)
                places, count = _listed(state, query, offset, limit)
                assert count == len(expected)
                assert len(places) <= limit
                shown += [place.id for place in places]
            assert shown == expected


def test_records_of_a_customer_outlive_its_deletion() -> None:
    told = Story().metric("m", "sum_agg").plan({"billable_metric_code": "m"}).subscribe()
    told.send("2024-01-02", v="1")
    query = RecordQuery(external_customer_id="customer")

    def listed() -> list[str]:
        state = told.meter("2024-04-10").partition
        engine = SimpleNamespace(
            definitions=state.definitions, homes=HomePartitions(state.definitions, 1)
        )
        owned = cast(Any, SimpleNamespace(number=0, state=state))
        names = Records(cast(Any, engine), cast(Any, None))._names(owned, ORG, query)
        periods = First[_Published](100)
        assert drained(_published(state, names, query, periods)) == 1
        return [place.id for place in drained(_page(periods, query, 0, 100))]

    before = listed()
    told.define("2024-03-15", commands.delete_customer(ORG, "customer"))
    assert listed() == before
    told.define("2024-03-16", commands.upsert_customer(ORG, {"external_id": "customer"}))
    assert listed() == before
    anew = subscription_body(external_id="another", subscription_at=None)
    told.define("2024-03-17", commands.create_subscription(ORG, anew))
    assert listed() == before


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many ids are made: of cells, and of records."""
    counts = Counter[str]()
    for name in ("cell_id", "record_id"):
        make = getattr(records, name)

        def counting(*args: Any, _name: str = name, _make: Any = make) -> str:
            counts[_name] += 1
            made: str = _make(*args)
            return made

        monkeypatch.setattr(records, name, counting)
    return counts


def test_what_is_not_on_the_page_is_counted_only(made: Counter[str]) -> None:
    state = _told().meter(AT).partition
    state.published.take_changes()
    state.published.periods.clear()
    made.clear()
    # The newest period of the first has 13 records, the one before it 9.
    for offset, cells, read in ((0, 13, 1), (14, 9, 2), (12, 22, 2)):
        places, count = _listed(state, RecordQuery(), offset, 2)
        assert (len(places), count) == (2, 63)
        assert made == {"cell_id": cells, "record_id": 2}
        assert len(state.published.periods) == read
        made.clear()


def test_a_period_with_very_many_cells_is_listed_by_steps(made: Counter[str]) -> None:
    told = Story().metric("m", "sum_agg").plan({"properties": {"pricing_group_keys": ["g"]}})
    told.subscribe()
    for number in range(5 * STEP_ITEMS):
        told.send("2024-01-02", v="1", g=f"g{number}")
    state, periods = told.meter("2024-02-10").partition, First[_Published](300)
    query = RecordQuery(type="usage.recorded")
    names = iter([(ORG, SUBSCRIPTION)])
    assert len(list(_published(state, names, query, periods))) > 5
    made.clear()
    totals = [made.total() for _ in _page(periods, query, 100, 200)]
    assert made == {"cell_id": 5 * STEP_ITEMS, "record_id": 200}
    assert max(b - a for a, b in pairwise([*totals, made.total()])) <= STEP_ITEMS
