"""What a refold for definitions leaves out, and when it leaves out nothing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.wire.arrivals import CorrectionArrival
from app.wire.events import Correction
from tables.cells.forgotten import is_over
from tables.closing.close import next_cut
from tables.partition.redirection import refolds_of
from tables.partition.refold import Refold
from tests.tables.closing.test_forgetting import (
    FINAL_MS,
    NAME,
    SETTINGS,
    layers,
    live,
    pass_until,
)
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, subscription_body
from tests.world.events import arrived, event
from tests.world.partition import Live, feed_apart
from tests.world.repaired import Repaired
from tests.world.verified import differences

WEEKS = 4
NOW_MS = START_MS + WEEKS * WEEK_MS + 2 * DAY_MS
"""All four weeks are final; an event of the fifth has come."""
LAST_MS = START_MS + WEEKS * WEEK_MS
REGROUPED = commands.update_charge(
    ORG, "plan", "sum", {"properties": {"amount": "1", "pricing_group_keys": ["u"]}}
)


def forgetful(*codes: str) -> Live:
    """A partition that has forgotten four weeks, and an event of each code in the fifth."""
    one = live(WEEKS, *codes)
    pass_until(one, LAST_MS + DAY_MS)
    assert one.forget(NAME)
    for number, code in enumerate(codes):
        one.deliver([arrived(code, 100 + number, LAST_MS + DAY_MS + HOUR_MS, v="5", g="x", u="b")])
    return one


def sent_elsewhere(one: Live, command: Command, at_ms: int = NOW_MS) -> Refold:
    """Apply a definition; return the refold that it asks for, which has just begun."""
    one.keeps_forgotten = False
    applied: list[set[tuple[str, str, str]]] = []
    vars(one)["refold"] = lambda keys, **_: applied.append(set(keys))
    one.append(at_ms, command)
    del vars(one)["refold"]
    (keys,) = (each for each in applied if each)
    return Refold(one.partition, keys, redefined=keys)


def test_events_of_weeks_that_are_forgotten_are_not_read_again() -> None:
    one = forgetful("sum")
    job = sent_elsewhere(one, REGROUPED)
    assert set(job.dated_from.values()) == {LAST_MS}
    assert job.appended_from_ms == LAST_MS - DAY_MS - HOUR_MS
    assert job.start_offsets((90, 7)) == (90, None)
    assert job.start_offsets() == (0, None)
    job.feed(one.arrived())
    assert job.events == 1
    assert job.swap()
    assert layers(one, "sum") == 1
    (entry,) = one.partition.event_ranges.codes_of(NAME).values()
    assert entry.forgotten_ms == LAST_MS + DAY_MS


def test_another_process_leaves_them_out_too() -> None:
    one = forgetful("sum")
    job = sent_elsewhere(one, REGROUPED)
    feed_apart(job, one.arrived())
    assert job.events == 1
    assert job.swap()
    assert layers(one, "sum") == 1


@pytest.mark.parametrize("restarts", [False, True])
def test_the_weeks_are_forgotten_by_the_new_route(*, restarts: bool) -> None:
    one = forgetful("sum")
    job = sent_elsewhere(one, REGROUPED)
    job.feed(one.arrived())
    assert job.swap()
    if restarts:
        one.restart()
    late = arrived("sum", 200, NOW_MS + 1, v="7", g="x")
    event = replace(late.event, timestamp_ms=START_MS + 2 * HOUR_MS)
    one.deliver([replace(late, event=event, admitted=True)])
    assert layers(one, "sum") == WEEKS + 1, "it brings the others back"


def test_all_is_read_where_an_event_came_long_before_its_time() -> None:
    one = live(WEEKS, "sum")
    one.deliver([arrived("sum", 50, LAST_MS + HOUR_MS, LAST_MS - WEEK_MS, v="1", g="x")])
    pass_until(one, LAST_MS + DAY_MS)
    assert one.forget(NAME)
    job = sent_elsewhere(one, REGROUPED)
    assert set(job.dated_from.values()) == {LAST_MS}
    assert job.appended_from_ms is None
    assert job.start_offsets((90, 7)) == (0, None)
    job.feed(one.arrived())
    assert job.events == 1


def test_who_knows_nothing_of_early_events_reads_all() -> None:
    one = forgetful("sum")
    (entry,) = one.partition.event_ranges.codes_of(NAME).values()
    entry.early_ms = LAST_MS + WEEK_MS
    assert sent_elsewhere(one, REGROUPED).appended_from_ms is None


def test_an_event_without_a_timestamp_is_dated_when_it_was_appended() -> None:
    one = live(WEEKS - 1, "sum")
    for offset, at_ms in ((50, LAST_MS - 1), (51, LAST_MS + HOUR_MS)):
        sent = arrived("sum", offset, at_ms, v="1", g="x")
        one.close_until(at_ms - 1)
        one.deliver([replace(sent, event=replace(sent.event, timestamp_ms=None))])
    pass_until(one, LAST_MS + DAY_MS)
    assert one.forget(NAME)
    job = sent_elsewhere(one, REGROUPED)
    job.feed(one.arrived())
    assert job.events == 1


def cancelled(one: Live) -> None:
    """Correct an event of the week that is open."""
    cancel = Correction(*NAME, "t100", "cancel", None, "c", b"")
    one.partition.corrected.correct(CorrectionArrival(cancel, ORG, NOW_MS - 1, 0, 300, 0))


def asked_for_changes(one: Live) -> None:
    """Ask for usage-changed."""
    one.append(NOW_MS - 1, commands.set_settings(replace(SETTINGS, usage_changed=True)))


@pytest.mark.parametrize("beforehand", [cancelled, asked_for_changes])
def test_all_is_folded_where_more_than_definitions_decides(beforehand: object) -> None:
    one = forgetful("sum")
    assert callable(beforehand)
    beforehand(one)
    assert sent_elsewhere(one, REGROUPED).dated_from == {}


def corrected(dated_ms: int | None) -> Live:
    """A partition with an event of the first week that was cancelled, or amended, in its week.

    `dated_ms`: when it is dated since; None: it was cancelled.
    """
    made = Repaired(definitions_of(["sum"], SETTINGS), repairs=True)
    for week in range(WEEKS):
        at_ms = START_MS + week * WEEK_MS + HOUR_MS
        made.close_until(at_ms - 1)
        for number in range(2):
            made.deliver([arrived("sum", 2 * week + number, at_ms + number, v="1", g="x", u="a")])
        if week == 0:
            to = None if dated_ms is None else event("sum", "t0", dated_ms, v="9", g="x", u="a")
            told = Correction(ORG, SUBSCRIPTION, "t0", "amend" if to else "cancel", to, "c", b"")
            made.correct(CorrectionArrival(told, ORG, at_ms + 2, 0, 50, 0))
        made.flush()
    made.close_until(START_MS + WEEKS * WEEK_MS)
    pass_until(made, LAST_MS + DAY_MS)
    assert made.forget(NAME)
    made.deliver([arrived("sum", 100, LAST_MS + DAY_MS + HOUR_MS, v="5", g="x", u="b")])
    return made


@pytest.mark.parametrize("dated_ms", [None, START_MS + 3 * HOUR_MS], ids=["cancelled", "amended"])
def test_what_was_corrected_long_ago_is_left_out_too(dated_ms: int | None) -> None:
    one = corrected(dated_ms)
    job = sent_elsewhere(one, REGROUPED)
    assert set(job.dated_from.values()) == {LAST_MS}
    job.feed(one.arrived())
    assert job.events == 1
    assert job.swap()
    assert layers(one, "sum") == 1
    assert differences(one) == []


def test_all_is_folded_where_an_amendment_dates_an_event_into_a_week_that_is_kept() -> None:
    one = corrected(LAST_MS + 2 * HOUR_MS)
    assert sent_elsewhere(one, REGROUPED).dated_from == {}


def with_greatest() -> Repaired:
    """A partition that has forgotten four weeks, and two events of a maximum in the fifth."""
    made = Repaired(definitions_of(["max"], SETTINGS), repairs=True)
    for week in range(WEEKS):
        at_ms = START_MS + week * WEEK_MS + HOUR_MS
        made.close_until(at_ms - 1)
        made.deliver([arrived("max", week, at_ms, v="1")])
    made.flush()
    made.close_until(LAST_MS)
    pass_until(made, LAST_MS + DAY_MS)
    assert made.forget(NAME)
    for offset, value in ((100, "5"), (101, "3")):
        made.deliver([arrived("max", offset, LAST_MS + DAY_MS + HOUR_MS + offset, v=value)])
    return made


def cancel(offset: int, at_ms: int = NOW_MS) -> CorrectionArrival:
    """Return the cancel of an event."""
    told = Correction(*NAME, f"t{offset}", "cancel", None, f"c{offset}", b"")
    return CorrectionArrival(told, ORG, at_ms, 0, 300 + offset, 0)


def recorrected(one: Repaired, dated_ms: int) -> Refold:
    """Return a refold for corrections of events dated from a time on, which has just begun."""
    keys = one.partition.event_ranges.meter_keys_of(NAME)
    horizons = {NAME: next_cut(one.partition, NAME)}
    return Refold(one.partition, keys, horizons, redefined=keys, dated={NAME: dated_ms})


def test_a_correction_in_a_week_that_is_kept_leaves_out_what_is_forgotten() -> None:
    one = with_greatest()
    one.correct(cancel(100))
    assert one.outcomes["late"] == 1
    assert layers(one, "max") == 1
    assert differences(one) == []
    one.close_until(NOW_MS + DAY_MS)
    cells = one.cells()
    one.refold_all()
    assert layers(one, "max") == WEEKS + 1
    assert all(each in one.cells()[span] for span, kept in cells.items() for each in kept)


def test_all_is_folded_for_a_correction_in_a_week_that_is_forgotten() -> None:
    one = with_greatest()
    one.partition.corrected.correct(cancel(0))
    assert recorrected(one, START_MS + HOUR_MS).dated_from == {}
    one.mend()
    assert one.outcomes["late"] == 0
    assert layers(one, "max") == WEEKS, "the first one is empty"
    assert differences(one) == []


def test_a_correction_that_dates_an_event_into_such_a_week_waits_for_a_refold_of_all() -> None:
    one, back_ms = with_greatest(), START_MS + 2 * HOUR_MS
    one.partition.corrected.correct(cancel(100))
    moved = Correction(*NAME, "t101", "amend", event("max", "t101", back_ms, v="9"), "c101", b"")
    one.partition.corrected.correct(CorrectionArrival(moved, ORG, NOW_MS, 0, 401, 0))
    job = recorrected(one, LAST_MS)
    assert set(job.dated_from.values()) == {LAST_MS}
    job.feed(one.read_for(job))
    assert job.swap()
    assert layers(one, "max") == 1
    one.mend()
    assert layers(one, "max") == WEEKS, "the last one is empty"
    assert differences(one) == []


def test_all_is_folded_while_a_cut_has_to_tell_an_earlier_correction() -> None:
    """What it revises is found with all events."""
    one = with_greatest()
    one.correct(cancel(100))
    assert recorrected(one, LAST_MS).dated_from == {}
    one.close_until(NOW_MS + DAY_MS)
    assert set(recorrected(one, LAST_MS).dated_from.values()) == {LAST_MS}


def test_all_is_folded_of_what_recurs() -> None:
    """Under new rules each of its events is in all periods to come."""
    one = forgetful("balance")
    body = {"properties": {"amount": "1", "pricing_group_keys": ["u"]}}
    keys = one.partition.event_ranges.meter_keys_of(NAME)
    assert Refold(one.partition, keys, redefined=keys).dated_from == {}
    job = sent_elsewhere(one, commands.update_charge(ORG, "plan", "balance", body))
    assert job.dated_from == {}


def test_all_is_folded_where_a_week_folds_otherwise() -> None:
    """A history record changes weeks that are final."""
    one = forgetful("sum")
    one.append(NOW_MS, REGROUPED)
    (metric,) = one.definitions.metrics(ORG)
    until_ms = START_MS + WEEK_MS
    record = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=START_MS, to_ms=until_ms)
    one.append(NOW_MS + 1, record)
    partition = one.partition
    one.close_until(NOW_MS)
    keys = refolds_of(partition.history.entering())
    assert keys
    assert Refold(partition, keys, redefined=keys).dated_from == {}


def with_a_first_week_that_is_open() -> Live:
    """The first week may be late for long; the second is final before it, and forgotten."""
    waits = replace(SETTINGS, late_window_s=20 * 86_400)
    one = live(0, "sum", settings=waits)
    one.close_until(START_MS + WEEK_MS)
    one.append(START_MS + WEEK_MS + 1, commands.set_settings(SETTINGS))
    one.deliver([arrived("sum", 0, START_MS + WEEK_MS + HOUR_MS, v="1", g="x", u="a")])
    pass_until(one, FINAL_MS + WEEK_MS)
    assert one.forget(NAME)
    one.deliver([arrived("sum", 1, FINAL_MS + WEEK_MS + 1, v="2", g="x", u="a")])
    return one


LATE = arrived("sum", 2, START_MS + HOUR_MS, FINAL_MS + WEEK_MS + 3, v="4", g="x", u="a")
"""An event of that week."""


def test_it_begins_again_when_an_event_comes_of_a_week_that_had_none() -> None:
    one, late = with_a_first_week_that_is_open(), LATE
    job = sent_elsewhere(one, REGROUPED, FINAL_MS + WEEK_MS + 2)
    assert set(job.dated_from.values()) == {START_MS + 2 * WEEK_MS}
    job.feed(one.arrived())
    one.deliver([late])
    job.feed([late])
    assert not job.swap()
    assert job.dated_from == {}
    job.feed(one.arrived())
    assert job.swap()
    assert layers(one, "sum") == 3


APART_MS = 8 * DAY_MS
"""A subscription that ended is final by the time that the one after it ends."""


def begin_anew(one: Live, at_ms: int) -> tuple[int, int]:
    """End the subscription and begin another one; return how many events were read, cells made."""
    before = one.partition.work.counts.copy()
    one.append(at_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
    one.append(at_ms + 1, commands.create_subscription(ORG, subscription_body()))
    made = one.partition.work.counts - before
    return made["refold", "index_rows"], made["refold", "cells"]


def often_begun_anew(code: str, times: int) -> tuple[Live, list[tuple[int, int]]]:
    """Begin anew so often, after one event of each subscription; return what that came to."""
    one, found = Live(definitions_of([code], SETTINGS)), list[tuple[int, int]]()
    one.define_all()
    for number in range(times):
        at_ms = START_MS + number * APART_MS
        one.close_until(at_ms)
        one.deliver([arrived(code, number, at_ms + HOUR_MS, v="1", g="x", u=f"u{number}")])
        pass_until(one, at_ms + APART_MS - DAY_MS)
        one.forget(NAME)
        found.append(begin_anew(one, at_ms + APART_MS - DAY_MS + 1))
    return one, found


def over(one: Live, code: str) -> int:
    """How many spans are over, none of which has a cell."""
    spans = one.partition.packing.route_of((*NAME, code)).spans
    found = [span for span in spans if is_over(span)]
    assert not any(layer.cells for span in found for layer in span.layers.values())
    return len(found)


@pytest.mark.parametrize("code", ["balance", "seats", "heads", "level"])
def test_cells_of_what_is_over_are_not_made_again(code: str) -> None:
    """The one that begins carries each event on. So all are read, and folded into few cells."""
    one, found = often_begun_anew(code, 12)
    assert [events for events, _ in found] == [*range(1, 13)]
    assert max(cells for _, cells in found) <= 5
    assert over(one, code) == 11
    one.restart()
    assert over(one, code) == 11
    assert differences(one) == []


def test_they_are_made_again_where_a_correction_waits() -> None:
    one, _ = often_begun_anew("balance", 3)
    at_ms = one.definitions.append_time_ms + 1
    cancel = Correction(*NAME, "t2", "cancel", None, "c", b"")
    one.partition.corrected.correct(CorrectionArrival(cancel, ORG, at_ms, 0, 300, 0))
    begin_anew(one, at_ms + 1)
    assert over(one, "balance") == 0


def test_they_are_made_again_while_changes_of_usage_are_told() -> None:
    one, _ = often_begun_anew("balance", 3)
    at_ms = one.definitions.append_time_ms + 1
    one.append(at_ms, commands.set_settings(replace(SETTINGS, usage_changed=True)))
    begin_anew(one, at_ms + 1)
    assert over(one, "balance") == 0
