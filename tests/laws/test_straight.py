"""A law of the straight way: it folds as whoever looks at each event closely.

Most events of a route are new and fall into the cell that the last one fell into. They ask for no
span, layer or charge.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, count, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.wire.arrivals import Arrival, CorrectionArrival, Run, runs_of
from app.wire.events import Correction
from app.wire.refusals import RefusalCode
from tests.laws.test_partition import ALL, END_MS, GRACES
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    IN_ADVANCE,
    ORG,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.partition import Live
from tests.world.profiles import examples
from tests.world.repaired import Repaired

PLAIN = ("count", "max", "latest", "average", "level", "heads")
"""Codes whose charges have one cell a period."""

LATE = ("count", "max", "latest", "average", "visitors", "spent")
"""Codes whose late events count at the revisions of their own period alone."""

APART = ("sum", "unique", "filtered")
"""Codes whose charges have several, by groups or filters."""


class Close(Live):
    """A partition that looks at each event closely."""

    def fold_straight(self, runs: list[Run]) -> list[Run]:
        return runs

    def fold_first(self, runs: list[Run]) -> list[Run]:
        return runs


def play(live: Live, batch: list[Arrival], defined: int, *, closes: bool, restarts: bool) -> None:
    """Let definitions come, then a batch; then take the cuts before it, or restart."""
    live.define(defined)
    live.deliver(batch)
    if closes and batch:
        live.close_until(min(each.append_time_ms for each in batch) - 1)
    if restarts:
        live.restart()


def same(straight: Live, close: Live, *, traces: bool = True, notes: bool = True) -> None:
    """Whatever is kept, told or published is the same.

    `traces`: also what nobody reads any more, and what is only as wide as it need not be. `notes`:
    also what was not counted by what was defined then.
    """
    for live in (straight, close):
        live.define_all()
        live.close_until(END_MS)
    assert (straight.cells(), straight.values()) == (close.cells(), close.values())
    assert straight.accepted == close.accepted
    assert len(straight.duplicates) == len(close.duplicates)
    one, other = straight.partition, close.partition
    assert not notes or one.ignored == other.ignored
    for arrival in straight.arrived():
        assert one.index.find(arrival.identity) == other.index.find(arrival.identity)
    if not traces:
        return
    assert list(one.event_ranges.codes) == list(other.event_ranges.codes)
    for name, codes in one.event_ranges.codes.items():
        assert dict(codes) == dict(other.event_ranges.codes[name])
    assert one.index.length == other.index.length
    for live in (straight, close):
        live.flush()
    assert straight.changelog.tables == close.changelog.tables
    assert straight.changelog.members == close.changelog.members


def drawn_definitions(data: st.DataObject, codes: Sequence[str]) -> tuple[list[CommandAt], bool]:
    """Return definitions, and whether they change among the events."""
    settings = data.draw(GRACES)
    changing = data.draw(st.booleans())
    if changing:
        return data.draw(changing_definitions(codes)), True
    return definitions_of(codes, settings), False


def with_ids_once(batch: list[Arrival]) -> Iterator[list[Arrival]]:
    """Yield a batch in parts that have no id twice.

    A later copy that is folded before the first one of its batch leaves traces, in event ranges and
    in sets of members that nobody reads; it hangs on the way of each which is folded first.
    """
    while batch:
        firsts = {arrival.identity: arrival for arrival in reversed(batch)}
        part = [arrival for arrival in batch if firsts[arrival.identity] is arrival]
        yield part
        batch = [arrival for arrival in batch if firsts[arrival.identity] is not arrival]


@examples(150)
@given(st.data())
def test_straight_is_closely(data: st.DataObject) -> None:
    """Among definitions that change, restarts and cuts; ids come again in other batches."""
    definitions, changing = drawn_definitions(data, ALL)
    codes = data.draw(st.sampled_from([ALL, PLAIN, PLAIN[-1:], APART, IN_ADVANCE]))
    events = data.draw(arrivals(codes, ids=20, max_events=30))
    lives = Live(definitions), Close(definitions)
    batches = data.draw(slices(events, shuffle=data.draw(st.booleans())))
    once = data.draw(st.booleans())
    for batch in chain.from_iterable(map(with_ids_once, batches)) if once else batches:
        defined, closes, restarts = data.draw(
            st.tuples(st.integers(0, 4), st.booleans(), st.integers(0, 5))
        )
        for live in lives:
            play(live, batch, defined, closes=closes and not changing, restarts=restarts == 0)
    same(*lives, traces=once)


@st.composite
def late_arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Events of one or two codes in order of position, most of them late, some sent twice."""
    appended_ms, made = START_MS + DAY_MS, list[Arrival]()
    codes = sorted(draw(st.sets(st.sampled_from(LATE), min_size=1, max_size=2)))
    each = st.tuples(
        st.sampled_from(codes),
        st.sampled_from([0, 0, 0, 3, -4]),
        st.sampled_from(["1", "2.5", "-1", "3", "7"]),
        st.sampled_from("abc"),
        st.sampled_from(["add", "remove", "add"]),
    )
    sent = draw(st.lists(each, min_size=8, max_size=40))
    steps = st.sampled_from([1, 1, 60_000, 600_000, HOUR_MS, DAY_MS])
    for offset in range(draw(st.integers(2, 40))):
        appended_ms += draw(steps)
        if offset == 2:
            appended_ms += WEEK_MS
        number = draw(st.integers(0, len(sent) - 1))
        code, day, value, user, operation = sent[number]
        made.append(
            arrived(
                code,
                offset,
                START_MS + day * DAY_MS,
                appended_ms,
                transaction_id=f"t{number}",
                v=value,
                u=user,
                operation_type=operation,
            )
        )
    return made


