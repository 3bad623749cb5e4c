"""What the changelog has of where events lie: written about once an hour, and read as ever."""

from __future__ import annotations

import msgspec
import pytest

from app.definitions import commands
from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.definitions.periods import NEVER_MS
from tables.changelogged.presence import EventRanges, LogsKept
from tables.partition.redirection import refolds_of
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
MINUTE_MS = 60_000


def counting() -> Live:
    """Return a partition with a subscription that counts events."""
    live = Live(definitions_of(["count"]))
    live.define_all()
    return live


def flushed(live: Live) -> dict[str, int]:
    """Return how many changelog records of each kind a flush has."""
    changes = live.changelog.take(live.partition)
    counted: dict[str, int] = {}
    for changelog, keys, _ in live.partition.rows_of(changes):
        counted[changelog] = counted.get(changelog, 0) + len(keys)
    return counted


def ranges(live: Live) -> EventRanges:
    """Return the entry of the one meter key that has events."""
    return live.partition.event_ranges.codes[NAME]["count"]


def test_an_event_is_one_changelog_record_most_of_the_time() -> None:
    """A flush a minute over three hours, of one pair: a cell each time, presence each hour."""
    live = counting()
    written = []
    for minute in range(180):
        live.deliver([arrived("count", minute, START_MS + minute * MINUTE_MS)])
        written.append(flushed(live))
    assert written[0] == {"cells": 1, "presence": 1}
    assert sum(each["cells"] for each in written) == 180
    # The first event, and then one in each new hour.
    assert sum(each.get("presence", 0) for each in written) == 4
    assert written[1] == {"cells": 1, "presence": 1}
    assert written[2] == {"cells": 1}


def test_many_pairs_of_one_event_each_write_one_record_an_event() -> None:
    live = counting()
    wide = [f"sub-{number}" for number in range(50)]
    for at_ms in (START_MS + MINUTE_MS, START_MS + 2 * MINUTE_MS):
        first = (at_ms - START_MS) * 50
        live.deliver(
            [
                arrived("count", first + number, at_ms, external_id=name)
                for number, name in enumerate(wide)
            ]
        )
        written = flushed(live)
    assert written.get("presence", 0) == 0


@pytest.mark.parametrize("at_ms", [0, 1, 59 * MINUTE_MS, HOUR_MS, HOUR_MS + 1])
@pytest.mark.parametrize("ahead_ms", [-DAY_MS, 0, 1])
def test_a_restored_reach_is_no_shorter_and_an_hour_longer_at_most(
    at_ms: int, ahead_ms: int
) -> None:
    live, appended_ms = counting(), START_MS + at_ms
    live.deliver([arrived("count", 0, appended_ms + ahead_ms, appended_ms)])
    exact = appended_ms + ahead_ms, appended_ms
    assert (ranges(live).newest_ms, ranges(live).appended_ms) == exact
    live.restart()
    restored = ranges(live)
    for now_ms, then_ms in zip((restored.newest_ms, restored.appended_ms), exact, strict=True):
        assert then_ms <= now_ms < then_ms + HOUR_MS
    assert (restored.raw_first, restored.rekeyed_first) == (0, -1)
    assert "presence" not in flushed(live)


def test_events_that_lead_straight_are_noted_to_the_millisecond() -> None:
    live = counting()
    for number, at_ms in enumerate((START_MS + 1, START_MS + 1_000, START_MS + 500)):
        live.deliver([arrived("count", number, at_ms, at_ms + 7)])
    reach = ranges(live).newest_ms, ranges(live).appended_ms
    assert (live.straight, reach) == (2, (START_MS + 1_000, START_MS + 1_007))
    assert flushed(live)["presence"] == 1
    live.deliver([arrived("count", 3, START_MS + 1_001)])
    assert "presence" not in flushed(live)


@pytest.mark.parametrize(("after_ms", "refolded"), [(0, {"count"}), (1, set())])
def test_who_ends_in_the_minute_of_the_last_event_is_refolded_only_if_that_comes_after(
    after_ms: int, refolded: set[str]
) -> None:
    live, last_ms = counting(), START_MS + 10
    for number in range(1, 11):
        live.deliver([arrived("count", number, START_MS + number)])
    ended = apply(
        live.definitions,
        commands.terminate_subscription(*NAME).encode(),
        last_ms + after_ms,
        live.definitions.offset,
    )
    assert isinstance(ended, Applied)
    assert ended.impact is not None
    live.partition.redefinition.tell(ended.impact)
    keys = refolds_of(live.partition.redefinition.renewing())
    assert {code for _, _, code in keys} == refolded


def test_events_that_come_long_before_their_time_are_noted() -> None:
    live = counting()
    at_ms = START_MS + 3 * DAY_MS
    live.deliver([arrived("count", 0, at_ms, at_ms - DAY_MS)])
    assert ranges(live).early_ms == -1
    flushed(live)
    live.deliver([arrived("count", 1, at_ms + 1, at_ms - DAY_MS)])
    assert flushed(live)["presence"] == 1
    live.deliver([arrived("count", 2, at_ms + 2, at_ms - DAY_MS)])
    assert "presence" not in flushed(live), "an hour is told as one"
    live.restart()
    assert ranges(live).early_ms == at_ms + HOUR_MS


