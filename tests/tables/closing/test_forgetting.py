"""What goes when a period is final, when, and what is told of it afterwards."""

from __future__ import annotations

import tracemalloc
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import FOLD_VERSION, SettingsRecord
from app.wire.arrivals import CorrectionArrival
from app.wire.events import Correction
from tables.changelogged.checkpoint import FORGETTING_VERSION, Checkpoint
from tables.changelogged.presence import LogsKept
from tables.closing.close import closing, entering_history, next_cut
from tables.closing.forgetting import Forgetting
from tables.closing.schedule import Schedule
from tables.partition.redirection import refolds_of
from tables.partition.revised import Counted
from tables.reading.explained import ExplainedPeriod, Figures
from tables.reading.in_advance import estimated
from tables.reading.tracing import Tracer, verdict
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import FROM_THE_START, Live
from tests.world.past import past_usage
from tests.world.repaired import Repaired
from tests.world.verified import differences

NAME = (ORG, SUBSCRIPTION)
SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600, late_window_s=86_400)
FINAL_MS = START_MS + WEEK_MS + DAY_MS
"""The first week is final."""


def live(
    weeks: int, *codes: str, settings: SettingsRecord = SETTINGS, presents: bool = False
) -> Live:
    """One event of each metric in each week; the last week is over, and due."""
    made = Live(definitions_of(codes, settings, presents=presents))
    made.define_all()
    for week in range(weeks):
        at_ms = START_MS + week * WEEK_MS + HOUR_MS
        made.close_until(at_ms - 1)
        for number, code in enumerate(codes):
            offset = week * len(codes) + number
            made.deliver([arrived(code, offset, at_ms, v="1", g="x", u="a")])
        made.flush()
    made.close_until(START_MS + weeks * WEEK_MS)
    made.flush()
    return made


def pass_until(of: Live, at_ms: int) -> None:
    """Let every cut up to a time be taken, as another subscription's would be."""
    of.close_until(at_ms)
    of.partition.checkpoint.cut_ms = at_ms


def layers(of: Live, code: str) -> int:
    """Of how many periods there are cells."""
    route = of.partition.packing.route_of((*NAME, code))
    return sum(bool(layer.cells) for span in route.spans for layer in span.layers.values())


CODES = ("count", "sum", "max", "latest", "average", "filtered", "unique", "visitors")
IN_ADVANCE = ("passes", "spent", "calls")


@pytest.mark.parametrize("code", [*CODES, *IN_ADVANCE])
def test_cells_of_a_period_go_when_it_is_final(code: str) -> None:
    one = live(1, code)
    pass_until(one, FINAL_MS - HOUR_MS)
    assert not one.forget(NAME)
    pass_until(one, FINAL_MS)
    assert one.forget(NAME)
    one.flush()
    assert (one.changelog.cells, one.partition.checkpoint.cells) == ({}, 0)
    assert (one.changelog.members, one.changelog.store) == ({}, {})
    assert one.partition.checkpoint.fold_version == FORGETTING_VERSION


def test_cells_of_a_final_period_go_while_a_later_one_is_due_and_not_final() -> None:
    one = live(2, "count")
    pass_until(one, START_MS + 2 * WEEK_MS)
    assert layers(one, "count") == 2
    assert one.forget(NAME)
    assert layers(one, "count") == 1


@pytest.mark.parametrize("code", [*CODES, *IN_ADVANCE])
def test_cells_of_who_rests_go_as_they_lie(code: str) -> None:
    one = live(2, code)
    found, packing = Forgetting(one.partition, Schedule(one.partition, ())), one.partition.packing
    packing.pack(NAME)
    found.note_ended(NAME)
    for weeks_left, at_ms in ((1, START_MS + 2 * WEEK_MS), (0, FINAL_MS + WEEK_MS)):
        pass_until(one, at_ms)
        while found.has_work:
            drained(found.forgetting(FROM_THE_START))
            one.empty_sets()
        assert not one.partition.routes.by_key
        one.flush()
        assert one.partition.checkpoint.cells == len(one.changelog.cells) == weeks_left
        assert packing.is_packed(NAME) == bool(weeks_left)
    assert one.partition.checkpoint.fold_version == FORGETTING_VERSION
    assert (one.changelog.members, one.changelog.store) == ({}, {})
    assert differences(one) == []