@examples(200)
@given(st.data())
def test_late_events_go_straight_as_closely(data: st.DataObject) -> None:
    """Among revisions that are taken, definitions that change, restarts and events that go."""
    definitions, changing = drawn_definitions(data, LATE)
    lives, coming = (Live(definitions), Close(definitions)), data.draw(late_arrivals())
    known = data.draw(st.integers(5, 20)) if changing else len(definitions)
    for live in lives:
        live.define(known)
    while coming:
        size, defined, closes, restarts = data.draw(
            st.tuples(st.integers(1, 4), st.integers(0, 2), st.booleans(), st.integers(0, 12))
        )
        batch, coming = coming[:size], coming[size:]
        for live in lives:
            play(live, batch, defined, closes=closes and not changing, restarts=restarts == 0)
            if restarts < 6:
                live.flush()
        assert lives[0].changelog.cells == lives[1].changelog.cells
    same(*lives)


def late(code: str, number: int, appended_ms: int) -> Arrival:
    """Return an event of the first week."""
    name = f"{code}{number}"
    return arrived(code, number, START_MS, appended_ms, transaction_id=name, u="a", v="1")


def test_the_second_late_event_of_a_cut_goes_straight() -> None:
    live = Live(definitions_of(LATE))
    live.define_all()
    number, first_ms = count(), START_MS + WEEK_MS + DAY_MS

    def deliver(*appended_ms: int) -> int:
        before = live.straight
        for at_ms in appended_ms:
            live.deliver([late(code, next(number), at_ms) for code in LATE])
        return (live.straight - before) // len(LATE)

    assert deliver(first_ms + 60_000, first_ms + 60_000, first_ms + 120_000) == 2
    # Of another cut, of that one again, and of one before the event that found the other.
    assert deliver(first_ms + 2 * HOUR_MS, first_ms + 2 * HOUR_MS, first_ms + 60_000) == 1
    live.close_until(first_ms + DAY_MS)
    assert deliver(first_ms + 120_000, first_ms + DAY_MS + 1) == 0
    assert deliver(first_ms + DAY_MS + 2) == 1
    live.flush()
    live.restart()
    # No set of members is known to be whole, and no way is known.
    assert deliver(first_ms + DAY_MS + 3) == 0


