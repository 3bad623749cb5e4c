"""Corrections: the figures and records after cancels and amends, in any order of arrival.

It has over 500 lines: one rule, and every way in which corrections and events may meet.
"""

from __future__ import annotations

import itertools
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.billing_periods.instants import iso_milliseconds, parse_iso8601_ms
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.files import DefinitionLine
from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival, CorrectionArrival, runs_of
from app.wire.decode import decode_record
from app.wire.events import Correction, Event
from app.wire.identity import event_id
from tables.changelogged.corrections import CorrectionTable
from tables.closing.close import next_cut
from tables.partition.refold import Refold
from tables.partition.revised import Counted, Versions
from tables.reading.usage import current_usage
from tables.spool import Spool
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.corrections import INSIDE_MS, current, fold, units, used
from tests.world.definitions import (
    GRACE_SETTINGS,
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
)
from tests.world.events import amend, arrived, cancel, event
from tests.world.partition import AtOnce, Live
from tests.world.repaired import Repaired
from tests.world.story import Story
from tests.world.verified import differences

HOUR_MS = 3_600_000
AFTER_DUE_MS = START_MS + WEEK_MS + HOUR_MS


def records_of(meter: OfflineMeter, code: str = "sum") -> list[dict[str, Any]]:
    found = [msgspec.json.decode(record.value) for record in meter.records]
    return [r for r in found if r.get("billable_metric", {}).get("code") == code]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_a_cancel_counts_whenever_it_comes(order: tuple[int, ...]) -> None:
    values = [used("a", "5"), used("b", "7"), cancel("a")]
    assert current(*(values[i] for i in order)) == "7"


def test_the_latest_correction_holds_and_an_amend_undoes_a_cancel() -> None:
    assert current(used("a", "5"), cancel("a"), amend(used("a", "3"))) == "3"


def test_a_correction_sent_again_changes_nothing() -> None:
    again = amend(used("a", "9"), "c1")
    assert current(used("a", "5"), cancel("a", "c1"), again) == "0"


def test_an_amend_may_move_the_event_to_another_metric() -> None:
    moved = amend(used("a", "4", code="max"))
    assert current(used("a", "5"), moved) == "0"
    assert current(used("a", "5"), moved, code="max") == "4"


def test_a_cancelled_id_stays_taken() -> None:
    assert current(used("a", "5"), cancel("a"), used("a", "5")) == "0"


def test_a_published_period_is_revised_at_the_next_cut_with_its_reason() -> None:
    meter = fold(
        (INSIDE_MS, used("a", "5")),
        (INSIDE_MS, used("b", "7")),
        (AFTER_DUE_MS + 60_000, amend(used("a", "2"))),
        at_ms=AFTER_DUE_MS + 3 * HOUR_MS,
    )
    recorded, revised = records_of(meter)
    assert (recorded["units"], recorded["revision"], recorded["revision_reason"]) == (
        "12.0",
        0,
        None,
    )
    assert (revised["units"], revised["previous_units"], revised["delta_units"]) == (
        "9.0",
        "12.0",
        "-3.0",
    )
    assert (revised["revision"], revised["revision_reason"]) == (1, "correction")
    assert revised["closed_at"] > recorded["closed_at"]


@pytest.mark.parametrize(
    ("code", "cancelled", "reasons"),
    [
        ("sum", "week-1", {"2024-01-01": "correction", "2024-01-08": "late_events"}),
        ("sum", "week-2", {"2024-01-01": "late_events", "2024-01-08": "correction"}),
        ("balance", "week-1", {"2024-01-01": "correction", "2024-01-08": "correction"}),
        ("balance", "week-2", {"2024-01-01": "late_events", "2024-01-08": "correction"}),
    ],
)
def test_the_reason_is_that_of_the_period(
    code: str, cancelled: str, reasons: dict[str, str]
) -> None:
    """A balance is corrected from the event's period on."""
    later_ms = START_MS + 2 * WEEK_MS + HOUR_MS
    meter = fold(
        (INSIDE_MS, used("week-1", "5", code=code)),
        (INSIDE_MS + WEEK_MS, used("week-2", "7", INSIDE_MS + WEEK_MS, code)),
        (later_ms + 1, cancel(cancelled)),
        (later_ms + 2, used("late-1", "1", code=code)),
        (later_ms + 3, used("late-2", "1", INSIDE_MS + WEEK_MS, code)),
        at_ms=later_ms + 3 * HOUR_MS,
    )
    assert reasons == {
        body["period"]["from"][:10]: body["revision_reason"]
        for body in records_of(meter, code)
        if body["revision"] == 1
    }


