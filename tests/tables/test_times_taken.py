"""Which times are taken of events that fall into no period."""

from __future__ import annotations

from app.wire.arrivals import runs_of
from app.wire.refusals import MAX_EVENT_AHEAD_MS, RefusalCode
from tests.world.clock import START_MS
from tests.world.definitions import definitions_of
from tests.world.events import arrived
from tests.world.partition import Live


def test_of_a_name_that_nothing_defines_each_event_keeps_to_its_own_range() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    ahead_ms = START_MS + MAX_EVENT_AHEAD_MS
    times = [
        (START_MS, START_MS),
        (ahead_ms, START_MS),
        (ahead_ms + 1, START_MS),
        (-1, START_MS),
        (0, START_MS),
        # Appended before the first of its run, and after it.
        (ahead_ms, START_MS - 1),
        (ahead_ms + 1, START_MS + 1),
    ]
    sent = [
        arrived("never", offset, at_ms, appended_ms, external_id="nobody")
        for offset, (at_ms, appended_ms) in enumerate(times)
    ]
    slice_ = live.partition.fold(runs_of(sent))
    assert [(each.arrival.raw_offset, each.code) for each in slice_.refused] == [
        (offset, RefusalCode.TIMESTAMP_OUT_OF_RANGE) for offset in (2, 3, 5)
    ]
    assert slice_.accepted == 4