def test_late_events_ask_the_newest_periods_whether_they_are_taken() -> None:
    """Also while a route is that of before, for nobody has looked at it since."""
    live = Live(definitions_of(["count"]))
    live.define_all()
    at_ms = START_MS + WEEK_MS + DAY_MS
    live.deliver([late("count", 0, at_ms + 1)])
    live.deliver([late("count", 1, at_ms + 2)])
    assert live.straight == 1
    ended = commands.terminate_subscription(ORG, SUBSCRIPTION).encode()
    told = apply(live.definitions, ended, at_ms + 3, live.definitions.offset)
    assert isinstance(told, Applied)
    assert told.impact is not None
    live.partition.redefinition.tell(told.impact)
    assert live.fold_straight(runs_of([late("count", 2, at_ms + 4)]))


def test_only_copies_of_known_events_are_not_looked_at() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()

    def sent(offset: int, number: int, value: str = "1") -> Arrival:
        name = f"t{number}"
        return arrived("count", offset, START_MS, START_MS + offset, transaction_id=name, v=value)

    live.deliver([sent(9, 0)])
    live.deliver([sent(10, 1), sent(20, 2)])
    assert live.straight == 2
    copy, other, earlier, same, again = (
        sent(30, 1),
        sent(31, 1, "2"),
        sent(15, 2),
        sent(10, 1),
        sent(40, 3),
    )
    batch = [copy, other, earlier, same, sent(39, 3), again]
    straight = live.partition.fold_straight(runs_of(batch))
    assert straight.accepted == 1
    found = [(each.arrival, each.replaced) for each in straight.copies.duplicates()]
    assert found == [(copy, False), (again, False), (earlier, True)]
    assert [run for _, run in straight.rest] == [[other, same]]
    closely = live.partition.fold_closely(straight.rest)
    looked_at = [(each.arrival, each.identical, each.replaced) for each in closely.duplicates]
    assert looked_at == [(other, None, False)]


def test_the_second_event_of_a_cell_goes_straight() -> None:
    live = Live(definitions_of(PLAIN))
    live.define_all()
    for code in PLAIN:
        for number in range(3):
            name, at_ms = f"{code}{number}", START_MS + number
            live.deliver([arrived(code, number, at_ms, transaction_id=name, u="a", v="1")])
    assert (live.accepted, live.straight) == (3 * len(PLAIN), 2 * len(PLAIN))


@pytest.mark.parametrize("code", APART)
def test_events_of_several_cells_go_straight_once_these_are_there(code: str) -> None:
    live = Live(definitions_of([code]))
    live.define_all()

    def deliver(*groups: str) -> int:
        before, first = live.straight, live.accepted
        live.deliver(
            [
                arrived(code, n, START_MS + n, transaction_id=f"t{n}", u="a", v="1", g=group)
                for n, group in enumerate(groups, first)
            ]
        )
        return live.straight - before

    assert deliver("x", "y") == 0
    assert deliver("y", "x", "y") == 3
    # A new group has its place found. To filters it is not new: it has the bucket that "y" has.
    cells = 2 if code == "filtered" else 3
    assert deliver("x", "z") == 2 * (3 - cells)
    assert deliver("z", "x", "z") == 3
    live.restart()
    assert deliver("x", "y") == 0
    assert len(live.cells()) == cells
    assert sum(cuts[0][1][0] for _, cuts in live.cells().values()) == live.accepted == 12


def test_a_filter_decides_beside_groups() -> None:
    """The groups of all events are those of one filter alone, or of what no filter claims."""
    definitions = definitions_of(["filtered"])
    (plan,) = [line.command for line in definitions if line.command.type == "create_plan"]
    (charge,) = plan.payload["plan"]["charges"]
    charge["properties"]["pricing_group_keys"] = ["u"]
    lives = Live(definitions), Close(definitions)
    for live in lives:
        live.define_all()
        for first in (0, 8):
            live.deliver(
                [
                    arrived(
                        "filtered", n, START_MS + n, v="1", g=group, u=user, operation_type=kind
                    )
                    for n, (group, user, kind) in enumerate(product("xy", "ab", "rs"), first)
                ]
            )
    assert lives[0].straight == 8
    same(*lives)