@pytest.mark.parametrize(
    ("correction", "reasons"),
    [
        (cancel("a"), {"x": "correction", "y": "late_events", "z": "late_events"}),
        (
            amend(used("a", "5", g="y")),
            {"x": "correction", "y": "correction", "z": "late_events"},
        ),
        (
            amend(used("a", "not a number", g="y")),
            {"x": "correction", "y": "late_events", "z": "late_events"},
        ),
    ],
    ids=["cancelled", "moved", "moved, without a value"],
)
def test_the_reason_is_that_of_the_cell(
    correction: dict[str, Any], reasons: dict[str, str]
) -> None:
    later_ms = START_MS + WEEK_MS + HOUR_MS
    meter = fold(
        (INSIDE_MS, used("a", "5", g="x")),
        (INSIDE_MS, used("b", "5", g="y")),
        (INSIDE_MS, used("c", "5", g="z")),
        (later_ms + 1, correction),
        *((later_ms + 2, used(f"late-{group}", "1", g=group)) for group in "xyz"),
        at_ms=later_ms + 3 * HOUR_MS,
    )
    assert reasons == {
        body["grouped_by"]["g"]: body["revision_reason"]
        for body in records_of(meter)
        if body["revision"] == 1
    }


def test_a_group_that_loses_its_place_to_a_corrected_one_says_so() -> None:
    later_ms = START_MS + WEEK_MS + HOUR_MS
    meter = fold(
        *((INSIDE_MS, used(id_, "5", g=group)) for id_, group in ("ax", "bx", "cy")),
        (later_ms + 1, amend(used("a", "5", g="w"))),
        at_ms=later_ms + 3 * HOUR_MS,
        settings=msgspec.structs.replace(SETTINGS, max_groups=2),
    )
    revised = {
        body["grouped_by"]["g"]: (body["units"], body["revision_reason"])
        for body in records_of(meter)[2:]
    }
    assert revised == {"w": ("5.0", None), "x": ("5.0", "correction"), "y": ("0.0", "correction")}


def test_a_correction_after_the_late_window_still_revises() -> None:
    long_after_ms = START_MS + 400 * DAY_MS
    meter = fold(
        (INSIDE_MS, used("a", "5")),
        (long_after_ms, cancel("a")),
        at_ms=long_after_ms + 2 * HOUR_MS,
    )
    newest = records_of(meter)[-1]
    assert (newest["units"], newest["events_count"], newest["digest"]) == ("0.0", 0, "0" * 32)
    assert newest["revision_reason"] == "correction"


def test_two_corrections_of_one_event_show_each_at_its_own_cut() -> None:
    meter = fold(
        (INSIDE_MS, used("a", "5")),
        (AFTER_DUE_MS + 1, amend(used("a", "3"), "c1")),
        (AFTER_DUE_MS + HOUR_MS + 1, amend(used("a", "2"), "c2")),
        at_ms=AFTER_DUE_MS + 4 * HOUR_MS,
    )
    assert [(r["units"], r["revision_reason"]) for r in records_of(meter)] == [
        ("5.0", None),
        ("3.0", "correction"),
        ("2.0", "correction"),
    ]


def test_a_correction_that_changes_nothing_counted_is_told_by_no_record() -> None:
    """Neither of the cell nor of its period: an event that never counted, or the same again."""
    meter = fold(
        (INSIDE_MS, used("a", "5")),
        (INSIDE_MS, used("b", "no number")),
        (AFTER_DUE_MS + 1, cancel("b", "c1")),
        (AFTER_DUE_MS + HOUR_MS + 1, amend(used("a", "5.0"), "c2")),
        at_ms=AFTER_DUE_MS + 4 * HOUR_MS,
    )
    assert [msgspec.json.decode(r.value)["revision"] for r in meter.records] == [0, 0]


def test_an_amend_into_a_period_that_is_defined_later_counts_there() -> None:
    """The event as it was lies before the subscription begins."""
    meter = OfflineMeter()
    *known, subscribe = definitions_of(["sum"])
    later_ms = INSIDE_MS + HOUR_MS
    meter.run(
        [
            DefinitionLine(at_ms, d.offset, d.command.encode())
            for at_ms, d in [*((START_MS, d) for d in known), (later_ms, subscribe)]
        ],
        [
            EventLine(at_ms, 0, offset, msgspec.json.encode(value))
            for offset, (at_ms, value) in enumerate(
                [
                    (INSIDE_MS, used("a", "5", START_MS - DAY_MS)),
                    (INSIDE_MS + 1, amend(used("a", "4", START_MS + HOUR_MS))),
                ]
            )
        ],
        later_ms + HOUR_MS,
    )
    assert units(meter.usage((ORG, SUBSCRIPTION), later_ms + HOUR_MS)) == "4"


def test_no_cut_before_a_correction_shows_what_it_makes_of_an_event() -> None:
    """The event came before the hour, the correction after it: the cut on the hour is too early."""
    hour_ms = AFTER_DUE_MS + HOUR_MS
    inside = used("a", "4", INSIDE_MS, code="max")
    meter = fold(
        (hour_ms - 1_000, used("a", "4", hour_ms - 1_000)),
        (hour_ms + 1_000, amend(inside)),
        at_ms=hour_ms + 3 * HOUR_MS,
    )
    (recorded,) = records_of(meter, "max")
    assert recorded["closed_at"] == iso_milliseconds(hour_ms + HOUR_MS)


