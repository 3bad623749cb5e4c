"""Forgotten cells: those of periods that were final, of which the records tell all.

No cell of such a period is read or published. What changes it brings all of them back, by a refold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.definitions.timeline import Period
from tables.cells.cell import Cell, Layer, Span
from tables.cells.keys import CellKey, SpanKey


def has_forgotten(span: Span, period: Period) -> bool:
    """Return whether the cells of a period are forgotten; a few of them may still be there."""
    return period.final_ms <= span.forgotten_ms and span.fold.forgets


def is_forgotten(layer: Layer) -> bool:
    """Return whether the cells of a layer are forgotten."""
    span, period = layer.span, layer.period
    return span.forgotten_ms >= 0 and period is not None and has_forgotten(span, period)


def forgotten_by(spans: Iterable[Span], cells: Mapping[CellKey, Cell]) -> list[CellKey]:
    """Return which of some cells, theirs or of others made in their place, spans have forgotten."""
    forgetful = {span.key: span for span in spans if span.forgotten_ms >= 0}
    return [
        key
        for key, cell in cells.items()
        if (span := forgetful.get(SpanKey(*key[:3]))) is not None
        and cell.layer.period is not None
        and has_forgotten(span, cell.layer.period)
    ]


def has_forgotten_since(span: Span, from_ms: int) -> bool:
    """Return whether any cells of a span are forgotten, of the period of an instant or a later."""
    if span.forgotten_ms < 0 or not span.fold.forgets:
        return False
    first = span.timeline.holding(from_ms)
    if first is not None and has_forgotten(span, first):
        return True
    for period in span.timeline.after(from_ms):
        if period.start_ms >= min(span.forgotten_ms, span.end_ms):
            break
        if has_forgotten(span, period):
            return True
    return False
