"""The cells of one with very many of them are packed and unpacked by steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, drained
from app.definitions import commands
from app.wire.arrivals import MeterKey
from tables.cells.cell import Span
from tables.cells.keys import CellKey
from tables.changelogged.packed_rows import PackedCells, SomeRows
from tables.closing.close import closing, let_go, next_cut, settling
from tables.closing.forgetting import Forgetting
from tables.closing.schedule import Schedule
from tables.partition.refold import Refold
from tables.partition.route_table import RouteTable
from tables.reading.usage import current_usage_steps
from tables.routing.route import Route
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    grouped_by_g,
)
from tests.world.events import arrived
from tests.world.partition import FROM_THE_START, Live
from tests.world.unpacked import Unpacked

NAME = (ORG, SUBSCRIPTION)
GROUPS = 4 * STEP_ITEMS


def many(code: str = "sum", defined: Sequence[CommandAt] = ()) -> Live:
    """One with very many groups, which are at hand."""
    live = Live(defined or definitions_of([code], replace(SETTINGS, max_groups=GROUPS)))
    live.define_all()
    first = [arrived(code, n, START_MS, START_MS, v="1", u="a", g=str(n)) for n in range(GROUPS)]
    live.deliver(first)
    live.flush()
    return live


def cells(live: Live) -> list[tuple[bytes, bytes, int]]:
    """All cells at hand, as the changelog has them."""
    spans = live.partition.routes.spans.values()
    layers = [layer for span in spans for layer in span.layers.values()]
    found = [cell for layer in layers for cell in layer.cells.values()]
    return [(cell.packed_key(), cell.packed(), cell.hash) for cell in found]


@pytest.mark.parametrize("code", ["sum", "unique", "passes"])
def test_nobody_sees_cells_before_all_are_unpacked(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, unpacked = many(code), Unpacked(monkeypatch)
    packing, before = live.partition.packing, cells(live)
    packing.pack(NAME)
    pieces, generation = packing.pieces(NAME), live.partition.checkpoint.generation
    steps = packing.unpacking(NAME)
    for _ in range(GROUPS // STEP_ITEMS + 1):
        next(steps)
    assert unpacked.cells
    assert packing.is_packed(NAME)
    assert not live.partition.routes.by_key
    assert unpacked.most_at_once(steps) == STEP_ITEMS
    assert not packing.is_packed(NAME)
    assert cells(live) == before
    assert unpacked.cells == GROUPS
    assert live.partition.checkpoint.generation == generation
    packing.pack(NAME)
    assert packing.pieces(NAME) == pieces


def test_many_codes_of_few_cells_each_are_unpacked_by_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    codes = ["sum", "count", "max", "unique", "latest", "balance", "level"]
    definitions = definitions_of(codes)
    grouped_by_g(definitions)
    live, unpacked = Live(definitions), Unpacked(monkeypatch)
    live.define_all()
    for group in range(STEP_ITEMS // 2):
        numbers = enumerate(codes, group * len(codes))
        live.deliver(
            [arrived(c, n, START_MS, START_MS, v="1", u="a", g=str(group)) for n, c in numbers]
        )
    live.flush()
    live.partition.packing.pack(NAME)
    assert unpacked.most_at_once(live.partition.packing.unpacking(NAME)) <= STEP_ITEMS
    assert unpacked.cells == len(codes) * STEP_ITEMS // 2
    assert not live.partition.packing.is_packed(NAME)


@pytest.mark.parametrize("between", ["an event", "a definition", "many definitions"])
def test_what_comes_between_two_steps_counts_once(between: str) -> None:
    defined = definitions_of(["sum"], replace(SETTINGS, max_groups=GROUPS))
    live, warm = many(defined=defined), many(defined=defined)
    packing, events = live.partition.packing, [arrived("sum", GROUPS, START_MS, v="1", g="0")]
    packing.pack(NAME)
    steps, times = packing.unpacking(NAME), 100 if between == "many definitions" else 1
    # Its route is made by then.
    assert len(list(islice(steps, GROUPS // STEP_ITEMS + 1))) == GROUPS // STEP_ITEMS + 1
    for number in range(times):
        if next(steps, steps) is steps:
            break
        if between == "an event":
            live.deliver(events)
            continue
        for one in (live, warm):
            settings = replace(SETTINGS, max_groups=GROUPS, grace_s=60 + number)
            one.append(START_MS + 1 + number, commands.set_settings(settings))
    drained(steps)
    assert packing.is_packed(NAME) == (between == "many definitions")
    if between != "an event":
        live.deliver(events)
    warm.deliver(events)
    for one in (live, warm):
        one.flush()
    assert cells(live) == cells(warm)
    (span,) = live.partition.routes.spans.values()
    assert [span.timeline] == [each for _, each in live.partition.timelines.of(NAME)]
    assert live.changelog.cells == warm.changelog.cells


def test_very_many_cells_are_packed_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    live, parted, keys = many(), PackedCells.parted, list[bytes]()

    def counted(packed: PackedCells, key: bytes) -> tuple[bytes, int, bytes]:
        keys.append(key)
        return parted(packed, key)

    monkeypatch.setattr(PackedCells, "parted", counted)
    monkeypatch.setattr("app.bounds.turns.SORTED_AT_ONCE", STEP_ITEMS)
    known = [len(keys) for _ in live.partition.packing.packing(NAME)]
    assert live.partition.packing.is_packed(NAME)
    assert max(after - before for before, after in pairwise([0, *known])) == STEP_ITEMS
    assert len(keys) == GROUPS
    # Once all are there the span is dropped, and they are freed, by steps as well.
    assert known.count(GROUPS) == 1 + GROUPS // STEP_ITEMS


def test_what_is_packed_by_steps_is_put_together_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of several charges: at once, 130,000 cells held the loop for 0.05 s."""
    codes = ("sum", "max")
    definitions = definitions_of(codes, replace(SETTINGS, max_groups=GROUPS))
    grouped_by_g(definitions)
    live = many("sum", definitions)
    other = [arrived("max", GROUPS + n, START_MS, v="1", g=str(n)) for n in range(GROUPS)]
    live.deliver(other)
    live.flush()
    drop, add, counts = Span.drop, SomeRows.add, Counter[str]()

    def dropping(span: Span) -> None:
        counts["dropped"] += sum(len(layer.cells) for layer in span.layers.values())
        drop(span)

    def adding(rows: SomeRows, more: list[bytes]) -> None:
        counts["added"] += len(more) // 2
        add(rows, more)

    monkeypatch.setattr(Span, "drop", dropping)
    monkeypatch.setattr(SomeRows, "add", adding)
    known = [Counter[str]()]
    known += [counts.copy() for _ in live.partition.packing.packing(NAME)]
    known.append(counts)
    steps = [after - before for before, after in pairwise(known)]
    assert {step["added"] for step in steps} == {0, STEP_ITEMS}
    assert {step["dropped"] for step in steps} == {0, GROUPS}
    assert counts == {"added": 2 * GROUPS, "dropped": 2 * GROUPS}
    pieces = live.partition.packing.pieces(NAME)
    live.partition.packing.unpack(NAME)
    assert len(cells(live)) == 2 * GROUPS
    packed = live.partition.packing.as_packed[NAME]
    assert packed == [(identity, piece) for identity, piece in pieces if piece is not None]


