"""What an explanation tells of single events and days, from the events as they are traced."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.definitions.judging import Judging
from app.meter.evidence import ExplainQuery
from app.queries.explain import _Selection
from app.wire.arrivals import Arrival, arrivals_of
from tables.reading import single_events
from tables.reading.single_events import CellEvents, SingleEvents
from tables.reading.tracing import Tracer, verdict
from tests.world.bodies import Json
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

PRORATED = {"charge_model": "graduated", "prorated": True}


def story(aggregation_type: str, charge: Json, **metric: Any) -> Story:
    return Story().metric("m", aggregation_type, **metric).plan(charge).subscribe()


def explained(told: Story, at: str) -> CellEvents:
    """Return what the lists of the only cell are made of, in the period that holds an instant."""
    partition = told.meter(at).partition
    tracer = Tracer(partition, (ORG, SUBSCRIPTION, "m"))
    query = ExplainQuery(external_subscription_id=SUBSCRIPTION, metric_code="m", at_ms=ms(at))
    selection, found = _Selection(tracer, query), SingleEvents()
    for line in told.events:
        place = (line.append_time_ms, line.partition, line.offset)
        for arrival in arrivals_of(line.value, (), *place, Judging()):
            assert isinstance(arrival, Arrival)
            counted = verdict(partition, arrival).counted
            if counted is not None:
                found.take(selection.of(tracer.trace(counted)), counted)
    (span,), period = selection.spans.values(), selection.period
    assert period is not None
    charge, metric = span.fold.charge, span.fold.metric
    return found.of_cell(span, period, charge, metric, None, ())


def as_json(rows: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(rows))


def test_the_lists_are_those_of_the_record_and_come_by_pages() -> None:
    told = story("sum_agg", PRORATED, recurring=True).send("2024-02-10", v=5)
    told.send("2024-05-26", v=12).send("2024-05-25", v=7)
    cell = explained(told, "2024-05-30")
    record = told.records("2024-06-02")[-1]["per_event"]
    assert as_json(cell.lists(0, 100)) == record
    page = as_json(cell.lists(1, 1))
    assert page == {
        "count": 3,
        "values": record["values"][1:2],
        "prorated_values": record["prorated_values"][1:2],
        "running_total": None,
    }


def test_a_price_that_asks_for_nothing_has_no_lists() -> None:
    told = story("sum_agg", {}).send("2024-01-10", v=5)
    assert explained(told, "2024-01-20").lists(0, 10) is None


@pytest.mark.parametrize("recurring", [False, True])
def test_what_was_billed_event_by_event_has_no_lists(recurring: bool) -> None:
    price = {"charge_model": "percentage", "properties": {"per_transaction_min_amount": "1"}}
    told = story("sum_agg", {**price, "pay_in_advance": True}, recurring=recurring)
    lists = explained(told.send("2024-01-10", v=5), "2024-01-20").lists(0, 10)
    (record,) = (r for r in told.records("2024-02-02") if "per_event" in r)
    assert as_json(lists) == record["per_event"]
    assert (lists is not None) == recurring


def test_sums_by_local_date() -> None:
    told = story("sum_agg", {}).send("2024-01-10", v=5).send("2024-01-10T23:59", v=-1)
    cell = explained(told.send("2024-01-11", v=2), "2024-01-20")
    assert as_json(cell.days()) == [
        {"date": "2024-01-10", "value": "4.0"},
        {"date": "2024-01-11", "value": "2.0"},
    ]
    assert cell.breakdown() is None


def test_shares_of_a_prorated_sum() -> None:
    told = story("sum_agg", PRORATED, recurring=True).send("2024-01-10", v=5)
    cell = explained(told.send("2024-02-10", v=-2), "2024-02-20")
    total = {"total_duration": 29}
    assert as_json(cell.breakdown()) == [
        {"date": "2024-02-01", "action": "add", "amount": "5.0", "duration": 29, **total},
        {"date": "2024-02-10", "action": "remove", "amount": "-2.0", "duration": 20, **total},
    ]


def test_shares_of_a_prorated_unique_count() -> None:
    told = story("unique_count_agg", PRORATED, recurring=True)
    told.send("2024-01-10", v="stays").send("2024-01-10", v="goes")
    told.send("2024-02-05", v="goes", operation_type="remove")
    told.send("2024-02-10", v="new").send("2024-02-11", v="new", operation_type="remove")
    cell = explained(told, "2024-02-20")
    rows = [(row["date"], row["action"], row["duration"]) for row in as_json(cell.breakdown())]
    assert rows == [
        ("2024-02-01", "add", 29),
        ("2024-02-05", "remove", 5),
        ("2024-02-10", "add_and_removed", 2),
    ]
    assert cell.days() is None


def test_of_too_many_events_no_list_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_events, "MOST_EXPLAINED", 1)
    told = story("sum_agg", PRORATED, recurring=True).send("2024-01-10", v=5)
    cell = explained(told.send("2024-01-11", v=5), "2024-01-20")
    assert as_json(cell.lists(0, 9)) == {
        "count": 2,
        "values": None,
        "prorated_values": None,
        "running_total": None,
    }
    assert cell.breakdown() is None