def test_the_first_correction_under_an_id_holds_whichever_is_read_first() -> None:
    """Two partitions: what was appended first is read last."""
    first, second = amend(used("a", "3"), "c1"), amend(used("a", "2"), "c1")
    arrivals = [
        CorrectionArrival(decoded, ORG, INSIDE_MS + at_ms, partition, 0, 0)
        for at_ms, partition, value in ((2, 0, second), (1, 1, first))
        for _, decoded in decode_record(msgspec.json.encode(value))
        if isinstance(decoded, Correction)
    ]
    table, other = CorrectionTable(), CorrectionTable()
    for arrival in arrivals:
        assert table.accept(b"%12d" % 7, arrival)
    for arrival in reversed(arrivals):
        other.accept(b"%12d" % 7, arrival)
    assert [held.position for held in table.history(b"%12d" % 7)] == [arrivals[1].position]
    assert table.sum == other.sum
    again = CorrectionTable()
    for key, value in table.take_changes().items():
        again.load(key, value)
    assert again.sum == table.sum
    assert [held.position for held in again.history(b"%12d" % 7)] == [arrivals[1].position]


def test_an_amend_beyond_the_range_is_refused() -> None:
    wrong = amend(used("a", "2", at_ms=INSIDE_MS + 4_000 * DAY_MS))
    meter = OfflineMeter()
    meter.run([], [EventLine(INSIDE_MS, 0, 0, msgspec.json.encode(wrong))], INSIDE_MS)
    assert [refused.code for refused in meter.refused] == ["invalid_correction"]


def test_a_group_that_a_correction_lets_in_is_there_from_that_correction_on() -> None:
    """A late event of it found no room at its own cut; nothing of it is published for that one."""
    first = used("a", "1") | {"properties": {"v": "1", "g": "z"}}
    late = used("b", "9") | {"properties": {"v": "9", "g": "x"}}
    moved = amend(first | {"properties": {"v": "2", "g": "x"}})
    corrected_ms = AFTER_DUE_MS + 2 * DAY_MS + 1
    meter = fold(
        (INSIDE_MS, first),
        (AFTER_DUE_MS, late),
        (corrected_ms, moved),
        at_ms=corrected_ms + DAY_MS,
        settings=msgspec.structs.replace(SETTINGS, max_groups=1),
    )
    told = [(r["grouped_by"]["g"], r["units"], r["closed_at"]) for r in records_of(meter)]
    then = iso_milliseconds(AFTER_DUE_MS + 2 * DAY_MS + HOUR_MS)
    assert told[0][:2] == ("z", "1.0")
    assert sorted(told[1:]) == [("x", "11.0", then), ("z", "0.0", then)]


def test_a_refold_for_a_definition_leaves_a_corrected_event_at_the_cut_of_its_correction() -> None:
    """The event came before the hour, its correction after it, and that hour's cut is not taken."""
    hour_ms, name = AFTER_DUE_MS + HOUR_MS, (ORG, SUBSCRIPTION)
    live = Live(definitions_of(["max"]))
    live.close_until(hour_ms - 2_000)
    came_ms, corrected_ms = hour_ms - 1_000, hour_ms + 1_000
    ((_, came),) = decode_record(msgspec.json.encode(used("a", "4", came_ms, code="max")))
    ((_, moved),) = decode_record(msgspec.json.encode(amend(used("a", "4", code="max"))))
    assert isinstance(came, Event)
    assert isinstance(moved, Correction)
    live.deliver([Arrival(came, ORG, came_ms, 0, 0, 0)])
    live.define_until(corrected_ms)
    live.partition.corrected.correct(CorrectionArrival(moved, ORG, corrected_ms, 0, 1, 0))
    meter_keys = live.partition.event_ranges.meter_keys_of(name)
    for horizons in ({name: next_cut(live.partition, name)}, None):
        refold = Refold(live.partition, meter_keys, horizons)
        refold.feed(live.arrived())
        assert refold.swap()
    (span,) = live.partition.packing.route_of((*name, "max")).spans
    cuts = [c for layer in span.layers.values() for x in layer.cells.values() for c in x.late or ()]
    assert cuts
    assert min(cuts) >= corrected_ms


@pytest.mark.parametrize(
    ("code", "dated_ms"),
    [("max", INSIDE_MS), ("balance", INSIDE_MS), ("balance", START_MS - DAY_MS)],
    ids=["of-its-period", "of-a-balance", "of-a-balance-before-the-first-period"],
)
def test_an_earlier_copy_that_comes_late_has_its_own_cut_before_it_is_cancelled(
    code: str, dated_ms: int
) -> None:
    """Nothing has announced that cut: the refold that counts the copy finds it."""
    live = Live(definitions_of([code]))
    live.close_until(AFTER_DUE_MS)
    assert cuts_of_late_copies(live, used("a", "4", dated_ms, code=code), "a") == [COPIED_CUT_MS]


