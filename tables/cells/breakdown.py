"""Breakdowns: the cells of a charge's second fold, as rows of the cells that they are part of.

A row tells which part of a cell came with which texts of the presentation keys. Nothing of it is
rounded, clamped or prorated.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.periods import Period
from tables.aggregation import Aggregation, Groups
from tables.breakdown_fold import BreakdownFold
from tables.cells.cell import Span, grouped_cells
from tables.cells.figures import window_of
from tables.cells.keys import OPEN_CUT_MS, append_time_of


class BreakdownRow(NamedTuple):
    """A part of a cell."""

    texts: Groups
    """In the order of the keys; None: missing, blank or no text."""
    units: Decimal


class Breakdowns(NamedTuple):
    """The rows of all cells of one charge and period."""

    rows: dict[tuple[str | None, Groups], list[BreakdownRow]]
    """By filter and group of the cell; sorted by the texts, null first."""
    keys: dict[str | None, tuple[str, ...]]
    """Keys of the texts, by filter."""


def breakdowns(
    span: Span,
    period: Period,
    cut_ms: int = OPEN_CUT_MS,
    wanted: Container[str] | None = None,
    cells: Container[tuple[str | None, Groups]] | None = None,
) -> Steps[Breakdowns | None]:
    """Return the rows of a period as of a cut, by steps; None: there are too many.

    `span`: of the second fold of a charge. `wanted`: by these of its keys only. Cells are merged
    for it, so a unique count has a text once for each of its rows by all keys. `cells`: of these
    cells of the charge only.
    """
    fold = span.fold
    if not isinstance(fold, BreakdownFold):
        raise TypeError("only a second fold has rows")
    if is_over(fold, span, period, cut_ms):
        return None
    aggregation: Aggregation[Any] = fold.aggregation
    window = window_of(period)
    keys = {
        filter_id: tuple(key for key in listed if wanted is None or key in wanted)
        for filter_id, listed in fold.presentation_keys.items()
    }
    if not keeps_any(fold.listed_keys, wanted):
        return Breakdowns({}, keys)
    parts: dict[tuple[str | None, Groups, Groups], tuple[Any, Any]] = {}
    for count, (filter_id, groups) in enumerate(span.cells_of(period), 1):
        if count % STEP_ITEMS == 0:
            yield
        if not fold.fits(filter_id, groups):
            continue
        group, texts = fold.split(filter_id, groups)
        if cells is not None and (filter_id, group) not in cells:
            continue
        left = texts
        if wanted is not None:
            listed = fold.presentation_keys[filter_id]
            left = tuple(t for key, t in zip(listed, texts, strict=True) if key in wanted)
        states = span.states(period, filter_id, groups, cut_ms)
        known = parts.setdefault((filter_id, group, left), states)
        if known is not states:
            for into, state in zip(known, states, strict=True):
                if into is not None:
                    aggregation.merge(into, state)
    found: dict[tuple[str | None, Groups], list[tuple[Any, BreakdownRow]]] = {}
    for count, ((filter_id, group, left), (state, before)) in enumerate(parts.items(), 1):
        if count % STEP_ITEMS == 0:
            yield
        units = aggregation.presented(state, before, window)
        if units or state.events:
            row = (aggregation.recency(state), BreakdownRow(left, units))
            found.setdefault((filter_id, group), []).append(row)
    return Breakdowns({name: ordered(of_cell) for name, of_cell in found.items()}, keys)


def keeps_any(listed: Iterable[str], wanted: Container[str] | None) -> bool:
    """Return whether a charge has rows: a listed key that groups its cells makes one of each."""
    return wanted is None or any(key in wanted for key in listed)


def ordered(rows: list[tuple[Any, BreakdownRow]]) -> list[BreakdownRow]:
    """Return rows by their texts; of a value that only the newest event decides just that row."""
    if rows[0][0] is not None:
        return [max(rows)[1]]
    return sorted((row for _, row in rows), key=_place)


def _place(row: BreakdownRow) -> list[tuple[bool, str]]:
    return [(text is not None, text or "") for text in row.texts]


def is_over(fold: BreakdownFold, span: Span, period: Period, cut_ms: int = OPEN_CUT_MS) -> bool:
    """Return whether events appended until a cut came with more pairs of group and texts than may.

    They are dated in the period, of a recurring metric also before it.
    """
    recurring = fold.metric.recurring
    layers = [
        layer
        for layer in span.layers.values()
        if layer.start_ms == period.start_ms or (recurring and layer.start_ms < period.start_ms)
    ]
    if all(len(layer.cells) < layer.max_groups for layer in layers):
        cells = sum(len(layer.cells) for layer in layers)
        if cells <= period.max_groups:
            return False
    pairs = set[Groups]()
    for layer in layers:
        known = {
            groups
            for groups, cell in grouped_cells([layer])
            if append_time_of(cell.first) <= cut_ms
        }
        # Of more than it may have a layer does not have all.
        if len(known) > layer.max_groups - fold.spare_groups:
            return True
        pairs |= known
    return len(pairs) > period.max_groups
