"""Law: a refold comes to the same bytes in whatever process its events are fed to it."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.wire.arrivals import Arrival
from tables.partition.refold import Refold
from tests.laws import test_groups as groups
from tests.laws import test_operations as operations
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import (
    GRACE_SETTINGS,
    METRICS,
    SETTINGS,
    SHORT_SETTINGS,
    CommandAt,
    definitions_of,
)
from tests.world.events import arrivals
from tests.world.partition import Live, feed_apart
from tests.world.profiles import examples

ALL = tuple(METRICS)
END_MS = START_MS + 10 * WEEK_MS
DAILY = replace(SETTINGS, daily_records=True)
KINDS = st.sampled_from([SETTINGS, GRACE_SETTINGS, SHORT_SETTINGS, DAILY])


def refolded(
    definitions: Sequence[CommandAt], events: Sequence[Arrival], cut_ms: int, *, apart: bool
) -> Live:
    """Everything delivered, some cuts taken, everything refolded and flushed; then all cuts."""
    live = Live(definitions)
    live.define_all()
    live.deliver(events)
    live.close_until(cut_ms)
    live.flush()
    live.refolds_apart = apart
    live.refold_all()
    return live


def written(live: Live) -> list[object]:
    """All that a flush writes."""
    live.flush()
    log = live.changelog
    return [log.cells, log.members, log.store, log.tables, log.record]


def noted(job: Refold) -> list[object]:
    """All that a refold has made of its events when it is swapped in."""
    folded, members = job.folded, job.members
    return [
        [(cell.key, cell.packed()) for cell in folded.dirty],
        list(dict.fromkeys(cell.key for cell in folded.late)),
        folded.billed_at_once,
        folded.ignored,
        job.refused,
        job.events,
        job.waits_past_ms,
        {key: members.at_hand([key]) for key in members.complete},
        {key: members.operations.of_set(key) for key in members.operations._sets},
        list(job.group_admission.told()),
        [(span.key, list(span.layers)) for route in job.routes.values() for span in route.spans],
    ]


def check(definitions: Sequence[CommandAt], events: Sequence[Arrival], cut_ms: int) -> None:
    live = refolded(definitions, events, cut_ms, apart=False)
    names = live.partition.event_ranges.codes.items()
    keys = [(*name, code) for name, codes in names for code in codes]
    jobs = [Refold(live.partition, keys) for _ in range(2)]
    jobs[0].feed(events)
    feed_apart(jobs[1], events)
    assert noted(jobs[0]) == noted(jobs[1])
    here = refolded(definitions, events, cut_ms, apart=False)
    there = refolded(definitions, events, cut_ms, apart=True)
    assert there.fed_apart > 0 or not here.partition.event_ranges.codes
    assert written(here) == written(there)
    assert here.partition.work.counts == there.partition.work.counts
    for live in (here, there):
        live.close_until(END_MS)
    assert here.values() == there.values()
    assert here.cells() == there.cells()
    assert written(here) == written(there)


@examples(80)
@given(st.data())
def test_of_all_metrics(data: st.DataObject) -> None:
    definitions = definitions_of(ALL, data.draw(KINDS), presents=True)
    events = data.draw(arrivals(ALL, ids=6))
    check(definitions, events, START_MS + data.draw(st.integers(0, 6)) * WEEK_MS)


@examples(80)
@given(st.data())
def test_of_groups_at_their_limit(data: st.DataObject) -> None:
    definitions = groups.definitions_of(data.draw(st.integers(1, 4)))
    events = data.draw(groups.arrivals())
    check(definitions, events, START_MS + data.draw(st.integers(0, 3)) * WEEK_MS)


@examples(80)
@given(st.data())
def test_of_what_is_paid_in_advance(data: st.DataObject) -> None:
    events = data.draw(operations.seats())
    with operations.room_in_a_member(data.draw(st.sampled_from([1, 2, 3]))):
        check(operations.DEFINITIONS, events, START_MS + data.draw(st.integers(0, 3)) * WEEK_MS)