def test_an_earlier_copy_that_only_a_later_period_is_late_for_has_its_own_cut() -> None:
    """The week of the event is in grace; a termination has none by the rules of version 1."""
    settings = SettingsRecord(close_grid_s=60, revise_every_s=3600, grace_s=86_400, fold_version=1)
    live = Live(definitions_of(["balance"], settings))
    live.define_all()
    live.append(AFTER_DUE_MS - 1, commands.terminate_subscription(ORG, SUBSCRIPTION))
    live.close_until(AFTER_DUE_MS)
    copied = used("a", "4", INSIDE_MS, code="balance")
    assert cuts_of_late_copies(live, copied, "a") == [COPIED_CUT_MS]


def test_an_earlier_copy_that_was_amended_into_a_closed_period_has_its_own_cut() -> None:
    """The amend came before any copy; the refold is for another correction."""
    live = Live(definitions_of(["max"]))
    live.define_all()
    live.deliver([Arrival(event("max", "b", INSIDE_MS, v="1"), ORG, INSIDE_MS, 0, 0, 0)])
    live.close_until(AFTER_DUE_MS)
    ((_, amended),) = decode_record(
        msgspec.json.encode(amend(used("a", "4", INSIDE_MS, code="max")))
    )
    assert isinstance(amended, Correction)
    live.partition.corrected.correct(CorrectionArrival(amended, ORG, AFTER_DUE_MS + 1, 0, 3, 0))
    copied = used("a", "4", START_MS + WEEK_MS, code="max")
    assert cuts_of_late_copies(live, copied, "b") == [COPIED_CUT_MS]


COPIED_CUT_MS = AFTER_DUE_MS + HOUR_MS


def cuts_of_late_copies(live: Live, copied: dict[str, Any], cancelled: str) -> list[int]:
    """Refold for a cancel after two copies, the earlier one last; return what cells wait for."""
    name, first_ms = (ORG, SUBSCRIPTION), COPIED_CUT_MS - 1_000
    again_ms = first_ms + 2 * HOUR_MS
    ((_, late),) = decode_record(msgspec.json.encode(copied))
    ((_, gone),) = decode_record(msgspec.json.encode(cancel(cancelled)))
    assert isinstance(late, Event)
    assert isinstance(gone, Correction)
    arrivals = [Arrival(late, ORG, again_ms, 1, 0, 0), Arrival(late, ORG, first_ms, 0, 4, 0)]
    for arrival in arrivals:
        live.partition.fold(runs_of([arrival]))
    live.partition.corrected.correct(CorrectionArrival(gone, ORG, again_ms + 1, 0, 5, 0))
    horizons = {name: next_cut(live.partition, name)}
    refold = Refold(live.partition, live.partition.event_ranges.meter_keys_of(name), horizons)
    fed = 0
    while not fed or not refold.swap():
        refold.feed([*live.arrived(), *arrivals])
        fed += 1
    assert fed == 2
    assert next_cut(live.partition, name) == COPIED_CUT_MS
    spans = live.partition.packing.route_of((*name, copied["code"])).spans
    layers = [layer for span in spans for layer in span.layers.values()]
    return [cut for layer in layers for cell in layer.cells.values() for cut in cell.late or ()]


@pytest.mark.parametrize("code", ["seats", "heads"])
def test_a_member_that_was_cancelled_with_all_others_does_not_come_back(code: str) -> None:
    """Its set is void, though the changelog has it still and no cell tells of a refold."""
    live = Live(definitions_of([code]))
    live.define_all()

    def use(transaction_id: str, user: str, at_ms: int) -> None:
        sent = {**used(transaction_id, "1", code=code), "properties": {"u": user}}
        ((_, taken),) = decode_record(msgspec.json.encode(sent))
        assert isinstance(taken, Event)
        live.deliver([Arrival(taken, ORG, at_ms, 0, at_ms - INSIDE_MS, 0)])
        live.restart()

    use("a", "c", INSIDE_MS)
    ((_, cancelled),) = decode_record(msgspec.json.encode(cancel("a")))
    assert isinstance(cancelled, Correction)
    live.partition.corrected.correct(CorrectionArrival(cancelled, ORG, INSIDE_MS + 1, 0, 1, 0))
    refold = Refold(live.partition, [(ORG, SUBSCRIPTION, code)], {(ORG, SUBSCRIPTION): NEVER_MS})
    refold.feed(live.arrived())
    assert refold.swap()
    live.restart()
    assert live.cells() == {}
    use("b", "a", INSIDE_MS + 2)
    use("c", "c", INSIDE_MS + 3)
    usage = current_usage(live.partition, (ORG, SUBSCRIPTION), INSIDE_MS + 4)
    assert usage is not None
    assert [(str(row.units), row.events_count) for row in usage.rows] == [("2", 2)]


