"""The compiled kernel and its twin in Python give the same, and what the rules say."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, cast

import msgspec
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.kernel import twin
from app.numbers import EXACT, ZERO
from app.wire.arrivals import Arrival
from app.wire.identity import digest_of, event_body_hash, event_id
from tables.aggregation import State
from tables.cells.cell import Cell
from tables.changelogged.presence import EventRanges
from tables.event_index.entries import Entry, pack_entries, unpack_entry
from tables.event_index.rows import ids_in
from tables.values import Reading, Value, number_of
from tests.app.kernel.runs import (
    ALWAYS,
    arrivals,
    bounds,
    keys,
    learn,
    loaded,
    names,
    plain,
    runs,
    times,
)
from tests.world.profiles import examples

Rows = tuple[bool | str, bytes]


def rows_of(
    kernel: Any, run: list[Arrival], limits: tuple[int, ...], names: tuple[str, str] = ("o", "s")
) -> Rows:
    """Return what it answers and appends."""
    packed = bytearray(b"before")
    hash_of = xxhash.xxh3_64_intdigest
    try:
        answer = kernel.index_rows(*names, run, *limits, hash_of, event_body_hash, packed)
    except ValueError as error:
        answer = str(error)
    return answer, bytes(packed)


@examples(300)
@given(run=runs, limits=bounds, names=st.tuples(names, names))
def test_both_give_the_same_rows(
    kernel: Any, run: list[Arrival], limits: tuple[int, ...], names: tuple[str, str]
) -> None:
    assert rows_of(kernel, run, limits, names) == rows_of(twin, run, limits, names)


long_names = st.integers(0, 70_000).map(lambda length: "ä" + "x" * length)


@examples(100)
@given(
    under=st.lists(st.one_of(names, long_names), max_size=9),
    before=st.binary(max_size=5),
    organization_id=names,
    transaction_id=names,
)
@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_ids_of_a_transaction_are_those_of_its_events(
    kernel: Any,
    which: str,
    under: list[str],
    before: bytes,
    organization_id: str,
    transaction_id: str,
) -> None:
    rows = [before + msgspec.msgpack.encode(name) + b"more" for name in under]
    others = [b"", before[:-1], b"\xc1" + before] if before else []
    rows = [row for each in rows for row in (each, *others)]
    one = kernel if which == "kernel" else twin
    ids = one.event_ids(rows, before, organization_id, transaction_id)
    expected = [event_id(organization_id, name, transaction_id) for name in under]
    assert ids == b"".join(expected)


@pytest.mark.parametrize("which", ["kernel", "twin"])
@pytest.mark.parametrize("length", [1, 40, 300, 70_000])
def test_a_row_that_has_no_whole_text_is_not_read(kernel: Any, which: str, length: int) -> None:
    one = kernel if which == "kernel" else twin
    row = msgspec.msgpack.encode("x" * length)
    for torn, start in ((b"", b""), (row[:-1], b""), (row[:1], b""), (row, row), (b"\x93", b"")):
        with pytest.raises(ValueError, match="a row has no text there"):
            one.event_ids([torn], start, "o", "t")


@examples(100)
@given(run=runs)
@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_rows_are_what_the_index_keeps(kernel: Any, which: str, run: list[Arrival]) -> None:
    answer, packed = rows_of(kernel if which == "kernel" else twin, run, ALWAYS)
    entries = [
        Entry(*each.position, each.rekeyed_offset, event_body_hash(each.event)) for each in run
    ]
    try:
        expected = pack_entries([each.identity for each in run], entries)
    except (ValueError, OverflowError):
        assert answer == "a field of an entry is out of its range"
        assert packed == b"before"
        return
    assert packed == b"before" + expected
    assert ids_in(expected) == [event_id("o", "s", each.event.transaction_id) for each in run]
    assert [unpack_entry(expected, i) for i in range(len(run))] == entries


Field = str | tuple[str, ...] | None
json_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Taken:
    """A cell of its own, and all that is folded into it."""

    def __init__(self, carried: bool = False) -> None:
        state = State(3, (1 << 128) - 5, *((Decimal(1), 2) if carried else ()))
        # Its layer and its place are nobody's business here.
        self.cell = Cell(cast(Any, None), None, (), state)
        self.applied: list[tuple[Any, ...]] = []
        self.dirty: list[Any] = []

    def reading(self, field: Field, numbers: dict[str, Any] | None, ordered: bool) -> Reading:
        """Return how events are read."""
        applies = self._apply if numbers is not None else None
        words = (ordered, ZERO, EXACT.add, applies, 0, EXACT.fma)
        value_of = computed_of if isinstance(field, tuple) else number_of
        return Reading(field, 8, numbers, value_of, *words)

    def _apply(self, state: State, *found: Any) -> None:
        assert state is self.cell.state
        self.applied.append(found)

    def told(self, answer: object) -> str:
        """Return all that has changed."""
        assert self.dirty == ([self.cell] if self.cell.dirty else [])
        return repr((answer, self.cell.state, self.cell.dirty, self.applied))


def computed_of(literals: str) -> Value | None:
    """Return the sum of numbers, with the literals as its digest text."""
    found = [number_of(str(each, "utf-8")) for each in json_list(f"[{literals}]")]
    numbers = [each.number for each in found if each is not None]
    return None if None in found else Value(sum(numbers, ZERO), "", True, literals)


READINGS: dict[str, tuple[Field, bool, bool]] = {
    "nothing": (None, False, False),
    "number": ("v", True, True),
    "sum": ("v", True, False),
    "operation": ("v", False, True),
    "computed of one": (("v",), True, False),
    "computed of two": (("v", "w"), True, True),
}
"""What is read of events: field, whether it is a number, and whether the order is told."""


def folded(
    kernel: Any, run: list[Arrival], limits: tuple[int, ...], way: str, carried: bool = False
) -> tuple[Any, str]:
    """Return what it answers for a run and what changes.

    `carried`: whether an event before them carried an amount.
    """
    field, numeric, ordered = READINGS[way]
    taken = Taken(carried)
    reading = taken.reading(field, {} if numeric else None, ordered)
    answer = kernel.take_run(taken.cell, "süb", "c", run, *limits, reading, taken.dirty)
    return answer, taken.told(answer)


@examples(400)
@given(run=runs, limits=bounds, carried=st.booleans())
@pytest.mark.parametrize("way", READINGS)
def test_what_the_kernel_folds_the_twin_folds(
    kernel: Any, way: str, run: list[Arrival], limits: tuple[int, ...], carried: bool
) -> None:
    (answer, ours), (_, expected) = (
        folded(each, run, limits, way, carried) for each in (kernel, twin)
    )
    # It may hand back more, and changes nothing then.
    unchanged = Taken(carried).told(False)
    assert ours == (unchanged if answer is False and way != "nothing" else expected)


@pytest.mark.parametrize("which", ["kernel", "twin"])
@pytest.mark.parametrize(
    ("literal", "text"),
    [("7", "7"), ("-1.50", "-1.50"), ("1e5", "1e5"), ("true", "true"), ('"東"', "東"), ('""', "")],
)
def test_members_are_told_as_they_are_spelled(
    kernel: Any, which: str, literal: str, text: str
) -> None:
    """Numbers and words count as well, also beside what has escapes."""
    one = kernel if which == "kernel" else twin
    event = plain(1).event
    properties = f'{{"w":"\\n","v":{literal},"operation_type":"remove"}}'.encode()
    run = [replace(plain(1), event=replace(event, properties=properties))]
    answer, _ = folded(one, run, ALWAYS, "operation")
    assert [each[:2] for each in answer] == [(text, False)]
    for none in (b"null", b"[1]", b"{}", b'"\\n"'):
        odd = properties.replace(literal.encode(), none)
        run = [replace(plain(1), event=replace(event, properties=odd))]
        assert folded(one, run, ALWAYS, "operation")[0] is False


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("size", [1, 7])
def test_plain_events_are_read_whole(
    compiled: Path, tmp_path: Path, learned: bool, size: int
) -> None:
    kernel: Any = loaded(Path(shutil.copy(compiled, tmp_path)))
    if learned:
        learn(kernel)
    run = [plain(number, v=str(number % 3)) for number in range(size)]
    for way in READINGS:
        assert folded(kernel, run, ALWAYS, way) == folded(twin, run, ALWAYS, way)
    taken = Taken()
    reading = taken.reading("v", None, True)
    found = kernel.take_run(taken.cell, "süb", "c", run, *ALWAYS, reading, taken.dirty)
    digests = (
        digest_of("süb", f"t{i}", 1_767_225_600_000 + i, "c", f"add:{i % 3}") for i in range(size)
    )
    # The three before it carried no amount.
    expected = State(3 + size, (sum(digests) - 5) % (1 << 128), ZERO, 3)
    assert (taken.cell.state, len(found)) == (expected, size)
    assert rows_of(kernel, run, ALWAYS) == rows_of(twin, run, ALWAYS)


@pytest.mark.parametrize("which", ["kernel", "twin"])
def test_bounds_are_kept_to_the_millisecond(kernel: Any, which: str) -> None:
    """The first append time is one of an index row, and none of a run that is read."""
    one = plain(1)
    time_ms, at_ms = one.timestamp_ms, one.append_time_ms
    for limits, has_row, is_read in (
        ((time_ms, time_ms + 1, at_ms - 1, at_ms), True, True),
        ((time_ms, time_ms + 1, at_ms, at_ms), True, False),
        ((time_ms + 1, time_ms + 2, at_ms - 1, at_ms), False, False),
        ((time_ms - 1, time_ms, at_ms - 1, at_ms), False, False),
        ((time_ms, time_ms + 1, at_ms - 1, at_ms - 1), False, False),
        ((time_ms, time_ms + 1, at_ms + 1, at_ms + 1), False, False),
    ):
        asked = kernel if which == "kernel" else twin
        assert rows_of(asked, [one], limits)[0] is has_row
        assert folded(asked, [one], limits, "nothing")[0] is is_read


def test_what_is_no_event_raises_and_appends_nothing(kernel: Any) -> None:
    packed = bytearray()
    words = (xxhash.xxh3_64_intdigest, event_body_hash, packed)
    for one in (None, plain(1).event, msgspec.structs.replace(plain(1), event=None)):
        for run in ([one], [plain(0), one]):
            with pytest.raises(AttributeError):
                kernel.index_rows("o", "s", run, *ALWAYS, *words)
            with pytest.raises(AttributeError):
                folded(kernel, run, ALWAYS, "nothing")  # type: ignore[arg-type]
    assert packed == bytearray()


class Routed:
    """A route as it is aimed, or is not."""

    def __init__(self, way: str, limits: tuple[int, ...], reach: tuple[int, ...], aimed: bool):
        field, numeric, ordered = READINGS[way]
        self.taken = Taken()
        self.bounds = twin.BOUNDS.pack(*limits, *reach) if aimed else b""
        self.cell = self.taken.cell
        self.reading = self.taken.reading(field, {} if numeric else None, ordered)
        self.set_key = {"operation": b"other", "sum": b"whole"}.get(way)
        self.event_ranges = EventRanges()


reaches = st.tuples(*[times] * 4) | st.just((1 << 62, 1 << 62, 0, 0))
routed = st.tuples(st.sampled_from(list(READINGS)), bounds, reaches, st.booleans())


def never(*_: object) -> None:
    """Stand for whoever names cells: here each route has one."""
    raise AssertionError("no route has several cells")


class Outcome(NamedTuple):
    """What is led where, and what becomes of it."""

    led: str
    ranges: list[EventRanges]
    """By route, how far the events reach of which no more has to be noted."""
    unread: list[int]
    folded: list[str]
    """By run that was led, what it changed."""


def led(kernel: Any, runs: list[list[Arrival]], aims: list[tuple[Any, ...]]) -> Outcome:
    """Lead runs by routes that are aimed so, and fold them."""
    every = [(("o", f"s{number}", "c"), run) for number, run in enumerate(runs)]
    routes = {key: Routed(*aim) for (key, _), aim in zip(every, aims, strict=False)}
    packed = bytearray(b"before")
    hashes = (xxhash.xxh3_64_intdigest, event_body_hash, packed)
    try:
        found = kernel.lead(every, routes, {b"whole"}, *hashes)
    except ValueError as error:
        return Outcome(str(error), [], [], [])
    place = {id(one): at for at, one in enumerate(routes.values())}
    events = {id(one): at for run in runs for at, one in enumerate(run)}

    def told_of(some: list[Any]) -> list[Any]:
        return [(key[1], [events[id(one)] for one in run]) for key, run in some]

    told = [
        [place[id(each)] for each in found[0]],
        told_of(found[1]),
        [place[id(route)] for route, _ in found[2]],
        told_of([run for _, run in found[2]]),
        *map(told_of, found[3:]),
        packed,
    ]
    dirty, operations = list[Any](), list[Any]()
    unread, odd = kernel.fold_led(found[0], found[1], dirty, operations, never, set())
    assert not odd
    by_route = {id(route): answer for route, _, _, answer in operations}
    assert [each for route in found[0] for each in dirty if each is route.cell] == dirty
    for route in found[0]:
        route.taken.dirty = [each for each in dirty if each is route.cell]
    return Outcome(
        repr(told),
        [route.event_ranges for route in routes.values()],
        unread,
        [route.taken.told(by_route.get(id(route))) for route in found[0]],
    )


@examples(400)
@given(several=st.lists(st.lists(arrivals(), max_size=3), max_size=4), data=st.data())
def test_what_the_kernel_leads_the_twin_leads(
    kernel: Any, several: list[list[Arrival]], data: st.DataObject
) -> None:
    aims = [data.draw(routed) for _ in several[1:]]
    ours, expected = (led(each, several, aims) for each in (kernel, twin))
    assert ours.led == expected.led
    assert ours.ranges == expected.ranges
    # The kernel may hand back more, and changes nothing then.
    assert set(expected.unread) <= set(ours.unread)
    for place, (one, other) in enumerate(zip(ours.folded, expected.folded, strict=True)):
        assert one == (Taken().told(None) if place in ours.unread else other)


@examples(400)
@given(run=runs, some=st.lists(keys, max_size=3, unique=True).map(tuple))
def test_events_are_parted_by_the_same_literals(
    kernel: Any, run: list[Arrival], some: tuple[str, ...]
) -> None:
    ours, expected = (each.by_literals(run, some) for each in (kernel, twin))
    found = {id(one): literals for literals, part in expected.items() for one in part}
    assert sorted(id(one) for part in ours.values() for one in part) == sorted(found)
    for literals, part in ours.items():
        # The kernel may take more for odd.
        assert literals is None or [found[id(one)] for one in part] == [literals] * len(part)


def test_a_name_that_comes_twice_is_odd(kernel: Any) -> None:
    one = plain(1)
    twice = replace(one, event=replace(one.event, properties=b'{"v":1,"v":2}'))
    absent = replace(one, event=replace(one.event, properties=b"{}"))
    assert kernel.by_literals([twice, one, absent], ("v",)) == {
        None: [twice],
        (b"1",): [one],
        (None,): [absent],
    }
    for each in (kernel, twin):
        with pytest.raises(ValueError, match="fewer properties"):
            each.by_literals([], ("v",) * (twin.MOST_NAMES + 1))
        assert each.by_literals([one], ("v",) * twin.MOST_NAMES) == {
            (b"1",) * twin.MOST_NAMES: [one]
        }


@pytest.mark.parametrize("early_ms", [0, 1])
def test_what_came_long_before_its_time_is_noted(kernel: Any, early_ms: int) -> None:
    event = plain(0)
    came_ms = event.timestamp_ms - twin.EARLY_MS - early_ms
    several = [[plain(1), replace(event, append_time_ms=came_ms)]]
    aims = [("sum", ALWAYS, (1 << 62, 1 << 62, 0, 0), True)]
    for each in (kernel, twin):
        noted = "], [('s0', [0, 1])], [], [], bytearray(" in led(each, several, aims).led
        assert noted == bool(early_ms)


@pytest.mark.parametrize("learned", [False, True])
def test_plain_runs_are_led_and_folded(compiled: Path, tmp_path: Path, learned: bool) -> None:
    kernel: Any = loaded(Path(shutil.copy(compiled, tmp_path)))
    if learned:
        learn(kernel)
    several = [[plain(n, v=str(n % 3)) for n in range(size)] for size in (1, 3, 2, 4)]
    aims = [(way, ALWAYS, (1 << 62, 1 << 62, 0, 0), True) for way in READINGS]
    ours = led(kernel, several, aims)
    assert ours == led(twin, several, aims)
    assert ours.led.startswith("[[0, 1, 2, 3], [('s0', [0]), ('s1', [0, 1, 2]), ")
    assert "], [], [], [('s3', [0, 1, 2, 3])], [], bytearray(" in ours.led
    assert (ours.unread, len(ours.folded)) == ([], 4)
