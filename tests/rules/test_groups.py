"""The limit of groups: who is admitted, what cancelling changes, what a restart still knows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import Arrival, CorrectionArrival, Position, runs_of
from app.wire.events import Correction
from tables.cells.group_limit import GroupLimit
from tables.cells.keys import UNKNOWN_POSITION, PackedCell, pack_position
from tables.closing.close import next_cut
from tables.partition.refold import Refold
from tables.reading.series import Series, SeriesWindow
from tables.reading.tracing import Tracer
from tables.reading.verification import Verification
from tests.world.begun import begun
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SHORT_SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    logged,
    metric_body,
    presented_by,
)
from tests.world.events import amend, arrived, cancel, event, raw
from tests.world.partition import Live
from tests.world.verified import rounds

LIMITED = SettingsRecord(close_grid_s=60, revise_every_s=3600, max_groups=2)
METER_KEY = (ORG, SUBSCRIPTION, "sum")
INSIDE_MS = START_MS + DAY_MS
LATE_MS = START_MS + 5 * WEEK_MS


def arrival(offset: int, group: str, partition: int = 0) -> Arrival:
    sent = event("sum", f"t{partition}-{offset}", INSIDE_MS, v="1", g=group)
    rekeyed = offset if partition else -1
    return Arrival(sent, ORG, INSIDE_MS + offset, partition, offset, 0, rekeyed)


def live_of(*arrivals: Arrival) -> Live:
    live = Live(definitions_of(["sum"], LIMITED))
    live.define_all()
    for one in arrivals:
        live.deliver([one])
    return live


def groups_of(live: Live) -> set[str | None]:
    (span,) = live.partition.packing.route_of(METER_KEY).spans
    return {groups[0] for layer in span.layers.values() for _, groups in layer.used()}


def test_a_smaller_position_that_comes_later_takes_the_place_of_the_greatest() -> None:
    live = live_of(arrival(4, "x"), arrival(5, "y"), arrival(6, "z"), arrival(3, "z", 1))
    assert groups_of(live) == {"x", "z"}
    (span,) = live.partition.packing.route_of(METER_KEY).spans
    (layer,) = span.layers.values()
    # Both events of the group count, the one that found no room included.
    assert layer.cells[None, ("z",)].state.events == 2


def test_groups_by_the_result_of_an_expression_are_admitted_by_it() -> None:
    """It stands in place of the property, which says the same of every event."""
    definitions = definitions_of(["sum"], LIMITED)
    metric = definitions[1].command.payload["billable_metric"]
    metric |= {"field_name": "g", "expression": "event.properties.v"}
    live = Live(definitions)
    live.define_all()
    for offset in (3, 2, 1, 0):
        live.deliver([arrived("sum", offset, INSIDE_MS, INSIDE_MS + offset, v=str(offset), g="x")])
    live.refold_all()
    assert groups_of(live) == {"0", "1"}
    assert verified(live) == []


def test_a_group_beyond_the_limit_is_ignored_with_a_reason() -> None:
    live = live_of(*(arrival(offset, group) for offset, group in enumerate("xyzzx")))
    assert groups_of(live) == {"x", "y"}
    assert live.partition.ignored == {"too_many_groups": 2}


def test_a_restart_knows_first_positions() -> None:
    """Else every event beyond the limit would have the charge refolded."""
    live = live_of(*(arrival(offset, group) for offset, group in enumerate("xy")))
    live.restart()
    live.partition.fold(runs_of([arrival(7, "z")]))
    assert not live.partition.stale.displaced_keys
    live.partition.fold(runs_of([arrival(0, "z", 1)]))
    assert live.partition.stale.displaced_keys == {METER_KEY}


def test_cells_of_an_older_changelog_have_no_first_position() -> None:
    """Any event of a group without room has them refolded, and then they have one."""
    cell = msgspec.msgpack.decode(msgspec.msgpack.encode((1, [], 0)), type=PackedCell)
    assert cell.first == UNKNOWN_POSITION
    group_limit = GroupLimit({("x",): cell.first})
    assert not group_limit.admits(("y",), pack_position((1, 0, 0, 0)), 1)
    assert group_limit.displaces(pack_position((INSIDE_MS, 9, 1 << 40, 9_999)))


@pytest.mark.parametrize(
    ("smaller", "greater"),
    [
        ((1, 9, 9, 9), (2, 0, 0, 0)),
        ((1, 1, 9, 9), (1, 2, 0, 0)),
        ((1, 1, 255, 9), (1, 1, 256, 0)),
        ((1, 1, 1, 9_998), (1, 1, 1, 9_999)),
    ],
    ids=["append time", "partition", "offset", "index"],
)
def test_packed_positions_order_as_positions_do(smaller: Position, greater: Position) -> None:
    assert pack_position(smaller) < pack_position(greater)


GROUPED = {"pricing_group_keys": ["g"]}


def used(transaction_id: str, group: str, at_ms: int, offset: int) -> Arrival:
    sent = event("balance", transaction_id, at_ms, v="1", g=group)
    return Arrival(sent, ORG, INSIDE_MS + offset, 0, offset, 0)


def regrouped_later(changed_ms: int) -> list[CommandAt]:
    """One group of a recurring metric; from a change of the plan on it has none."""
    made = definitions_of(["balance"], msgspec.structs.replace(LIMITED, max_groups=1))
    (charge,) = made[2].command.payload["plan"]["charges"]
    kept = {key: value for key, value in charge.items() if key != "new_id"}
    charge["properties"] = {**charge["properties"], **GROUPED}
    change = commands.update_plan(ORG, "plan", {"charges": [{**kept, "id": charge["new_id"]}]})
    return [*made, CommandAt(changed_ms, len(made), change)]


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize(
    ("groups", "shown"),
    [("zx", []), ("xz", ["x"])],
    ids=["the later week takes the place", "the earlier week takes it"],
)
def test_groups_of_a_week_do_not_hang_on_a_later_definition(
    groups: str, shown: list[str], ahead: bool, restarts: bool
) -> None:
    """The second week is grouped no more, which may be known before the first is published."""
    live = Live(regrouped_later(START_MS + WEEK_MS + DAY_MS))
    live.define_until(INSIDE_MS)
    if ahead:
        live.define_all()
    # "x" is of the first week, "z" of the second.
    for offset, group in enumerate(groups):
        at_ms = INSIDE_MS if group == "x" else INSIDE_MS + WEEK_MS
        live.deliver([used(f"t{group}", group, at_ms, offset)])
        if restarts:
            live.restart()
    live.close_until(START_MS + WEEK_MS + HOUR_MS)
    live.define_all()
    if restarts:
        live.refold_all()
    # A late event of the group without a place asks for a revision of whatever is there.
    late = used("late", groups[1], INSIDE_MS, 2)
    late = replace(late, append_time_ms=START_MS + WEEK_MS + 2 * DAY_MS)
    live.deliver([late])
    live.close_until(START_MS + WEEK_MS + 3 * DAY_MS)
    of_first = [b for b in live.bodies() if b["type"] != "period.completed"]
    assert [body["grouped_by"]["g"] for body in of_first] == shown
    verification = begun(Verification(live.partition, [METER_KEY[:2]]))
    verification.feed(live.arrived())
    (compared,) = filter(None, verification.compare())
    assert (compared.skipped, compared.differences) == (False, [])


Step = tuple[str, str, str | None]
"""(event or cancel or amend, transaction_id, group)"""


def body_of(step: Step) -> dict[str, Any]:
    kind, transaction_id, group = step
    sent = raw("sum", transaction_id, INSIDE_MS, v="1", g=group)
    if kind == "event":
        return sent
    correction_id = f"c-{transaction_id}"
    if kind == "cancel":
        return cancel(transaction_id, correction_id)
    return amend(sent, correction_id)


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        pytest.param(
            [("event", "a", "x"), ("event", "b", "y"), ("event", "c", "z")],
            {"x": 1, "y": 1},
            id="none",
        ),
        pytest.param(
            [
                ("event", "a", "x"),
                ("event", "b", "y"),
                ("event", "c", "z"),
                ("cancel", "a", None),
            ],
            {"y": 1},
            id="a cancelled event keeps its group's place",
        ),
        pytest.param(
            [
                ("cancel", "a", None),
                ("event", "a", "x"),
                ("event", "b", "y"),
                ("event", "c", "z"),
            ],
            {"y": 1},
            id="also when it was cancelled before it came",
        ),
        pytest.param(
            [
                ("event", "a", "x"),
                ("cancel", "a", None),
                ("event", "b", "y"),
                ("event", "c", "z"),
                ("event", "d", "x"),
            ],
            {"x": 1, "y": 1},
            id="for its later events",
        ),
        pytest.param(
            [
                ("event", "a", "x"),
                ("event", "b", "y"),
                ("event", "c", "z"),
                ("amend", "a", "w"),
            ],
            {"w": 1, "y": 1},
            id="an amended one takes its place along",
        ),
    ],
)
def test_corrected(steps: Sequence[Step], wanted: dict[str, int]) -> None:
    meter = OfflineMeter()
    meter.run(
        logged(definitions_of(["sum"], LIMITED)),
        [
            EventLine(INSIDE_MS + offset, 0, offset, msgspec.json.encode(body_of(step)))
            for offset, step in enumerate(steps)
        ],
        INSIDE_MS + DAY_MS,
    )
    assert not meter.refused
    usage = meter.usage((ORG, SUBSCRIPTION), INSIDE_MS + DAY_MS)
    assert usage is not None
    assert {row.grouped_by[0][1]: row.events_count for row in usage.rows} == wanted


def test_a_cancelled_groups_place_is_known_beside_a_group_with_cells_in_many_periods() -> None:
    """As many cells as the limit of groups, so the refold looks before it gives that place."""
    definitions = definitions_of(["balance"], LIMITED)
    (charge,) = definitions[2].command.payload["plan"]["charges"]
    charge["properties"] = {**charge["properties"], **GROUPED}
    live = Live(definitions)
    live.define_all()
    name, weeks = (ORG, SUBSCRIPTION), (-1, 0, 1)
    sent = [used("w", "w", INSIDE_MS, 0)]
    sent += [used(f"x{n}", "x", INSIDE_MS + n * WEEK_MS, n + 2) for n in weeks]
    live.deliver(sent)
    cancelled = Correction(*name, "w", "cancel", None, "c", b"")
    live.partition.corrected.correct(CorrectionArrival(cancelled, ORG, INSIDE_MS + 4, 0, 4, 0))
    refold = Refold(live.partition, [(*name, "balance")], {name: NEVER_MS})
    refold.feed(live.arrived())
    assert refold.swap()
    live.deliver([used("y", "y", INSIDE_MS, 5)])
    (span,) = live.partition.packing.route_of((*name, "balance")).spans
    cells = {groups[0] for layer in span.layers.values() for _, groups in layer.cells}
    assert cells == {"w", "x"}


@pytest.mark.parametrize("later", [False, True], ids=["alone", "with a later event"])
def test_a_restart_knows_the_cut_that_shows_the_rows_of_a_cancelled_late_event(
    later: bool,
) -> None:
    definitions = definitions_of(["sum"], replace(LIMITED, max_groups=1))
    (charge,) = definitions[2].command.payload["plan"]["charges"]
    charge["properties"] = {"amount": "1", **presented_by("g")}
    live = Live(definitions)
    live.define_all()
    live.deliver([arrival(0, "x")])
    live.close_until(LATE_MS)
    # Its own revision is taken by the time the event comes.
    cancelled = Correction(ORG, SUBSCRIPTION, "t0-1", "cancel", None, "c", b"")
    live.partition.corrected.correct(CorrectionArrival(cancelled, ORG, LATE_MS, 0, 1, 0))
    late_ms = LATE_MS + 2 * HOUR_MS + 1
    live.close_until(late_ms)
    live.deliver([replace(arrival(1, "y"), append_time_ms=late_ms, raw_offset=2)])
    if later:
        next_ms = late_ms + 2 * HOUR_MS
        live.deliver([replace(arrival(2, "y"), append_time_ms=next_ms, raw_offset=3)])
        live.refold_all()
    live.restart()
    live.close_until(late_ms + HOUR_MS)
    recorded = [body for body in live.bodies() if body["type"].startswith("usage.re")]
    assert [body["presentation_breakdowns"] is None for body in recorded] == [False, True]


def verified(live: Live) -> list[Any]:
    first = begun(Verification(live.partition, [METER_KEY[:2]]))
    (*again, compared) = [
        one for job in rounds(first, live.arrived()) for one in filter(None, job.compare())
    ]
    assert all(one.again and not one.differences for one in again)
    assert (compared.skipped, compared.again) == (False, False)
    return compared.differences


def test_a_closed_period_keeps_what_it_showed_of_a_group_that_a_later_one_displaced() -> None:
    """A correction of the later period took its place; the balance is without it from there."""
    definitions = definitions_of(["balance", "sum"], replace(SHORT_SETTINGS, max_groups=1))
    for charge in definitions[3].command.payload["plan"]["charges"]:
        charge["properties"] = {**charge["properties"], **GROUPED}
    live = Live(definitions)
    live.define_all()
    end_ms = START_MS + WEEK_MS
    early = event("sum", "a", end_ms + HOUR_MS, v="1", g="x")
    live.deliver([Arrival(early, ORG, end_ms - 3 * HOUR_MS, 0, 0, 0)])
    taken_ms = end_ms - 2 * HOUR_MS
    live.deliver([replace(used("b", "y", taken_ms, 1), append_time_ms=taken_ms)])
    live.close_until(end_ms + WEEK_MS + DAY_MS)
    amended = Correction(ORG, SUBSCRIPTION, "a", "amend", replace(early, code="balance"), "c", b"")
    at_ms = end_ms + WEEK_MS + 2 * DAY_MS
    assert live.partition.corrected.correct(CorrectionArrival(amended, ORG, at_ms, 0, 2, 0))
    keys = [(ORG, SUBSCRIPTION, code) for code in ("balance", "sum")]
    refold = Refold(live.partition, keys, {METER_KEY[:2]: next_cut(live.partition, METER_KEY[:2])})
    refold.feed(live.arrived())
    assert refold.swap()
    live.close_until(end_ms + 3 * WEEK_MS)
    balance = [
        (body["period"]["from"][8:10], body["grouped_by"]["g"], body["units"])
        for body in live.bodies()
        if body["type"].startswith("usage") and body["billable_metric"]["code"] == "balance"
    ]
    # Cells of one cut come in the order of their ids.
    assert balance[:2] == [("01", "y", "1.0"), ("08", "y", "1.0")]
    assert sorted(balance[2:]) == [("08", "x", "1.0"), ("08", "y", "0.0"), ("15", "x", "1.0")]
    verification = begun(Verification(live.partition, [METER_KEY[:2]]))
    verification.feed(list(live.arrived()))
    assert not [one.differences for one in filter(None, verification.compare()) if one.differences]
    assert not list(chain.from_iterable(filter(None, verification.compare_published())))


def test_verification_admits_the_same_groups_in_any_order() -> None:
    live = live_of(arrival(4, "x"), arrival(5, "y"), arrival(6, "z"), arrival(3, "w", 1))
    assert groups_of(live) == {"w", "x"}
    assert verified(live) == []


def test_verification_finds_a_group_that_does_not_belong() -> None:
    live = live_of(arrival(4, "x"), arrival(5, "y"))
    live.keep(arrival(3, "z", 1))
    live.partition.fold(runs_of([arrival(3, "z", 1)]))
    live.partition.stale.displaced_keys.clear()
    # One has the place of the other.
    told = {one.groups: (bool(one.live), bool(one.refolded)) for one in verified(live)}
    assert told == {("y",): (True, False), ("z",): (False, True)}


def test_tracing_says_who_found_no_room() -> None:
    live = live_of(arrival(4, "x"), arrival(5, "y"), arrival(3, "w", 1))
    tracer = Tracer(live.partition, METER_KEY)
    reasons = [
        tracer.trace(one)[0].reason for one in (arrival(5, "y"), arrival(4, "x"), arrival(3, "w"))
    ]
    assert reasons == ["too_many_groups", None, None]


def test_a_series_shows_the_groups_of_the_period() -> None:
    live = live_of(arrival(4, "x"), arrival(5, "y"), arrival(3, "w", 1))
    series = Series(live.partition, METER_KEY, [SeriesWindow(START_MS, START_MS + WEEK_MS)], "UTC")
    for one in live.arrived():
        series.feed(one)
    ((value,),) = [charge.values for charge in drained(series.values())]
    assert value.events_count == 2


def test_rows_are_too_many_from_the_first_event_of_each_on_in_any_order() -> None:
    """A later event of a row comes before its first one: the cut between them knows of it."""
    due_ms = START_MS + WEEK_MS
    settings = replace(LIMITED, max_groups=1)

    def sent(at_ms: int, offset: int, text: str, partition: int = 0) -> Arrival:
        what = event("heads", f"{partition}-{offset}", INSIDE_MS, u="a", g=text)
        return Arrival(what, ORG, at_ms, partition, offset, 0, offset if partition else -1)

    shown = []
    first, early = sent(INSIDE_MS, 0, "x"), sent(due_ms, 0, "y", 1)
    late = sent(due_ms + 1, 1, "y")
    for arrivals in ([first, early, late], [first, late, early]):
        live = Live(definitions_of(["heads"], settings, presents=True))
        live.define_all()
        for one in arrivals:
            live.deliver([one])
        live.close_until(due_ms)
        (record, _) = live.bodies()
        shown.append(record["presentation_breakdowns"])
    assert shown == [None, None]


def test_a_row_that_comes_after_a_cut_makes_none_too_many_at_it() -> None:
    """It is folded before the cut is taken."""
    due_ms = START_MS + WEEK_MS
    live = Live(definitions_of(["heads"], replace(LIMITED, max_groups=1), presents=True))
    live.define_all()
    for at_ms, text in ((INSIDE_MS, "x"), (due_ms + 1, "y")):
        what = event("heads", text, INSIDE_MS, u="a", g=text)
        live.deliver([Arrival(what, ORG, at_ms, 0, at_ms, 0)])
    live.close_until(due_ms)
    (record, _) = live.bodies()
    rows = record["presentation_breakdowns"]
    assert rows is not None
    assert [row["presentation_by"] for row in rows] == [{"g": "x"}]


@pytest.mark.parametrize("moved_on", [False, True], ids=["", "a definition came before the cut"])
def test_an_event_beyond_the_limit_bills_nothing_at_once(moved_on: bool) -> None:
    """The group of an earlier event has the place, though it came later to its partition."""
    live = Live(definitions_of(["passes"], replace(LIMITED, max_groups=1)))
    live.define_all()
    for number, group in ((5, "y"), (4, "z")):
        at_ms = INSIDE_MS + number
        live.deliver([arrived("passes", number, at_ms, u=group, g=group, operation_type="add")])
    if moved_on:
        body = metric_body("passes", name="renamed")
        live.append(INSIDE_MS + HOUR_MS, commands.update_billable_metric(ORG, "passes", body))
    live.close_until(INSIDE_MS + HOUR_MS - 1)
    told = [msgspec.json.decode(r.value) for r in live.records]
    billed = [each for each in told if each["type"] == "usage.instant"]
    assert [each["grouped_by"] for each in billed] == [{"g": "z"}]