def test_whatever_corrections_may_make_of_a_member_is_looked_up() -> None:
    """Of an event that was amended before it was sent and cancelled after, and comes last."""
    live = Live(definitions_of(["heads"]))
    live.define_all()

    def used(transaction_id: str, user: str) -> Event:
        return event("heads", transaction_id, INSIDE_MS, u=user)

    live.deliver([Arrival(used("a", "known"), ORG, INSIDE_MS, 0, 0, 0)])
    live.restart()
    corrections = [
        (INSIDE_MS + 1, Correction(ORG, SUBSCRIPTION, "b", "amend", used("b", "known"), "c1", b"")),
        (INSIDE_MS + 3, Correction(ORG, SUBSCRIPTION, "b", "cancel", None, "c2", b"")),
    ]
    for offset, (at_ms, correction) in enumerate(corrections):
        live.partition.corrected.correct(CorrectionArrival(correction, ORG, at_ms, 1, offset, 0))
    live.deliver([Arrival(used("b", "other"), ORG, INSIDE_MS + 2, 0, 1, 0)])
    usage = current_usage(live.partition, (ORG, SUBSCRIPTION), INSIDE_MS + 4)
    assert usage is not None
    assert [(str(row.units), row.events_count) for row in usage.rows] == [("1", 1)]


def test_a_correction_that_the_first_cut_showed_is_no_reason_of_the_next() -> None:
    """It is due between two revisions, so that the next one is the correction's, too."""
    over_ms = START_MS + WEEK_MS
    meter = fold(
        (INSIDE_MS, used("a", "5")),
        (INSIDE_MS + 1, used("b", "7")),
        (over_ms + 60_000, cancel("a")),
        (over_ms + 600_000, used("late", "3")),
        at_ms=over_ms + 2 * HOUR_MS,
        settings=GRACE_SETTINGS,
    )
    told = [(r["units"], r["revision_reason"]) for r in records_of(meter)]
    assert told == [("7.0", None), ("10.0", "late_events")]


def test_an_earlier_copy_has_its_own_cut_though_the_worker_starts_again_before_its_refold() -> None:
    """Else the refold would put the correction in force for the cuts before it as well."""
    first_ms = AFTER_DUE_MS + HOUR_MS - 1_000
    again_ms = first_ms + 2 * HOUR_MS
    live = Live(definitions_of(["max"]))
    live.close_until(AFTER_DUE_MS)
    ((_, late),) = decode_record(msgspec.json.encode(used("a", "4", INSIDE_MS, code="max")))
    ((_, amended),) = decode_record(msgspec.json.encode(amend(used("a", "3", code="max"))))
    assert isinstance(late, Event)
    assert isinstance(amended, Correction)
    live.partition.fold(runs_of([Arrival(late, ORG, again_ms, 1, 0, 0)]))
    live.partition.corrected.correct(CorrectionArrival(amended, ORG, again_ms + 1, 0, 1, 0))
    live.partition.fold(runs_of([Arrival(late, ORG, first_ms, 0, 0, 0)]))
    live.restart()
    drained(live.partition.corrected.following_all())
    assert next_cut(live.partition, (ORG, SUBSCRIPTION)) == AFTER_DUE_MS + HOUR_MS