@pytest.mark.parametrize("code", ["count", "max", "fees", "guests"])
def test_single_events_go_with_their_cells(code: str) -> None:
    """Records list them, and nobody else reads them."""
    one = live(1, code, presents=True)
    (record,) = [body for body in one.bodies() if body["type"] == "usage.recorded"]
    assert record["per_event"] is not None
    pass_until(one, FINAL_MS)
    assert one.forget(NAME)
    one.flush()
    assert (one.changelog.cells, one.partition.checkpoint.cells) == ({}, 0)


def test_cells_that_something_else_is_read_of_stay() -> None:
    one = live(1, "heads", presents=True)
    pass_until(one, FINAL_MS)
    assert not one.forget(NAME)


@pytest.mark.parametrize("codes", [("count", "sum"), ("passes", "spent")])
def test_closed_periods_leave_no_cells_however_many_there_are(codes: tuple[str, ...]) -> None:
    kept = []
    for weeks in (2, 12, 60):
        one = live(weeks, *codes)
        pass_until(one, START_MS + weeks * WEEK_MS)
        one.forget(NAME)
        one.flush()
        kept.append((len(one.changelog.cells), one.partition.checkpoint.cells))
        assert len(past_usage(one.partition, NAME, START_MS + weeks * WEEK_MS)) == weeks
    assert kept == [(2, 2)] * 3


def test_each_period_that_a_history_record_revises_is_a_step() -> None:
    one = live(12, "sum")
    end_ms = START_MS + 12 * WEEK_MS
    (metric,) = one.definitions.metrics(ORG)
    record = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=START_MS, to_ms=end_ms)
    one.append(end_ms + 1, record)
    one.refold(refolds_of(entering_history(one.partition)))
    assert list(closing(one.partition, NAME, next_cut(one.partition, NAME))) == [None] * 11


def test_what_no_record_tells_stays() -> None:
    one = live(1, "sum")
    pass_until(one, FINAL_MS)
    (published,) = (p for p in one.partition.published.periods.values() if p.cells)
    ((name, cell),) = published.cells.items()
    published.cells[name] = replace(cell, digest=bytes(16))
    assert not one.forget(NAME)


@pytest.mark.parametrize("code", ["visitors", "unique", "passes", "guests"])
def test_operations_that_leave_nothing_active_hold_nothing_back(code: str) -> None:
    """Nothing was published of one week; the other was revised to nothing."""
    definitions, shown = definitions_of([code], SETTINGS), []
    for forgets in (False, True):
        one = Repaired(definitions, repairs=True)
        gone: dict[str, Any] = {"g": "x", "u": "a", "operation_type": "remove"}
        one.deliver([arrived(code, 0, START_MS + HOUR_MS, **gone)])
        one.deliver([arrived(code, 1, START_MS + WEEK_MS + HOUR_MS, g="x", u="a")])
        one.close_until(START_MS + 2 * WEEK_MS)
        late = arrived(code, 2, START_MS + WEEK_MS + 2 * HOUR_MS, **gone)
        one.deliver([replace(late, append_time_ms=START_MS + 2 * WEEK_MS + 1)])
        pass_until(one, FINAL_MS + WEEK_MS)
        assert layers(one, code) == 2
        assert differences(one) == []
        if forgets:
            assert one.forget(NAME)
            assert layers(one, code) == 0
        shown.append((one.values(), past_usage(one.partition, NAME, FINAL_MS + WEEK_MS)))
        assert differences(one) == []
        for week in range(2):
            (figures,) = explained(one, code, week)
            assert figures is not None
            assert figures.live == figures.recomputed
            assert figures.live.units == "0.0"
    assert shown[0][0] == shown[1][0]
    assert [usage.rows for usage in shown[0][1]] == [usage.rows for usage in shown[1][1]]


def test_an_ended_subscription_is_looked_at_when_its_last_period_is_final() -> None:
    one = live(1, "sum")
    at_ms = START_MS + WEEK_MS + 2 * HOUR_MS
    one.deliver([arrived("sum", 1, at_ms, v="4")])
    one.append(at_ms + 1, commands.terminate_subscription(ORG, SUBSCRIPTION))
    one.close_until(at_ms + HOUR_MS)
    schedule = Schedule(one.partition, ())
    found = Forgetting(one.partition, schedule)
    found.note_due([schedule.number_of(NAME)], one.partition.checkpoint.cut_ms)
    works = []
    for at_ms in (FINAL_MS, FINAL_MS + 3 * HOUR_MS):
        pass_until(one, at_ms)
        works.append(found.has_work)
        drained(found.forgetting(FROM_THE_START))
    assert works == [False, True]
    assert layers(one, "sum") == 0