def test_an_event_without_a_value_takes_no_others_along() -> None:
    definitions = definitions_of(["sum"])
    lives = Live(definitions), Close(definitions)
    values = ["1", "2", "odd", None, "4", "5"]  # Of groups x, y, x, x, y and x.
    for live in lives:
        live.define_all()
        live.deliver([grouped("sum", n, group) for n, group in enumerate("xy")])
        live.deliver(
            [
                arrived("sum", n, START_MS + n, transaction_id=f"t{n}", v=value, g=group)
                for n, (value, group) in enumerate(zip(values, "xyxxyx", strict=True), 2)
            ]
        )
    # Those of its cell are looked at with it; of the other cell they go straight.
    assert lives[0].straight == 2
    assert lives[0].partition.ignored
    same(*lives)


def test_straight_asks_for_members_that_are_not_at_hand() -> None:
    """After a start no set is known to be whole."""
    live = Live(definitions_of(["unique"]))
    live.define_all()

    def used(n: int, user: str) -> Arrival:
        return arrived("unique", n, START_MS + n, transaction_id=f"t{n}", u=user, g="x")

    live.deliver([used(0, "a")])
    live.deliver([used(1, "b")])
    assert live.straight == 1
    live.flush()
    live.restart()
    live.deliver([used(2, "c")])
    runs = runs_of([used(3, "b")])
    assert live.fold_straight(runs) == runs


def test_straight_asks_for_no_members_of_a_set_that_a_refold_has_made() -> None:
    """It has folded whatever there is of it."""
    live = Live(definitions_of(["unique"]))
    live.define_all()
    live.deliver([arrived("unique", n, START_MS + n, u=f"user {n % 2}", g="x") for n in range(4)])
    live.refold([(ORG, SUBSCRIPTION, "unique")])
    straight = live.straight
    live.deliver([arrived("unique", 4, START_MS + 4, u="user 1", g="x")])
    live.deliver([arrived("unique", 5, START_MS + 5, u="one more", g="x")])
    assert live.straight == straight + 1


def grouped(code: str, n: int, letter: str) -> Arrival:
    """Return an event of a group."""
    return arrived(code, n, START_MS + n, transaction_id=f"t{n}", v="1", g=letter, u="a")


def test_a_group_that_is_too_long_takes_no_place() -> None:
    definitions = definitions_of(["sum"])
    lives = Live(definitions), Close(definitions)
    for live in lives:
        live.define_all()
        for n, group in enumerate(["x", "y" * 5_000, "y" * 5_000, "x"]):
            at_ms = START_MS + n
            live.deliver([arrived("sum", n, at_ms, transaction_id=f"t{n}", v="3", g=group)])
    assert lives[0].straight == 1
    same(*lives)


@pytest.mark.parametrize(
    ("at_ms", "transaction_id", "value", "aimed"),
    [
        pytest.param(START_MS, "a", "1", True, id="sent again"),
        pytest.param(START_MS + 8 * DAY_MS, "b", "1", False, id="of a later period"),
        pytest.param(START_MS - 1, "b", "1", True, id="of an earlier period"),
        pytest.param(START_MS, "b", None, True, id="without its property"),
        pytest.param(START_MS, "b", "odd", True, id="not a number"),
        pytest.param(START_MS + 5_000 * DAY_MS, "b", "1", True, id="of a time far ahead"),
    ],
)
def test_what_does_not_lead_straight_is_looked_at(
    at_ms: int, transaction_id: str, value: str | None, aimed: bool
) -> None:
    live = Live(definitions_of(["max"]))
    live.define_all()
    live.deliver([arrived("max", 0, START_MS, transaction_id="a", v="1")])
    appended_ms = max(START_MS, min(at_ms, START_MS + 9 * DAY_MS))
    live.deliver([arrived("max", 1, at_ms, appended_ms, transaction_id=transaction_id, v=value)])
    assert live.straight == 0
    live.deliver([arrived("max", 2, START_MS, transaction_id="c", v="1")])
    assert live.straight == aimed


