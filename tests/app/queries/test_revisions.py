"""What made a difference since a revision: events that came, were corrected, or count otherwise."""

from __future__ import annotations

import pytest

from app.definitions import commands
from app.definitions.judging import Judging
from app.definitions.periods import Period
from app.meter.errors import NoSuchRevision
from app.meter.evidence import ExplainQuery
from app.meter.records import RecordPlace
from app.queries.explain import _Shown, _since
from app.queries.revisions import Revisions
from app.wire.arrivals import Arrival, arrivals_of
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import amend, cancel, raw
from tests.world.story import Story

Told = list[tuple[str, str | None, list[int | None]]]
"""transaction_id, why it makes a difference, and the revisions that it is in."""


def story() -> Story:
    """Three events of January, 1, 2 and 4, published on 1 February."""
    told = Story().metric("m", "sum_agg").metric("other", "sum_agg")
    told.plan({"code": "m"}, {"code": "other"}).subscribe()
    for day, value in enumerate((1, 2, 4), 10):
        told.send(f"2024-01-{day}", v=value, region="eu" if day == 10 else "us")
    return told


async def explained(told: Story, at: str, since: int | None, code: str = "m") -> Told:
    state = told.meter(at).partition
    query = ExplainQuery(
        external_subscription_id=SUBSCRIPTION,
        metric_code=code,
        at_ms=ms("2024-01-20"),
        since_revision=since,
    )
    meter_key = (ORG, SUBSCRIPTION, code)
    shown = _Shown(state, meter_key, query)
    assert shown.selection.period is not None
    revisions = Revisions(state, shown.selection.spans.values(), shown.selection.period)

    async def published(period: Period) -> list[RecordPlace]:
        return [
            RecordPlace("s", 0, one["cell_id"], one["revision"], 0, "", ms(one["closed_at"][:-1]))
            for one in told.messages(at)
        ]

    await revisions.read(published, since)
    changed = _since(state, meter_key, query, revisions)
    found: Told = []
    for line in told.events:
        place = (line.append_time_ms, line.partition, line.offset)
        for arrival in arrivals_of(line.value, (), *place, Judging()):
            if not isinstance(arrival, Arrival):
                continue
            judged = shown.judged(arrival)
            listed = None if judged is None else shown.listed(judged, changed)
            if listed is not None:
                counted = [one for one in listed[0].traced if one.reason is None]
                numbers = [revisions.of_event(one) for one in counted]
                found.append((arrival.event.transaction_id, listed[1], numbers))
    return found


async def test_each_event_is_in_a_revision_or_will_be() -> None:
    told = story().send("2024-01-13", appended="2024-02-05T00:30:00", v=8)
    in_time: Told = [("t0", None, [0]), ("t1", None, [0]), ("t2", None, [0])]
    assert await explained(told, "2024-02-05T00:45:00", None) == [*in_time, ("t3", None, [None])]
    assert await explained(told, "2024-02-05T00:45:00", 0) == [("t3", "late", [None])]
    assert await explained(told, "2024-02-05T01:30:00", None) == [*in_time, ("t3", None, [1])]
    assert await explained(told, "2024-02-05T01:30:00", 0) == [("t3", "late", [1])]
    assert await explained(told, "2024-02-05T01:30:00", 1) == []
    with pytest.raises(NoSuchRevision):
        await explained(told, "2024-02-05T01:30:00", 2)
    with pytest.raises(NoSuchRevision):
        await explained(told, "2024-01-20", 0)


async def test_corrections_make_a_difference_where_they_change_something() -> None:
    told = story().append("2024-01-20", cancel("t0", "before"))
    told.append("2024-02-05", cancel("t1", "after"))
    to = raw("m", "t2", ms("2024-01-12"), v=5)
    told.append("2024-02-06", amend(to))
    assert await explained(told, "2024-02-07", 0) == [
        ("t1", "corrected", [0]),
        ("t2", "corrected", [2]),
    ]
    assert await explained(told, "2024-02-07", 1) == [("t2", "corrected", [2])]


async def test_an_event_that_counts_for_another_metric_now_is_listed() -> None:
    told = story()
    told.append("2024-02-05", amend(raw("other", "t1", ms("2024-01-11"), v=2)))
    ((name, why, _),) = await explained(told, "2024-02-06", 0)
    assert (name, why) == ("t1", "corrected")
    assert await explained(told, "2024-02-06", None, "other") == [("t1", None, [0])]


async def test_a_cell_that_was_published_later_has_its_own_cut() -> None:
    told = Story().metric("m", "sum_agg")
    told.plan({"code": "m", "properties": {"amount": "1", "pricing_group_keys": ["region"]}})
    told.subscribe().send("2024-01-10", v=1, region="eu")
    told.send("2024-01-11", appended="2024-02-05T00:30:00", v=2, region="us")
    told.send("2024-01-12", appended="2024-02-05T00:30:00", v=4, region="us")
    late: Told = [("t1", "late", [0]), ("t2", "late", [0])]
    assert await explained(told, "2024-02-05T01:30:00", 0) == late
    told.append("2024-02-06T00:10:00", cancel("t1", "gone"))
    # The first cut of the period did not know it: the cell did, in its revision 0.
    changed: Told = [("t1", "corrected", [0]), ("t2", "late", [0])]
    assert await explained(told, "2024-02-06T02:00:00", 0) == changed
    told.send("2024-01-13", appended="2024-02-07T00:30:00", v=8, region="us")
    told.append("2024-02-08T00:10:00", cancel("t2", "gone too"))
    assert await explained(told, "2024-02-08T02:00:00", 0) == [
        ("t1", "corrected", [0]),
        ("t2", "corrected", [0]),
        ("t4", "late", [2]),
    ]
    assert await explained(told, "2024-02-08T02:00:00", 1) == [
        ("t2", "corrected", [0]),
        ("t4", "late", [2]),
    ]


async def test_what_came_and_was_cancelled_since_makes_no_difference() -> None:
    told = story().send("2024-01-13", appended="2024-02-05", v=8)
    told.append("2024-02-05T00:10:00", cancel("t3", "gone"))
    assert await explained(told, "2024-02-06", 0) == []


async def test_a_definition_makes_a_difference_to_what_it_counts_otherwise() -> None:
    told = story()
    grouped = {"properties": {"amount": "1", "pricing_group_keys": ["region"]}}
    told.define("2024-02-05", commands.update_charge(ORG, "plan", "m", grouped))
    metric = told.meter("2024-02-05").definitions.metric(ORG, "m")
    assert metric is not None
    history = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=0, to_ms=1 << 45)
    told.define("2024-02-06", history)
    found = await explained(told, "2024-02-07", 0)
    assert [(name, why) for name, why, _ in found] == [
        ("t0", "definition"),
        ("t1", "definition"),
        ("t2", "definition"),
    ]