def closed(live: Live) -> Iterable[object]:
    cut_ms = START_MS + WEEK_MS
    live.define_until(cut_ms)
    return closing(live.partition, NAME, cut_ms)


def settled(live: Live) -> Iterable[object]:
    cut_ms = START_MS + WEEK_MS + HOUR_MS
    live.partition.cuts.expect(NAME, cut_ms)
    return settling(live.partition, cut_ms)


def forgotten(live: Live) -> Iterable[object]:
    live.close_until(START_MS + WEEK_MS)
    live.flush()
    live.partition.packing.pack(NAME)
    live.partition.checkpoint.cut_ms = START_MS + 8 * WEEK_MS
    forgetting = Forgetting(live.partition, Schedule(live.partition, ()))
    forgetting.note_ended(NAME)
    return forgetting.forgetting(FROM_THE_START)


def refolded(live: Live) -> Iterable[object]:
    job = Refold(live.partition, {(*NAME, "sum")})
    job.feed(live.read_for(job))
    return job.swapping()


@pytest.mark.parametrize("work", [closed, settled, forgotten, refolded])
def test_whoever_works_by_steps_has_cells_unpacked_by_steps(
    work: Callable[[Live], Iterable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = many()
    live.partition.packing.pack(NAME)
    steps, unpacked = work(live), Unpacked(monkeypatch)
    assert unpacked.most_at_once(steps) == STEP_ITEMS
    assert unpacked.cells == GROUPS


@pytest.mark.parametrize("looks", ["unpacked", "shown"])
def test_codes_that_no_metric_ever_had_cost_no_route(
    looks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer may send very many of them for a subscription that there is."""
    live = Live(definitions_of(["sum"]))
    live.define_all()
    live.deliver([arrived("sum", 0, START_MS, START_MS, v="1")])
    live.deliver([arrived(f"c{n}", n, START_MS, START_MS) for n in range(1, 3 * STEP_ITEMS)])
    live.flush()
    partition, packing = live.partition, live.partition.packing
    packing.pack(NAME)
    compiled, compiles = list[str](), RouteTable.compile

    def counting(self: RouteTable, meter_key: MeterKey, *under: Any) -> Route:
        compiled.append(meter_key[2])
        return compiles(self, meter_key, *under)

    monkeypatch.setattr(RouteTable, "compile", counting)
    steps = packing.unpacking_all(NAME) if looks == "unpacked" else partition.views.making(NAME)
    assert len(list(steps)) >= 3
    assert compiled == ["sum"]
    assert packing.is_packed(NAME) == (looks == "shown")


CODES = ["sum", "count", "max", "unique"]


def several(codes: Sequence[str] = CODES, defined: Sequence[CommandAt] = ()) -> Live:
    """One with a packed cell of each code."""
    live = Live(defined or definitions_of([*CODES, "balance"]))
    live.define_all()
    live.deliver([arrived(c, n, START_MS, START_MS, v="1", u="a") for n, c in enumerate(codes)])
    live.flush()
    live.partition.packing.pack(NAME)
    return live


def test_a_touch_unpacks_the_cells_of_its_own_code_alone() -> None:
    live, first = several(), len(CODES)
    packing = live.partition.packing
    packed = packing.read(NAME)
    for count, code in enumerate(CODES, 1):
        live.deliver([arrived(code, first + count, START_MS + 1, v="1", u="b")])
        assert len(cells(live)) == count
        assert packing.is_packed(NAME) == (count < len(CODES))
        assert not packing.is_all_packed(NAME)
        # Whoever looks at all sees those that are packed yet, and those that are not.
        usage = drained(current_usage_steps(live.partition, NAME, START_MS + 1))
        assert usage is not None
        assert sum(row.events_count for row in usage.rows) == first + count
        assert len(packing.read(NAME)) == first - count
    live.flush()
    packing.pack(NAME)
    assert packing.is_all_packed(NAME)
    assert {key for key, _ in packing.read(NAME)} == {key for key, _ in packed}
    assert dict(packing.read(NAME)) == live.changelog.cells


def test_who_is_packed_in_part_is_packed_as_before() -> None:
    live = several()
    packing = live.partition.packing
    whole, before = packing.pieces(NAME), live.changelog.cells.copy()
    for _ in range(2):
        packing.route_of((*NAME, "max"))
        # Nothing but what was unpacked is packed again.
        known = dict(packing.as_packed)
        packing.pack(NAME, packing.as_packed.pop(NAME))
        assert packing.pieces(NAME) == whole == [*known[NAME], *whole[1:]]
        packing.route_of((*NAME, "max"))
        packing.pack(NAME)
        assert sorted(packing.read(NAME)) == sorted(before.items())
        whole = packing.pieces(NAME)
    assert not live.partition.routes.by_key


def test_a_reader_who_looked_before_cells_were_packed_sees_them() -> None:
    live = several()
    packing, views = live.partition.packing, live.partition.views
    packing.unpack(NAME)
    # Of a code without events a route is made to look at it.
    assert [len(span.layers) for span in views.route_of((*NAME, "balance")).spans] == [0]
    packing.pack(NAME)
    packing.route_of((*NAME, "max"))
    (span,) = views.route_of((*NAME, "sum")).spans
    assert [len(layer.cells) for layer in span.layers.values()] == [1]


def test_a_cut_of_who_is_packed_in_part_shows_all() -> None:
    live = several()
    partition, cut_ms = live.partition, START_MS + WEEK_MS + HOUR_MS
    partition.packing.route_of((*NAME, "max"))
    # A reader has looked at the others.
    assert len(partition.packing.read(NAME)) == len(CODES) - 1
    live.define_until(cut_ms)
    records = [one for one in closing(partition, NAME, next_cut(partition, NAME)) if one]
    assert len(records) == len(CODES) + 1


def test_whoever_unpacks_the_rest_notes_none_of_whom_a_part_was_at_hand() -> None:
    """A cut would pack it again as it was, and what is at hand with it."""
    live = several()
    packing = live.partition.packing
    packing.route_of((*NAME, "max"))
    packing.as_packed.clear()
    packing.unpack(NAME)
    assert not packing.as_packed
    assert not packing.is_packed(NAME)


def test_a_cut_lets_none_go_of_whom_a_part_was_at_hand() -> None:
    live = several()
    partition, packing, late_ms = live.partition, live.partition.packing, START_MS + WEEK_MS
    live.close_until(late_ms + HOUR_MS)
    live.flush()
    packing.pack(NAME)
    route = packing.route_of((*NAME, "max"))
    live.deliver([arrived("sum", len(CODES), START_MS + 1, late_ms + HOUR_MS + 1, v="1")])
    live.flush()
    # A reader has looked at the others.
    assert len(packing.read(NAME)) == len(CODES) - 2
    packing.as_packed.clear()
    cut_ms = next_cut(partition, NAME)
    live.define_until(cut_ms)
    packing.route_of((*NAME, "count"))
    assert len([one for one in closing(partition, NAME, cut_ms) if one]) == 2
    assert let_go(partition, NAME, cut_ms, was_at_hand=True) is None
    packing.spare(NAME)
    assert partition.timelines.has(NAME)
    assert partition.routes.by_key[*NAME, "max"] is route
    assert len(live.cells()) == len(CODES)


def test_a_definition_finds_who_is_packed_in_part() -> None:
    defined = definitions_of(CODES)
    live, warm = several(CODES, defined), several(CODES, defined)
    warm.partition.packing.unpack(NAME)
    live.partition.packing.route_of((*NAME, "max"))
    for one in (live, warm):
        one.append(START_MS + DAY_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
        one.define_all()
        later = START_MS + 2 * DAY_MS
        one.deliver([arrived("max", len(CODES), later, v="5"), arrived("sum", 9, later, v="5")])
    assert live.cells() == warm.cells()


def test_a_revision_unpacks_what_it_shows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    live = several()
    packing, cut_ms = live.partition.packing, START_MS + WEEK_MS + HOUR_MS
    live.close_until(cut_ms)
    live.deliver([arrived("sum", len(CODES), START_MS + 1, cut_ms + 1, v="1")])
    live.flush()
    packing.pack(NAME)
    pieces, unpacked = packing.pieces(NAME), Unpacked(monkeypatch)
    packing.as_packed.clear()
    late_ms = next_cut(live.partition, NAME)
    live.define_until(late_ms)
    records = [one for one in closing(live.partition, NAME, late_ms) if one]
    assert (len(records), unpacked.cells) == (2, 1)
    let_go(live.partition, NAME, late_ms, was_at_hand=False)
    assert packing.has(NAME, pieces)
    assert not live.partition.routes.by_key


def test_what_stays_packed_while_others_are_packed_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live = several(CODES[:3])
    packing = live.partition.packing
    packing.route_of((*NAME, "sum"))
    monkeypatch.setattr("tables.partition.packing.STEP_ITEMS", 1)
    steps = packing.packing(NAME)
    next(steps)
    # One without events.
    packing.route_of((*NAME, "unique"))
    drained(steps)
    assert packing.is_all_packed(NAME)
    assert dict(packing.read(NAME)) == live.changelog.cells


def _is_of(live: Live, code: str, key: bytes) -> bool:
    spans = live.partition.routes.compile((*NAME, code)).spans
    return msgspec.msgpack.decode(key, type=CellKey).charge_id in {s.key.charge_id for s in spans}


@pytest.mark.parametrize("stray", ["of another span", "of a code without events", "of no charge"])
def test_cells_that_are_not_of_the_code_that_is_touched_are_counted_anew(stray: str) -> None:
    codes = ["sum"] if stray == "of no charge" else ["sum", "count"]
    live = several(codes)
    packing = live.partition.packing
    touched = "balance" if stray == "of a code without events" else "sum"
    (span,) = live.partition.routes.compile((*NAME, touched)).spans
    key, value = next(cell for cell in packing.read(NAME) if _is_of(live, "sum", cell[0]))
    name = msgspec.msgpack.decode(key, type=CellKey)._replace(charge_id=span.key.charge_id)
    if stray == "of another span":
        name = name._replace(span_start_ms=name.span_start_ms + 1)
    elif stray == "of no charge":
        name = name._replace(charge_id="none")
    packing._packed.add_cell(msgspec.msgpack.encode(name), value)
    packing._packed.pack()
    packing.route_of((*NAME, touched))
    assert not packing.is_packed(NAME)
    assert live.partition.stale.orphaned_keys == {(*NAME, code) for code in codes}


@pytest.mark.parametrize(
    ("groups", "codes", "is_many"), [(20, 4, False), (STEP_ITEMS + 1, 2, True), (300, 4, True)]
)
def test_a_touch_is_of_many_cells_if_a_charge_has_many(
    groups: int, codes: int, is_many: bool
) -> None:
    definitions = definitions_of(CODES, replace(SETTINGS, max_groups=1_000))
    grouped_by_g(definitions)
    live = Live(definitions)
    live.define_all()
    numbers = ((code, group) for group in range(groups) for code in CODES[:codes])
    live.deliver(
        [arrived(c, n, START_MS, v="1", u="a", g=str(g)) for n, (c, g) in enumerate(numbers)]
    )
    live.flush()
    packing = live.partition.packing
    packing.pack(NAME)
    assert packing.has_many(NAME)
    assert packing.has_many_to_touch(NAME) == is_many
    packing.route_of((*NAME, "sum"))
    assert len(cells(live)) == groups