def test_an_odd_event_takes_no_others_with_it() -> None:
    """One came before, and one is of an earlier period; the others of their run go straight."""
    definitions = definitions_of(["max"])
    lives = Live(definitions), Close(definitions)
    first = arrived("max", 0, START_MS, transaction_id="a", v="1")
    batch = [
        arrived("max", 1, START_MS + 1, transaction_id="b", v="2"),
        arrived("max", 2, START_MS, transaction_id="a", v="1"),
        arrived("max", 3, START_MS + 3, transaction_id="c", v="3"),
        arrived("max", 4, START_MS - 1, transaction_id="d", v="9"),
        arrived("max", 5, START_MS + 5, transaction_id="e", v="4"),
    ]
    for live in lives:
        live.define_all()
        live.deliver([first])
        live.deliver(batch)
    straight, close = lives
    assert straight.straight == 3
    ids = [each.identity for each in batch]
    assert straight.partition.index.find_many(ids) == close.partition.index.find_many(ids)
    same(straight, close)


@pytest.mark.parametrize(("late_ms", "straight"), [(0, True), (1, False)])
def test_what_is_late_is_looked_at(late_ms: int, straight: bool) -> None:
    """Appended when its period is due it counts as ever, and a moment later from a cut on."""
    live = Live(definitions_of(["max"]))
    live.define_all()
    live.deliver([arrived("max", 0, START_MS, transaction_id="a", v="1")])
    (timeline,) = live.partition.routes.by_key[ORG, SUBSCRIPTION, "max"].timelines
    period = timeline.holding(START_MS)
    assert period is not None
    appended_ms = period.due_at_ms + late_ms
    live.deliver([arrived("max", 1, START_MS, appended_ms, transaction_id="b", v="1")])
    assert live.straight == straight


def corrected(offset: int, transaction_id: str) -> CorrectionArrival:
    """Return a correction that cancels an event."""
    body = Correction(ORG, SUBSCRIPTION, transaction_id, "cancel", None, "c", b"{}")
    return CorrectionArrival(body, ORG, START_MS + offset, 0, offset, 0)


def counting() -> Repaired:
    """Return a partition with one event, whose next leads straight."""
    live = Repaired(definitions_of(["count"]), repairs=True)
    live.deliver([arrived("count", 0, START_MS, transaction_id="a")])
    return live


def test_nothing_leads_into_a_cell_that_went() -> None:
    live = counting()
    live.correct(corrected(1, "a"))
    assert live.outcomes["repaired"] == 1
    assert live.cells() == {}
    live.deliver([arrived("count", 2, START_MS, START_MS + 2, transaction_id="b")])
    (cell,) = live.cells().values()
    live.flush()
    assert len(live.changelog.cells) == 1
    live.restart()
    assert list(live.cells().values()) == [cell]


def test_what_was_corrected_before_it_came_is_looked_at() -> None:
    live = counting()
    live.correct(corrected(1, "b"))
    live.deliver([arrived("count", 2, START_MS, START_MS + 2, transaction_id="b")])
    assert live.straight == 0
    live.deliver([arrived("count", 3, START_MS, START_MS + 3, transaction_id="c")])
    ((_, cuts),) = live.cells().values()
    assert cuts[0][1][0] == 2


@pytest.mark.parametrize("before", [0, 1])
def test_a_time_that_no_calendar_has_is_refused(before: int) -> None:
    """Whether a period is known that events fall into, or has to be looked for."""
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([arrived("count", n, START_MS, transaction_id="a") for n in range(before)])
    ahead = [arrived("count", 5, year * 366 * DAY_MS, START_MS + 5) for year in (9_000, 40_000)]
    for far in ahead:
        told = live.partition.fold(runs_of([far]))
        assert [(each.arrival, each.code) for each in told.refused] == [
            (far, RefusalCode.TIMESTAMP_OUT_OF_RANGE)
        ]
