"""Rows by presentation keys of cells that are regrouped, or of all periods since the start.

They are merged from the cells of a charge's second fold, as long as no property of a unique count
is in two of them. Else the events have to be folded anew, as `tables.reading.regrouping` does.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any, NamedTuple

from app.bounds.turns import Steps
from app.definitions.model import Charge, ChargeFilter, listed_presentation_keys
from app.definitions.periods import Period
from app.meter.usage import Regrouping
from tables.aggregation import Groups
from tables.breakdown_fold import BreakdownFold
from tables.cells.breakdown import BreakdownRow, Breakdowns, is_over, keeps_any, ordered
from tables.cells.cell import Span
from tables.cells.figures import window_of
from tables.cells.forgotten import has_forgotten_since
from tables.cells.full_usage import (
    CellName,
    adds_up,
    names_since_steps,
    paced,
    states_since,
)


class MergedRows(NamedTuple):
    """What the cells of a second fold tell of a charge that is regrouped."""

    tells: bool
    """Whether they do; else the events are read."""
    found: Breakdowns | None = None
    """None: there are too many."""


class _Part(NamedTuple):
    """The part of a new cell that came with the same texts."""

    filter_id: str | None
    groups: Groups
    texts: Groups


def merged_rows(
    span: Span,
    charge: Charge,
    regrouped: Charge,
    wanted: Regrouping,
    period: Period,
    from_ms: int,
) -> Steps[MergedRows]:
    """Return the rows of new cells from an instant to the end of a period, by steps.

    `span`: of the second fold of the charge as it is. `regrouped`: the charge as it is shown.
    """
    fold = span.fold
    if not isinstance(fold, BreakdownFold):
        raise TypeError("only a second fold has rows")
    if span.key.start_ms > from_ms or has_forgotten_since(span, from_ms):
        # What lies before all periods does not tell rows of no units from none at all.
        return MergedRows(tells=False)
    if is_over(fold, span, period) or _was_over(span, period, from_ms):
        return MergedRows(tells=True)
    names = yield from names_since_steps(span, period, from_ms)
    parts: dict[_Part, list[CellName]] = {}
    part_of = _parts(fold, charge, regrouped, wanted)
    for name in paced(span, names):
        if name is None:
            yield
        elif (part := part_of(name)) is not None:
            parts.setdefault(part, []).append(name)
    if len(parts) > period.max_groups:
        return MergedRows(tells=True)
    for each in paced(span, parts):
        if each is None:
            yield
        elif not adds_up(span, period, from_ms, parts[each]):
            return MergedRows(tells=False)
    found = yield from _rows(span, parts, regrouped, wanted.presented_by, period, from_ms)
    return MergedRows(tells=True, found=found)


def _parts(
    fold: BreakdownFold, charge: Charge, regrouped: Charge, wanted: Regrouping
) -> Callable[[CellName], _Part | None]:
    """Return what tells which part a cell is one of; None: it is not shown."""
    filters, shown_as = _by_id(charge), _by_id(regrouped)

    def part_of(name: CellName) -> _Part | None:
        filter_id, of_both = name
        if not fold.fits(filter_id, of_both):
            return None
        bucket, now = filters[filter_id], shown_as.get(filter_id)
        groups, texts = fold.split(filter_id, of_both)
        grouping = dict(zip(charge.group_keys(bucket), groups, strict=True))
        if not wanted.takes(grouping):
            return None
        known = dict(zip(fold.presentation_keys[filter_id], texts, strict=True)) | grouping
        left = tuple(grouping[key] for key in wanted.keys(charge, bucket))
        shown = tuple(known[key] for key in regrouped.presentation_keys(now))
        return _Part(filter_id, left, shown)

    return part_of


def _by_id(charge: Charge) -> dict[str | None, ChargeFilter | None]:
    """Return the filters of a charge by id, and none for what falls into none."""
    return {None: None} | {charge_filter.id: charge_filter for charge_filter in charge.filters}


def _rows(
    span: Span,
    parts: dict[_Part, list[CellName]],
    regrouped: Charge,
    presented_by: Container[str] | None,
    period: Period,
    from_ms: int,
) -> Steps[Breakdowns]:
    aggregation, window = span.fold.aggregation, window_of(period)
    listed: dict[str | None, tuple[str, ...]] = {None: regrouped.presentation_keys(None)}
    for bucket in regrouped.filters:
        listed[bucket.id] = regrouped.presentation_keys(bucket)

    def kept(key: str) -> bool:
        return presented_by is None or key in presented_by

    merged: dict[_Part, tuple[Any, Any]] = {}
    keeps = keeps_any(listed_presentation_keys(regrouped.properties), presented_by)
    for part in paced(span, parts if keeps else ()):
        if part is None:
            yield
            continue
        keys = listed[part.filter_id]
        texts = tuple(t for key, t in zip(keys, part.texts, strict=True) if kept(key))
        states = yield from states_since(span, period, from_ms, parts[part])
        known = merged.setdefault(part._replace(texts=texts), states)
        if known is not states:
            for into, state in zip(known, states, strict=True):
                if into is not None:
                    aggregation.merge(into, state)
    found: dict[CellName, list[tuple[Any, BreakdownRow]]] = {}
    for part in paced(span, merged):
        if part is None:
            yield
            continue
        state, before = merged[part]
        units = aggregation.presented(state, before, window)
        if units or state.events:
            row = (aggregation.recency(state), BreakdownRow(part.texts, units))
            found.setdefault((part.filter_id, part.groups), []).append(row)
    return Breakdowns(
        {name: ordered(rows) for name, rows in found.items()},
        {name: tuple(filter(kept, keys)) for name, keys in listed.items()},
    )


def _was_over(span: Span, period: Period, from_ms: int) -> bool:
    """Return whether an earlier period has more pairs of group and texts than it may."""
    return any(
        len(layer.cells) >= layer.max_groups
        for start_ms, layer in span.layers.items()
        if from_ms <= start_ms < period.start_ms
    )
