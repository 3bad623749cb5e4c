"""Filling: packed cells to the spans that they belong to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from tables.aggregation import Aggregation
from tables.cells.cell import GroupCell, Layer, Span
from tables.cells.keys import CellKey, PackedCell, SpanKey
from tables.changelogged.checksum import record_hash
from tables.changelogged.packed_rows import Packed

OfSpans = dict[SpanKey, list[tuple[CellKey, Packed]]]
"""Packed cells by the span that they belong to."""

# Plain __new__: the generated one costs three times as much, for every span.
_new = tuple.__new__
decode_cell = msgspec.msgpack.Decoder(PackedCell).decode
decode_key = msgspec.msgpack.Decoder(CellKey).decode


def sorting(cells: Iterator[Packed]) -> Steps[OfSpans]:
    """Sort packed cells by the span that they belong to, by steps."""
    found = by_span(islice(cells, STEP_ITEMS))
    while some := list(islice(cells, STEP_ITEMS)):
        yield
        for key, of_span in by_span(some).items():
            found.setdefault(key, []).extend(of_span)
    return found


def by_span(cells: Iterable[Packed]) -> OfSpans:
    """Sort packed cells by the span that they belong to."""
    found: OfSpans = {}
    of_span: list[tuple[CellKey, Packed]] = []
    last: tuple[object, ...] = ()
    for cell in cells:
        key = decode_key(cell[0])
        of = key[:3]
        if of != last:
            # Those of one span mostly follow each other.
            last = of
            of_span = found.setdefault(_new(SpanKey, of), [])
        of_span.append((key, cell))
    return found


def fill(spans: Iterable[Span], cells: Iterable[Packed]) -> bool:
    """Give spans their packed cells; return False if some do not fit into any of them."""
    of_spans = by_span(cells)
    fits = [not unpack_into(span, of_spans.pop(span.key, ())) for span in spans]
    return all(fits) and not of_spans


def filling(
    span: Span, packed: Sequence[tuple[CellKey, Packed]]
) -> Steps[list[tuple[CellKey, Packed]]]:
    """Give a span its packed cells by steps; return those that do not fit into it."""
    if len(packed) <= STEP_ITEMS:
        return unpack_into(span, packed)
    left = unpack_into(span, packed[:STEP_ITEMS])
    for some in batches(packed[STEP_ITEMS:], STEP_ITEMS):
        yield
        left += unpack_into(span, some)
    return left


def unpack_into(
    span: Span, packed: Iterable[tuple[CellKey, Packed]]
) -> list[tuple[CellKey, Packed]]:
    """Give a span its packed cells; return those that do not fit into it."""
    left: list[tuple[CellKey, Packed]] = []
    layer: Layer | None = None
    for name, (key, value) in packed:
        if layer is None or layer.start_ms != name.layer_ms:
            layer = span.layer_starting(name.layer_ms)
        stored = decode_cell(value)
        states = None if layer is None else states_of(stored, span.fold.aggregation)
        if layer is None or states is None:
            left.append((name, (key, value)))
            continue
        # The first is that of cut 0.
        cell = layer.cell(name.filter_id, name.groups, states[0][1])
        cell.state, span.generation = states[0][1], stored.generation
        if isinstance(cell, GroupCell):
            cell.first = stored.first
        if len(states) > 1:
            cell.late = dict(states[1:])
        cell.hash = record_hash(key, value)
    return left


def states_of(stored: PackedCell, aggregation: Aggregation[Any]) -> list[tuple[int, Any]] | None:
    """Return states of a cell by cut; None when they are of another aggregation."""
    unpack = aggregation.unpack
    try:
        return [(cut_ms, unpack(packed)) for cut_ms, packed in stored.cuts]
    except (ValueError, TypeError, ArithmeticError):
        return None
