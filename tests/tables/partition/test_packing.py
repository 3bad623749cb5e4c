"""The cells of one with very many of them are packed and unpacked by steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice, pairwise
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, batches, drained
from app.definitions import commands
from app.wire.arrivals import MeterKey
from tables.cells.cell import Span
from tables.changelogged.packed_rows import PackedCells, SomeRows
from tables.closing.close import closing, settling
from tables.closing.forgetting import Forgetting
from tables.closing.schedule import Schedule
from tables.partition.refold import Refold
from tables.partition.route_table import RouteTable
from tables.routing.route import Route
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
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

    def counted(packed: PackedCells, key: bytes) -> tuple[bytes, bytes]:
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


@pytest.mark.parametrize("count", [0, 1, 15, 16, 100, 0xFFFF, 0x10000])
def test_rows_are_put_together_as_if_at_once(count: int) -> None:
    rows = [str(number).encode() for number in range(count)]
    found = SomeRows()
    for some in batches(rows, 50):
        found.add([*some])
    assert found.piece(b"first") == b"first" + msgspec.msgpack.encode(rows)


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
