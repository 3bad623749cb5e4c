"""Full usage: the cells of a charge over all periods since its subscription began. Pure.

It is read from the cells of one span, the one that holds the running period. They tell it when all
these periods fold alike, as long as no property of a unique count is in two of them. Else the
events have to be folded anew, as `tables.reading.regrouping` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.periods import Period
from tables.aggregation import Groups, State
from tables.cells.cell import Layer, Span
from tables.cells.figures import CellFigures, figures_of, window_of
from tables.cells.forgotten import has_forgotten_since
from tables.cells.keys import OPEN_CUT_MS
from tables.lifetime_fold import adds_over_life

CellName = tuple[str | None, Groups]
T = TypeVar("T")


def full_figures_steps(
    span: Span, period: Period, from_ms: int, cut_ms: int = OPEN_CUT_MS
) -> Steps[dict[CellName, CellFigures] | None]:
    """Return the figures of each cell from an instant to the end of a period, as of a cut.

    None: the cells do not tell. Neither proration nor an average over time can be asked for so.
    It reads no event and changes nothing. It costs a look at each cell for each period, by steps.
    """
    if not holds_since(span, from_ms):
        return None
    found: dict[CellName, CellFigures] = {}
    names = yield from names_since_steps(span, period, from_ms)
    for name in paced(span, names):
        if name is None:
            yield
        elif adds_up(span, period, from_ms, [name]):
            found[name] = yield from figures_since(span, period, from_ms, [name], cut_ms)
        else:
            return None
    return found


def holds_since(span: Span, from_ms: int) -> bool:
    """Return whether events dated from an instant on are in the cells of a span.

    Those of what recurs are, also where it is carried on, if it does not matter when they came.
    """
    fold = span.fold
    begun = fold.metric.recurring or span.key.start_ms <= from_ms
    adds = fold.metric.recurring and adds_over_life(fold.charge, fold.metric)
    # Periods before its first are those of another span.
    own_ms = max(from_ms, span.key.start_ms)
    return begun and (adds or not has_forgotten_since(span, own_ms))


def adds_up(span: Span, period: Period, from_ms: int, names: list[CellName]) -> bool:
    """Return whether cells come to what one cell would: no property may be active in two."""
    if not span.fold.unique:
        return True
    if span.fold.metric.recurring:
        return len(names) == 1
    layers = _layers_since(span, period, from_ms)
    held = (name for layer in layers for name in names if name in layer.cells)
    return len(list(islice(held, 2))) <= 1


def figures_since(
    span: Span, period: Period, from_ms: int, names: list[CellName], cut_ms: int = OPEN_CUT_MS
) -> Steps[CellFigures]:
    """Return the figures of some cells that add up, as if of one, from an instant on."""
    states = yield from states_since(span, period, from_ms, names, cut_ms)
    return figures_of(span.fold, *states, window_of(period))


def states_since(
    span: Span, period: Period, from_ms: int, names: list[CellName], cut_ms: int = OPEN_CUT_MS
) -> Steps[tuple[State, State | None]]:
    """Return merged states of some cells: since an instant, and before it if recurring.

    By steps: one result may be of all groups of all periods.
    """
    aggregation, recurring = span.fold.aggregation, span.fold.metric.recurring
    state, before = aggregation.initialize(), aggregation.initialize()
    count = 0
    for start_ms, layer in list(span.layers.items()):
        if start_ms > period.start_ms or (start_ms < from_ms and not recurring):
            continue
        for name in names:
            count += 1
            if count % STEP_ITEMS == 0:
                yield
            cell = layer.cells.get(name)
            if cell is not None:
                cell.merge_into(before if start_ms < from_ms else state, cut_ms, aggregation)
    return state, before if recurring else None


def names_since_steps(span: Span, period: Period, from_ms: int) -> Steps[list[CellName]]:
    """Return the names of all cells of a span since an instant; a period is a step."""
    names: dict[CellName, None] = {}
    for layer in _layers_named(span, period, from_ms):
        names.update(dict.fromkeys(layer.cells if span.fold.plain else layer.used()))
        yield
    return list(names)


def _layers_named(span: Span, period: Period, from_ms: int) -> list[Layer]:
    """Return the layers whose cells are shown; what the period itself shows comes first."""
    if span.fold.metric.recurring:
        return [layer for start, layer in span.layers.items() if start <= period.start_ms]
    running = span.layers.get(period.start_ms)
    since = _layers_since(span, period, from_ms)
    return since if running is None else [running, *since]


def paced(span: Span, names: Iterable[T]) -> Iterator[T | None]:
    """Yield names, and None where a step ends: each has a cell for every period."""
    cells = 0
    for name in names:
        yield name
        cells += len(span.layers)
        if cells >= STEP_ITEMS:
            yield None
            cells = 0


def _layers_since(span: Span, period: Period, from_ms: int) -> list[Layer]:
    starts = span.layers.items()
    return [layer for start_ms, layer in starts if from_ms <= start_ms <= period.start_ms]