def test_events_far_apart_that_come_at_once_are_not_noted_as_early() -> None:
    live = counting()
    live.deliver([arrived("count", n, START_MS + n * 2 * DAY_MS) for n in range(2)])
    assert ranges(live).early_ms == -1


@pytest.mark.parametrize("days", [0, 3])
def test_what_leads_straight_is_noted_if_it_came_long_before_its_time(days: int) -> None:
    """Another partition may be behind: the newest event does not tell when others came."""
    live = counting()
    at_ms = START_MS + WEEK_MS + days * DAY_MS
    for offset in range(2):
        live.deliver([arrived("count", offset, at_ms + HOUR_MS)])
    came_ms = at_ms - DAY_MS
    live.deliver([arrived("count", 7, at_ms, came_ms, partition=1).forwarded(0, 0)])
    assert (live.straight, ranges(live).early_ms) == (2, -1)
    early = arrived("count", 8, at_ms + 1, came_ms - 1, partition=1)
    live.deliver([early.forwarded(0, 1)])
    assert (live.straight, ranges(live).early_ms) == (3, at_ms + HOUR_MS)


def test_a_copy_that_came_long_before_its_time_is_noted() -> None:
    live = counting()
    live.deliver([arrived("count", 0, START_MS)])
    flushed(live)
    dated_ms = START_MS + 2 * DAY_MS
    live.deliver([arrived("count", 7, dated_ms, START_MS, transaction_id="t0")])
    assert ranges(live).early_ms == dated_ms
    assert flushed(live)["presence"] == 1
    unknown = arrived("count", 8, dated_ms, START_MS, transaction_id="t0", external_id="other")
    live.partition.event_ranges.note_early([unknown])
    assert live.partition.event_ranges.find((ORG, "other"), "count") is None


def test_an_event_with_a_smaller_offset_is_written_at_once() -> None:
    live = counting()
    live.deliver([arrived("count", 7, START_MS + 1)])
    flushed(live)
    live.deliver([arrived("count", 3, START_MS + 1)])
    assert flushed(live)["presence"] == 1
    live.deliver([arrived("count", 9, START_MS + 1).forwarded(0, 4)])
    assert flushed(live)["presence"] == 1
    live.restart()
    assert (ranges(live).raw_first, ranges(live).rekeyed_first) == (3, 4)


@pytest.mark.parametrize("told", [(), (START_MS, {START_MS + HOUR_MS: ["id"]})])
def test_a_record_of_an_older_program_is_read_and_replaced_when_it_changes(
    told: tuple[object, ...],
) -> None:
    """Then it had counts, last offsets and times to the millisecond."""
    live = counting()
    live.deliver([arrived("count", 5, START_MS + 1)])
    live.flush()
    changelog = live.changelog.tables["presence"]
    (key,) = changelog
    old = (True, 17, 5, 90, -1, -1, START_MS + 1, START_MS + 2, *told)
    changelog[key] = msgspec.msgpack.encode(old)
    live.partition.event_ranges.sum = live.partition.event_ranges.sum.replaced(
        key, ranges(live).packed_to_rest()[0], changelog[key]
    )
    live.partition.checkpoint.presence_sum = live.partition.event_ranges.sum
    live.changelog.record = msgspec.msgpack.encode(live.partition.checkpoint)
    live.partition = live.changelog.restored(live.definitions)
    known = ranges(live)
    assert (known.raw_first, known.newest_ms, known.appended_ms) == (5, START_MS + 1, START_MS + 2)
    assert (known.first_ms, known.touched) == (told or (0, {}))
    assert known.early_ms == NEVER_MS, "it noted nothing of the kind"
    live.deliver([arrived("count", 6, START_MS + HOUR_MS + 1)])
    live.restart()
    assert ranges(live).newest_ms == START_MS + 2 * HOUR_MS


def test_one_log_does_not_tell_that_a_name_was_kept_before_the_rest() -> None:
    """What was forwarded is read beside the home's own: its first may have come later."""
    rest = EventRanges(raw_first=1, rekeyed_first=1)
    assert not EventRanges(rekeyed_first=0).begins_before(rest)
    assert not EventRanges(raw_first=0, rekeyed_first=1).begins_before(rest)
    assert EventRanges(raw_first=0, rekeyed_first=0).begins_before(rest)
    assert EventRanges(raw_first=0).begins_before(EventRanges(raw_first=1))


def test_logs_lack_what_was_appended_before_their_first_records() -> None:
    kept = LogsKept(5, 3, raw_since_ms=START_MS)
    own, forwarded = EventRanges(raw_first=4), EventRanges(raw_first=4, rekeyed_first=2)
    assert not kept.lacks(EventRanges(raw_first=5, rekeyed_first=3))
    assert kept.lacks(own)
    assert kept.lacks(own, START_MS)
    assert not kept.lacks(own, START_MS + 1)
    # Nobody knows since when that log has all.
    assert kept.lacks(forwarded, START_MS + 1)
