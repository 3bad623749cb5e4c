"""Entries of a cell, read from the span that keeps them."""

from __future__ import annotations

from typing import Any, NamedTuple

from app.definitions.periods import Period
from tables.aggregation import Aggregation, Groups
from tables.cells.cell import Span
from tables.cells.figures import window_of
from tables.cells.keys import OPEN_CUT_MS
from tables.entries import ListedEntry
from tables.per_event import ListSource


class _Read(NamedTuple):
    """Entries of some layers."""

    entries: list[ListedEntry]
    events: int
    whole: bool


def source_of(
    span: Span,
    entries: Span | None,
    period: Period,
    filter_id: str | None,
    groups: Groups,
    cut_ms: int = OPEN_CUT_MS,
) -> ListSource:
    """Return what the lists of a cell follow from, as of a cut.

    `entries`: the span that keeps them; None: none are needed.
    """
    aggregation: Aggregation[Any] = span.fold.aggregation
    state, before = span.states(period, filter_id, groups, cut_ms)
    source = ListSource(
        lists=aggregation.lists,
        prorated=span.fold.charge.prorated,
        window=window_of(period),
        events=state.events,
        units=aggregation.result(state, before, window_of(period)).full_units,
        carried=aggregation.carried(before),
    )
    if entries is None:
        return source
    own = _read(entries, [period.start_ms], filter_id, groups, cut_ms)
    earlier: list[int] = []
    if span.fold.metric.recurring:
        earlier = sorted(start_ms for start_ms in entries.layers if start_ms < period.start_ms)
    history = _read(entries, earlier, filter_id, groups, cut_ms)
    return source._replace(
        entries=own.entries,
        history=history.entries,
        history_events=history.events,
        whole=own.whole and history.whole,
    )


def _read(
    span: Span, starts_ms: list[int], filter_id: str | None, groups: Groups, cut_ms: int
) -> _Read:
    """Read layers one by one: each keeps as many entries as a list may have."""
    aggregation: Aggregation[Any] = span.fold.aggregation
    entries: list[ListedEntry] = []
    events = 0
    for start_ms in starts_ms:
        layer = span.layers.get(start_ms)
        cell = None if layer is None else layer.cells.get((filter_id, groups))
        if cell is None:
            continue
        state = aggregation.initialize()
        cell.merge_into(state, cut_ms, aggregation)
        entries += state.entries
        events += state.events
    return _Read(entries, events, len(entries) == events)