def test_one_that_is_restored_before_is_looked_at_again() -> None:
    one = live(1, "sum")
    one.append(START_MS + WEEK_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
    one.close_until(START_MS + WEEK_MS + HOUR_MS)
    one.restart()
    found = Forgetting(one.partition, Schedule(one.partition, ()))
    found.note_ended(NAME)
    for at_ms, left in ((FINAL_MS - HOUR_MS, 1), (FINAL_MS, 0)):
        pass_until(one, at_ms)
        drained(found.forgetting(FROM_THE_START))
        assert layers(one, "sum") == left


def test_cuts_have_their_turn_between_some_and_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """All who rest since the same month become final at once; some are noted at several cuts."""
    monkeypatch.setattr("tables.closing.forgetting.NAMES_AT_ONCE", 2)
    one = Live(definitions_of(["sum"], SETTINGS))
    one.define_all()
    pass_until(one, FINAL_MS)
    schedule = Schedule(one.partition, ())
    found = Forgetting(one.partition, schedule)
    numbers = [schedule.number_of((ORG, f"sub-{number}")) for number in range(5)]
    found.note_due(numbers[:4], START_MS + WEEK_MS)
    found.note_due(numbers[2:], START_MS + WEEK_MS - HOUR_MS)
    goes_on = [drained(found.forgetting(FROM_THE_START)) for _ in range(3)]
    assert goes_on == [True, True, False]
    assert not found.has_work


def test_who_waits_to_be_final_takes_four_bytes_a_cut() -> None:
    """Everybody who is closed waits for as long as events may come late: weeks have six cuts."""
    partition = Live(definitions_of(["sum"], SETTINGS)).partition
    schedule, count = Schedule(partition, ()), 10_000
    found = Forgetting(partition, schedule)
    numbers = [schedule.number_of((ORG, f"sub-{number}")) for number in range(count)]
    tracemalloc.start()
    for week in range(6):
        found.note_due(numbers, START_MS + week * WEEK_MS)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 6 * count * 5


def test_what_deleted_events_would_bring_back_stays() -> None:
    one = live(1, "sum")
    pass_until(one, FINAL_MS)
    schedule = Schedule(one.partition, ())
    found = Forgetting(one.partition, schedule)
    found.note_due([schedule.number_of(NAME)], START_MS + WEEK_MS)
    drained(found.forgetting(LogsKept(raw_start=1)))
    assert layers(one, "sum") == 1


def visited_weeks(one: Live) -> set[int]:
    """The weeks of which the changelog has visitors, by their beginning in ms."""
    return {msgspec.msgpack.decode(key)[4] for key, _ in one.changelog.members}


def visited(count: int) -> Live:
    """Visitors of a week that is final, and one of the next."""
    one = Live(definitions_of(["visitors"], SETTINGS))
    one.define_all()
    for number in range(count):
        one.deliver([arrived("visitors", number, START_MS + HOUR_MS + number, u=f"u{number}")])
    one.close_until(START_MS + WEEK_MS)
    at_ms = START_MS + WEEK_MS + HOUR_MS
    one.deliver([arrived("visitors", count, at_ms, u="u0")])
    one.flush()
    pass_until(one, FINAL_MS)
    return one


def empty_some(one: Live) -> None:
    """Empty sets as far as the store tells them in one call."""
    members = one.partition.members
    drained(members.emptying(one.changelog.some_of(members.leaving)))


def test_members_that_the_store_lacks_yet_go_too() -> None:
    one = visited(200)
    one.changelog.store.clear()
    found = Forgetting(one.partition, Schedule(one.partition, ()))
    found.note_ended(NAME)
    while found.has_work:
        drained(found.forgetting(FROM_THE_START))
        empty_some(one)
    assert layers(one, "visitors") == 1
    one.flush()
    assert len(one.changelog.members) == 1
    assert differences(one) == []


@pytest.mark.parametrize("restarts", [False, True])
def test_members_go_before_their_cell_and_nobody_reads_what_is_left(*, restarts: bool) -> None:
    one = visited(9)
    one.restart()
    before = past_usage(one.partition, NAME, FINAL_MS)[0].rows
    found = Forgetting(one.partition, Schedule(one.partition, ()))
    found.note_ended(NAME)
    drained(found.forgetting(FROM_THE_START))
    left = []
    while one.partition.members.leaving:
        assert layers(one, "visitors") == 2
        assert past_usage(one.partition, NAME, FINAL_MS)[0].rows == before
        assert differences(one) == []
        empty_some(one)
        one.flush()
        left.append(len(one.changelog.members))
        if restarts and left[-1] > 1:
            one.restart()
            found = Forgetting(one.partition, Schedule(one.partition, ()))
            found.note_ended(NAME)
            drained(found.forgetting(FROM_THE_START))
    assert left[:2] == [8, 6]
    drained(found.forgetting(FROM_THE_START))
    one.flush()
    assert (layers(one, "visitors"), len(one.changelog.members)) == (1, 1)
    assert one.changelog.members == one.changelog.store


def test_an_event_of_a_visitor_who_is_forgotten_brings_the_others_back() -> None:
    one = visited(3)
    assert one.forget(NAME)
    one.restart()
    late = arrived("visitors", 7, FINAL_MS + 1, u="u1")
    event = replace(late.event, timestamp_ms=START_MS + 2 * HOUR_MS)
    one.deliver([replace(late, event=event, admitted=True)])
    one.close_until(FINAL_MS + HOUR_MS)
    (row,) = past_usage(one.partition, NAME, FINAL_MS + HOUR_MS)[0].rows
    assert (str(row.units), row.events_count, row.revision) == ("3.0", 3, 1)
    pass_until(one, FINAL_MS + HOUR_MS)
    assert one.forget(NAME)
    one.flush()
    assert layers(one, "visitors") == 1
    assert visited_weeks(one) == {START_MS + WEEK_MS}


def corrected(one: Live, at_ms: int) -> None:
    told = Correction(ORG, SUBSCRIPTION, "t0", "cancel", None, "c", b"")
    one.partition.corrected.correct(CorrectionArrival(told, ORG, at_ms, 0, 100, 0))


def test_nothing_goes_while_a_correction_waits_for_its_cut() -> None:
    one = live(1, "sum")
    pass_until(one, FINAL_MS)
    corrected(one, FINAL_MS + 1)
    found = Forgetting(one.partition, Schedule(one.partition, ()))
    found.note_ended(NAME)
    drained(found.forgetting(FROM_THE_START))
    assert layers(one, "sum") == 1
    assert not found.has_work


def test_a_flush_between_two_steps_leaves_cells_that_nobody_reads() -> None:
    """As when the worker is killed then: the rest goes the next time."""
    one = Live(definitions_of(["sum"], SETTINGS))
    one.define_all()
    for number in range(200):
        at_ms = START_MS + HOUR_MS + number
        one.deliver([arrived("sum", number, at_ms, v="1", g=f"g{number}")])
    one.close_until(START_MS + WEEK_MS)
    pass_until(one, FINAL_MS)
    before = past_usage(one.partition, NAME, FINAL_MS)[0].rows
    found = Forgetting(one.partition, Schedule(one.partition, ()))
    found.note_ended(NAME)
    next(found.forgetting(FROM_THE_START))
    one.restart()
    assert 0 < one.partition.checkpoint.cells < 200
    assert past_usage(one.partition, NAME, FINAL_MS)[0].rows == before
    assert differences(one) == []
    found = Forgetting(one.partition, Schedule(one.partition, ()))
    found.note_ended(NAME)
    drained(found.forgetting(FROM_THE_START))
    assert layers(one, "sum") == 0


def test_an_admitted_event_brings_the_others_back() -> None:
    one = live(1, "sum")
    pass_until(one, FINAL_MS)
    assert one.forget(NAME)
    one.restart()
    late = arrived("sum", 7, FINAL_MS + 1, v="5", g="x")
    event = replace(late.event, timestamp_ms=START_MS + 2 * HOUR_MS)
    one.deliver([replace(late, event=event, admitted=True)])
    one.close_until(FINAL_MS + HOUR_MS)
    (row,) = past_usage(one.partition, NAME, FINAL_MS + HOUR_MS)[0].rows
    assert (str(row.units), row.events_count, row.revision) == ("6.0", 2, 1)


@pytest.mark.parametrize("code", IN_ADVANCE)
def test_what_was_billed_at_once_is_corrected_as_where_nothing_is_forgotten(code: str) -> None:
    definitions, told = definitions_of([code], SETTINGS), []
    for forgets in (False, True):
        one = Repaired(definitions, repairs=True)
        for number, user in enumerate("aba"):
            at_ms = START_MS + HOUR_MS + number
            one.deliver([arrived(code, number, at_ms, v="2", g="x", u=user)])
        pass_until(one, FINAL_MS)
        if forgets:
            one.forget(NAME)
        left = layers(one, code)
        one.restart()
        amended = arrived(code, 1, START_MS + 2 * HOUR_MS, v="5", g="x", u="a").event
        amend = Correction(*NAME, "t1", "amend", amended, "c", b"")
        one.correct(CorrectionArrival(amend, ORG, FINAL_MS + 1, 0, 100, 0))
        one.close_until(FINAL_MS + HOUR_MS)
        told.append((one.values(), past_usage(one.partition, NAME, FINAL_MS + HOUR_MS)[0].rows))
        assert left == (0 if forgets else 1)
    assert told[0] == told[1]
    assert [body["type"] for body in one.instants()][-1] == "usage.instant_revised"


@pytest.mark.parametrize("code", IN_ADVANCE)
def test_an_event_that_would_be_refused_bills_nothing(code: str) -> None:
    """Of a week that is forgotten nobody knows which passes are counted already."""
    one = live(2, code)
    event = arrived(code, 7, START_MS + HOUR_MS, v="2", g="x", u="a")
    fees = []
    for at_ms in (FINAL_MS - 1, FINAL_MS, FINAL_MS + 1):
        pass_until(one, at_ms)
        late = replace(event, append_time_ms=at_ms)
        fees.append(len(drained(estimated(one.partition, NAME, late))))
    assert fees == [1, 1, 0]


def test_a_program_of_before_refuses_what_is_forgotten_since() -> None:
    """It takes cells for absent that it never forgot, or misses them, and figures that rest."""
    for of_before in (1_000, 500, 250, 125, 25, 5):
        assert FORGETTING_VERSION % of_before > FOLD_VERSION
    assert not any(
        Checkpoint(fold_version=forgetting + FOLD_VERSION).is_too_new
        for forgetting in (0, 1_000, 1_500, 1_750, 1_875, 1_900, 1_905)
    )
    assert not Checkpoint(fold_version=FORGETTING_VERSION).is_too_new
    assert Checkpoint(fold_version=1_905 + FOLD_VERSION + 1).is_too_new
    assert Checkpoint(fold_version=FORGETTING_VERSION + 1).is_too_new


def test_an_event_that_was_amended_before_it_came_brings_them_back() -> None:
    """Also where somebody has looked at its period just before, for usage-changed."""
    one = live(1, "sum", settings=replace(SETTINGS, usage_changed=True))
    event = arrived("sum", 1, START_MS + 2 * HOUR_MS, v="9", g="x").event
    amend = Correction(*NAME, event.transaction_id, "amend", event, "c", b"")
    one.partition.corrected.correct(CorrectionArrival(amend, ORG, START_MS + DAY_MS, 0, 1, 0))
    pass_until(one, FINAL_MS)
    assert one.forget(NAME)
    one.flush()
    one.deliver([arrived("sum", 2, FINAL_MS + DAY_MS, transaction_id=event.transaction_id, v="3")])
    one.close_until(FINAL_MS + 2 * DAY_MS)
    told = [body["units"] for body in one.bodies() if body["type"].startswith("usage.re")]
    assert told == ["1.0", "10.0"]


def explained(one: Live, code: str = "sum", week: int = 0) -> list[Figures | None]:
    """The figures of the cells of a week."""
    state = one.partition
    tracer = Tracer(state, (*NAME, code))
    for each in one.arrived():
        standing = verdict(state, each)
        if standing.counted is not None:
            tracer.trace(standing.counted, standing.corrected_ms)
    (shown,), (raw,) = state.views.route_of((*NAME, code)).spans, tracer.route.spans
    period = raw.timeline.until(START_MS + week * WEEK_MS)[week]
    turned: dict[str, list[Counted]] = {}
    of_period = ExplainedPeriod(state, raw.key.subscription_id, period, turned)
    return [of_period.figures(shown, raw, cell) for cell in of_period.cells(shown, raw)]


def test_verify_and_explain_hold_the_events_against_the_records() -> None:
    one = live(1, "sum")
    pass_until(one, FINAL_MS)
    assert one.forget(NAME)
    assert differences(one) == []
    (figures,) = explained(one)
    assert figures is not None
    assert figures.live == figures.recomputed
    (published,) = (p for p in one.partition.published.periods.values() if p.cells)
    ((name, cell),) = published.cells.items()
    published.cells[name] = replace(cell, units="3.0", digest=bytes(15) + b"1")
    (figures,) = explained(one)
    assert figures is not None
    assert (figures.live.units, figures.recomputed.units) == ("3.0", "1.0")
    assert differences(one)
    del published.cells[name]
    (figures,) = explained(one)
    assert figures is not None
    assert (figures.live.units, figures.recomputed.units) == ("0.0", "1.0")
    assert differences(one)
