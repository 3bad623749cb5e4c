"""Cells as the changelog has them: the kernel writes what a cell says of itself."""

from __future__ import annotations

from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.model import FOLD_VERSION
from app.kernel import twin
from app.numbers import ZERO
from tables.aggregation import Aggregation
from tables.cells.cell import Cell, GroupCell, Layer, Span
from tables.cells.keys import SpanKey
from tables.entries import Entries, ListedEntry
from tables.registry import AGGREGATIONS
from tests.app.kernel.runs import learn
from tests.world.profiles import examples

SIZES = [0, 31, 32, 127, 128, 255, 256, 32_767, 32_768, 65_535, 65_536, (1 << 31) - 1, 1 << 31]
WIDE = [*SIZES, (1 << 32) - 1, 1 << 32, (1 << 63) - 1]
INTEGERS = st.sampled_from([*WIDE, *(-size for size in WIDE), -33, -129, -32_769, -(1 << 63)])
COUNTS = st.sampled_from([*WIDE, (1 << 63), (1 << 64) - 1])
LENGTHS = st.sampled_from([0, 1, 31, 32, 255, 256, 900, 1_001])
TEXTS = st.builds(lambda size, text: text * size, LENGTHS, st.sampled_from(["a", "é"]))
SPELLINGS = [
    *("0", "-0", "0.00", "-0.0", "0E+3", "0E-9", "1", "-1", "10", "100", "1.0", "1.50", "-2.500"),
    *("1E+5", "1.5E-20", "0.000001", "0.0000001", "9" * 200, "-" + "1" * 40 + ".10"),
]
DECIMALS = st.sampled_from([ZERO, *map(Decimal, SPELLINGS)])
DIGESTS = st.sampled_from([0, 1, 1 << 63, (1 << 64) - 1, 1 << 64, 1 << 127, (1 << 128) - 1])
GROUPS = st.lists(st.none() | TEXTS, max_size=17).map(tuple)


@st.composite
def states(draw: st.DrawFn, aggregation: Aggregation[Any]) -> Any:
    """Return a state with anything in its fields."""
    kind = aggregation.state_type
    fields: dict[str, Any] = {"events": draw(COUNTS), "digest": draw(DIGESTS)}
    for name in kind.__struct_fields__:
        if name == "precise" or (name == "value" and draw(st.booleans())):
            fields[name] = draw(st.none() | DECIMALS)
        elif name in aggregation.decimals:
            fields[name] = draw(DECIMALS)
        elif name == "position":
            fields[name] = draw(st.tuples(*[INTEGERS] * 4))
        elif name == "entries":
            fields[name] = [ListedEntry(1, (1, 2, 3, 4), draw(DECIMALS))]
        elif name not in fields and name != "bare":
            fields[name] = draw(INTEGERS)
    return kind(**fields, bare=draw(st.sampled_from([0, 0, 0, 1])))


@st.composite
def cells(draw: st.DrawFn) -> Cell:
    """Return a cell of any aggregation, of a group or none."""
    kinds: list[type[Aggregation[Any]]] = [*AGGREGATIONS.values(), Entries]
    aggregation = draw(st.sampled_from(kinds))()
    key = SpanKey(draw(TEXTS), draw(TEXTS), draw(INTEGERS))
    fold = cast(Any, SimpleNamespace(aggregation=aggregation))
    span = Span(("o", "s"), key, fold, cast(Any, None), 0)
    span.generation = draw(INTEGERS)
    layer = Layer(span, None, draw(INTEGERS), 0, cast(Any, None), 0, 0)
    bucket, groups, state = draw(st.none() | TEXTS), draw(GROUPS), draw(states(aggregation))
    cell = (GroupCell if groups else Cell)(layer, bucket, groups, state)
    if isinstance(cell, GroupCell):
        cell.first = draw(st.sampled_from([b"\xff" * 16, b"", b"a" * 256]))
    if draw(st.sampled_from([False, False, True])):
        cell.late = draw(st.just({}) | st.builds(lambda state: {7: state}, states(aggregation)))
    return cell


@examples(1_500)
@given(some=st.lists(cells(), max_size=3))
def test_both_write_the_same(kernel: Any, some: list[Cell]) -> None:
    learn(kernel)
    assert kernel.pack_cells(some, FOLD_VERSION, Decimal) == twin.pack_cells(
        some, FOLD_VERSION, Decimal
    )


@pytest.mark.parametrize("type_name", AGGREGATIONS)
def test_most_are_written_without_a_word_of_python(
    kernel: Any, type_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(kernel)
    aggregation = AGGREGATIONS[type_name]()
    fold = cast(Any, SimpleNamespace(aggregation=aggregation))
    span = Span(("o", "s"), SpanKey("s1", "c1", 0), fold, cast(Any, None), 0)
    layer = Layer(span, None, 0, 0, cast(Any, None), 0, 0)
    some = [Cell(layer, None, (), aggregation.initialize())]
    some.append(GroupCell(layer, "f", ("eu", None), aggregation.initialize()))
    written = twin.pack_cells(some, FOLD_VERSION, Decimal)
    for name in ("packed", "packed_key"):
        monkeypatch.delattr(Cell, name)
    assert kernel.pack_cells(some, FOLD_VERSION, Decimal) == written


def test_what_python_cannot_write_either_is_its_error(kernel: Any) -> None:
    learn(kernel)
    span = Span(("o", "s"), SpanKey("\ud800", "c1", 0), cast(Any, None), cast(Any, None), 0)
    layer = Layer(span, None, 0, 0, cast(Any, None), 0, 0)
    cell = Cell(layer, None, (), AGGREGATIONS["sum_agg"]().initialize())
    with pytest.raises(UnicodeEncodeError):
        kernel.pack_cells([cell], FOLD_VERSION, Decimal)