@pytest.mark.parametrize("restarts", [False, True])
def test_a_final_period_tells_what_it_has_billed_after_a_restart_too(*, restarts: bool) -> None:
    """An event dated beyond the end was billed in it at once; its cancel is decided by then."""
    settings = replace(SETTINGS, late_window_s=3_600)
    live = Repaired(definitions_of(["passes"], settings), repairs=True)
    for number, dated_ms in enumerate((INSIDE_MS, INSIDE_MS + DAY_MS)):
        live.deliver([arrived("passes", number, dated_ms, INSIDE_MS, u=f"{number}")])
    live.close_until(INSIDE_MS + HOUR_MS)
    live.append(INSIDE_MS + HOUR_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
    at_ms = AFTER_DUE_MS + 1
    live.close_until(at_ms)
    one = Correction(ORG, SUBSCRIPTION, "t1", "cancel", None, "c", b"")
    live.correct(CorrectionArrival(one, ORG, at_ms, 0, 2, 0))
    live.close_until(at_ms + HOUR_MS // 2)
    assert [told["units"] for told in live.instants()] == ["1.0", "1.0", "0.0"]
    if restarts:
        live.restart()
        drained(live.partition.corrected.following_all())
        live.mend()
    live.close_until(at_ms + HOUR_MS)
    told = [body for body in live.bodies() if body["type"] != "period.completed"]
    assert [(body["billed_in_advance"], body["revision_reason"]) for body in told] == [
        ("2.0", None),
        ("1.0", "correction"),
    ]
    assert differences(live) == []


def test_an_earlier_copy_is_corrected_as_the_one_it_replaces_was() -> None:
    """The reasons of a revision are of the copy that counts, whichever was corrected first."""
    live, over_ms = Live(definitions_of(["sum"])), AFTER_DUE_MS
    live.define_all()

    def copy(group: str, offset: int, *, partition: int = 0, name: str = "dup") -> Arrival:
        taken = event("sum", name, INSIDE_MS, v="5", g=group)
        return Arrival(taken, ORG, over_ms + offset, partition, offset, 0)

    for i, group in enumerate(("x", "z")):
        taken = event("sum", f"base-{group}", INSIDE_MS, v="1", g=group)
        live.deliver([Arrival(taken, ORG, INSIDE_MS + i, 0, i, 0)])
    live.close_until(over_ms)
    live.deliver([copy("x", 3)])
    amended = event("sum", "dup", INSIDE_MS, v="5", g="y")
    amend_it = Correction(ORG, SUBSCRIPTION, "dup", "amend", amended, "c1", b"")
    live.define_until(over_ms + 4)
    live.partition.corrected.correct(CorrectionArrival(amend_it, ORG, over_ms + 4, 0, 4, 0))
    _recorrect(live)
    live.deliver([copy("x", 5, name="late-x"), copy("z", 6, name="late-z")])
    live.deliver([copy("z", 2, partition=1)])
    _recorrect(live)
    live.close_until(over_ms + 2 * HOUR_MS)
    told = {
        (body["grouped_by"]["g"], body["units"], body["revision_reason"])
        for body in live.bodies()
        if body["type"] != "period.completed" and body["closed_at"] > iso_milliseconds(over_ms)
    }
    assert told == {("x", "6.0", "late_events"), ("z", "6.0", "correction"), ("y", "5.0", None)}


def _recorrect(live: Live) -> None:
    """As an owner does when cells show other corrections than the next cut."""
    name = (ORG, SUBSCRIPTION)
    next_ms = next_cut(live.partition, name)
    if live.partition.corrections.followed.wrong_since(name, next_ms) is not None:
        refold = Refold(
            live.partition, live.partition.event_ranges.meter_keys_of(name), {name: next_ms}
        )
        refold.feed(live.arrived())
        assert refold.swap()


G = {"properties": {"pricing_group_keys": ["g"]}}


@pytest.mark.parametrize(
    ("made", "late"),
    [
        (("weighted_sum_agg", {"recurring": True}), {"v": "2", "g": "x"}),
        (("unique_count_agg", {}), {"v": "u", "g": "x", "operation_type": "remove"}),
    ],
    ids=["level", "removed"],
)
def test_a_cell_that_shows_no_events_is_not_corrected_by_what_another_group_lost(
    made: tuple[str, dict[str, Any]], late: dict[str, str]
) -> None:
    """Of a level that is carried on, and of a member that is removed: both had a late event."""
    aggregation, more = made
    story = Story().metric("m", aggregation, **more).plan(G).subscribe()
    for v, g in (("1", "x"), ("1", "y"), ("2", "y")):
        story.send("2024-01-10", v="u" if v == "1" and not more else v, g=g)
    story.send("2024-01-11", appended="2024-03-05T10:10:00Z", **late)
    story.append("2024-03-05T10:20:00Z", cancel("t1"))
    told = {
        (record["grouped_by"]["g"], record["revision_reason"])
        for record in story.records("2024-03-06")
        if record["revision"]
    }
    assert told == {("x", "late_events"), ("y", "correction")}


@pytest.mark.parametrize(
    ("correction_has", "event_has", "counts"),
    [(None, None, True), (ORG, None, True), (None, ORG, True), (None, "other", False)],
)
def test_an_amend_keeps_the_organization_whoever_names_it(
    correction_has: str | None, event_has: str | None, counts: bool
) -> None:
    """What names none is of the default one."""
    story = Story(default_organization_id=ORG).metric("m", "sum_agg").plan({}).subscribe()
    story.send("2024-01-10", v=1)
    to = used("t0", "7", parse_iso8601_ms("2024-01-10T00:00:00Z") or 0, "m")
    correction = amend({**to, "organization_id": event_has})
    story.append("2024-01-11", {**correction, "organization_id": correction_has})
    refused = [str(one.code) for one in story.meter("2024-01-12").refused]
    assert refused == ([] if counts else ["invalid_correction"])
    (charge_usage,) = story.usage("2024-01-12")["charges_usage"]
    assert charge_usage["units"] == ("7.0" if counts else "1.0")


def test_events_of_corrections_take_no_memory(tmp_path: Path) -> None:
    """A producer may send a megabyte with each, as often as he likes."""

    def correction(number: int) -> CorrectionArrival:
        name, text = f"t{number}", b"x" * 100_000
        to = Event(ORG, "s", name, "c", START_MS, None, b'{"v":"%s"}' % text, b"{%s}" % text)
        sent = Correction(ORG, "s", name, "amend", to, f"c{number}", b"")
        return CorrectionArrival(sent, ORG, START_MS + number, 0, number, 0)

    table = CorrectionTable(Spool(tmp_path))
    tracemalloc.start()
    try:
        for number in range(100):
            table.accept(b"%12d" % number, correction(number))
            kept = table.take_changes()
        kept_bytes = sum(len(value or b"") for value in kept.values())
        grown_bytes = tracemalloc.get_traced_memory()[0] - kept_bytes
    finally:
        tracemalloc.stop()
    assert grown_bytes < 100 * 2_000
    assert [held.event for held in table.history(b"%12d" % 7)] == [correction(7).correction.event]
    # What a restart reads of it, record by record, an older one first.
    again = CorrectionTable(Spool(tmp_path))
    (record,) = kept.items()
    for value in (record[1], None, record[1], record[1]):
        again.load(record[0], value)
    assert again.sum.records == 1
    assert [held.event for held in again.history(b"%12d" % 99)] == [correction(99).correction.event]


def id_of(number: int) -> bytes:
    """Return the id of an event that `many` corrects."""
    return event_id(ORG, "s", f"t{number}")


def many(numbers: range) -> list[CorrectionArrival]:
    """Return amends of one subscription, one of each event, the second half sent backwards."""
    half = len(numbers) // 2
    arrivals = []
    for number in (*numbers[:half], *reversed(numbers[half:])):
        to = Event(ORG, "s", f"t{number}", "c", START_MS, None, b'{"v":"1"}', b"")
        sent = Correction(ORG, "s", f"t{number}", "amend", to, f"c{number}", b"")
        arrivals.append(CorrectionArrival(sent, ORG, START_MS + number, 0, number, 0))
    return arrivals


def test_a_correction_takes_less_than_200_bytes(tmp_path: Path) -> None:
    """Also while the next cut has yet to show it, before and after."""
    table, corrected = CorrectionTable(Spool(tmp_path)), Versions(Spool(tmp_path))
    arrivals = many(range(4_000))
    ids = [id_of(arrival.raw_offset) for arrival in arrivals]
    tracemalloc.start()
    try:
        for identity, arrival in zip(ids, arrivals, strict=True):
            table.followed.follow(table.accept(identity, arrival)[0])
            event = arrival.correction.event
            assert event is not None
            for _ in range(2):
                corrected.add(Counted(Arrival(event, ORG, *arrival.position), arrival.position[0]))
            table.take_changes()
        grown_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown_bytes < 200 * len(arrivals)
    # All of it is there, read from local disk.
    for identity, arrival in zip(ids, arrivals, strict=True):
        (stored,) = table.history(identity)
        told = (stored.position, stored.name, stored.identity, stored.event)
        assert told == (arrival.position, arrival.name, identity, arrival.correction.event)
    times = [kept.since_ms for kept in corrected]
    assert times == [arrival.position[0] for arrival in arrivals for _ in range(2)]


def test_which_corrections_a_cut_turns_is_known_without_looking_at_all(tmp_path: Path) -> None:
    """Of very many of one subscription: the ends alone are looked at, whatever order they came."""
    table, name = CorrectionTable(Spool(tmp_path)), (ORG, "s")
    for arrival in many(range(1_000)):
        table.followed.follow(table.accept(id_of(arrival.raw_offset), arrival)[0])
    followed, cut_ms = table.followed, START_MS + 99
    numbers = {id_of(number): number for number in range(1_000)}

    def turning(horizon_ms: int) -> list[int]:
        return [numbers[identity] for identity in followed.turning(name, horizon_ms)]

    assert turning(START_MS - 1) == []
    assert followed.wrong_since(name, START_MS - 1) is None
    assert (turning(cut_ms), followed.wrong_since(name, cut_ms)) == ([*range(100)], START_MS)
    for number in range(100):
        followed.put_in_force(table.history(id_of(number))[0], cut_ms)
    assert (turning(cut_ms), followed.wrong_since(name, cut_ms)) == ([], None)
    # An earlier cut must not show some of them.
    assert turning(cut_ms - 2) == [99, 98]
    assert followed.wrong_since(name, cut_ms - 2) == cut_ms - 2
    # What a copy before them makes of the cells is not what they show.
    followed.follow(table.history(id_of(7))[0])
    assert (turning(cut_ms), followed.wrong_since(name, cut_ms)) == ([7], START_MS + 7)
    followed.put_in_force(table.history(id_of(7))[0], cut_ms)
    followed.settle(name, START_MS + 49)
    assert not table.history(id_of(49))[0].followed
    assert [stored.position[0] - START_MS for stored in followed.of(name)] == [*range(50, 1_000)]
    drained(followed.enforcing(name, followed.until(name, cut_ms - 1), START_MS + 59))
    assert (turning(cut_ms), turning(cut_ms - 1)) == ([99], [])
    assert [stored.position[0] - START_MS for stored in followed.of(name)] == [*range(60, 1_000)]


def test_corrections_that_are_told_are_followed_no_more() -> None:
    """Settings then need not look at its next cut, however many there ever were."""
    alert = {
        "alert_type": "billable_metric_current_usage_units",
        "code": "much",
        "billable_metric_code": "sum",
        "thresholds": [{"value": "1"}],
    }
    definitions = definitions_of(["sum"])
    watch = commands.create_alert(ORG, SUBSCRIPTION, alert)
    live = Repaired([*definitions, CommandAt(START_MS, len(definitions), watch)], repairs=True)
    name, settings = (ORG, SUBSCRIPTION), live.partition.redirection.new_settings
    followed = live.partition.corrections.followed
    for number in range(2):
        live.deliver([arrived("sum", number, INSIDE_MS, v="1")])
    for number in range(2):
        told = Correction(ORG, SUBSCRIPTION, f"t{number}", "cancel", None, f"c{number}", b"")
        at_ms = INSIDE_MS + 120_000 * number + 1
        live.correct(CorrectionArrival(told, ORG, at_ms, 0, 2 + number, 0))
        live.close_until(at_ms + 60_000)
        assert live.partition.checkpoint.cut_ms > at_ms
        # No revision has come yet.
        assert len(followed.of(name)) == number + 1
        assert not settings.keep_cuts(name)
    live.close_until(INSIDE_MS + 2 * 3_600_000)
    assert settings.keep_cuts(name)
    assert live.partition.corrections.touches(name)


def test_corrections_of_one_event_stand_in_order_and_one_may_take_the_place_of_another() -> None:
    """Under one correction_id the first holds, though it is about another event."""
    table, ids = CorrectionTable(), [id_of(number) for number in range(2)]

    def correction(at_ms: int, correction_id: str) -> CorrectionArrival:
        sent = Correction(ORG, "s", "t", "cancel", None, correction_id, b"")
        return CorrectionArrival(sent, ORG, at_ms, 0, at_ms, 0)

    for at_ms in (5, 3, 9):
        table.followed.follow(table.accept(ids[0], correction(at_ms, f"c{at_ms}"))[0])
    assert [stored.position[0] for stored in table.history(ids[0])] == [3, 5, 9]
    stored, known = table.accept(ids[1], correction(1, "c9"))
    assert (stored.identity, known.identity) == (ids[1], ids[0])
    assert [stored.position[0] for stored in table.history(ids[0])] == [3, 5]
    assert [stored.position[0] for stored in table.history(ids[1])] == [1]
    assert not table.followed.is_clear((ORG, "s"))
    assert [*table.followed.turning((ORG, "s"), 9)] == [ids[0]] * 2
    assert table.accept(ids[0], correction(2, "c9")) == []


def goes_straight(live: Live, sent: Event, offset: int, at_ms: int) -> bool:
    """Whether a new event is led to its cell without a look at it."""
    runs = list(runs_of([Arrival(sent, ORG, at_ms, 0, offset, 0)]))
    return not live.partition.fold_straight(runs).rest


@pytest.mark.parametrize("restarts", [False, True])
def test_events_go_straight_where_no_correction_can_be_about_them(*, restarts: bool) -> None:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    for number in range(2):
        live.deliver([arrived("sum", number, INSIDE_MS, v="1")])
    told = Correction(ORG, SUBSCRIPTION, "t0", "cancel", None, "c", b"")
    live.partition.corrected.correct(CorrectionArrival(told, ORG, INSIDE_MS + 1, 0, 2, 0))
    if restarts:
        live.restart()
        live.deliver([Arrival(event("sum", "t2", INSIDE_MS, v="1"), ORG, INSIDE_MS + 2, 0, 3, 0)])
    # Its event has come.
    assert not live.partition.corrections.awaits_any()
    assert goes_straight(live, event("sum", "t3", INSIDE_MS, v="1"), 4, INSIDE_MS + 3)
    early = Correction(ORG, SUBSCRIPTION, "t4", "cancel", None, "d", b"")
    live.partition.corrected.correct(CorrectionArrival(early, ORG, INSIDE_MS + 4, 0, 5, 0))
    if restarts:
        live.restart()
        live.deliver([Arrival(event("sum", "t5", INSIDE_MS, v="1"), ORG, INSIDE_MS + 5, 0, 6, 0)])
    # However long its event does not come, all others of its subscription go straight.
    assert goes_straight(live, event("sum", "t6", INSIDE_MS, v="1"), 6, INSIDE_MS + 6)
    assert not goes_straight(live, event("sum", "t4", INSIDE_MS, v="9"), 7, INSIDE_MS + 7)
    for offset, name in enumerate(("t4", "t7"), 8):
        sent = event("sum", name, INSIDE_MS, v="9")
        live.deliver([Arrival(sent, ORG, INSIDE_MS + offset, 0, offset, 0)])
    assert goes_straight(live, event("sum", "t8", INSIDE_MS, v="1"), 10, INSIDE_MS + 10)
    assert not live.partition.corrections.awaits_any()


def test_a_correction_is_of_the_copy_that_comes_once_its_event_turns_out_to_be_refused() -> None:
    """Settings that are read late refuse the event, which was known when it was cancelled."""
    definitions = definitions_of(["sum"])
    narrow = commands.set_settings(replace(SETTINGS, late_window_s=DAY_MS // 1_000))
    live = AtOnce([*definitions, CommandAt(START_MS, len(definitions), narrow)])
    live.define(len(definitions))
    late_ms = START_MS + 3 * WEEK_MS
    live.deliver([Arrival(event("sum", "t", START_MS, v="5"), ORG, late_ms, 0, 0, 0)])
    told = Correction(ORG, SUBSCRIPTION, "t", "cancel", None, "c", b"")
    live.partition.corrected.correct(CorrectionArrival(told, ORG, late_ms + 1, 0, 1, 0))
    live.define_all()
    for offset, name in enumerate(("u", "v", "t"), 2):
        sent = event("sum", name, late_ms, v="3")
        live.deliver([Arrival(sent, ORG, late_ms + offset, 0, offset, 0)])
    (row,) = current_usage(live.partition, (ORG, SUBSCRIPTION), late_ms).rows  # type: ignore[union-attr]
    assert (str(row.units), row.events_count) == ("6", 2)
