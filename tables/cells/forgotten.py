"""Forgotten cells: those of periods that were final, of which the records tell all.

No cell of such a period is read or published. What changes it brings all of them back, by a refold.
Of a recurring metric they are carried on: they are one with what lies before the first period. What
comes in later has cells of its own, which are carried on, too. Of a span that is over nothing is
carried on: no period to come shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.periods import NEVER_MS, Period
from app.definitions.state import Definitions
from tables.cells.cell import Cell, GroupCell, Layer, Span
from tables.cells.days import shown_until_ms
from tables.cells.keys import CellKey, SpanKey
from tables.unique_count import BEFORE, Member, since_last


def has_forgotten(span: Span, period: Period) -> bool:
    """Return whether the cells of a period are forgotten; a few of them may still be there."""
    # Most have forgotten nothing.
    return 0 <= span.forgotten_ms >= period.final_ms and span.fold.forgets


def is_forgotten(layer: Layer) -> bool:
    """Return whether the cells of a layer are forgotten, or one with some that are."""
    span, period = layer.span, layer.period
    if span.forgotten_ms < 0:
        return False
    return span.fold.forgets if period is None else has_forgotten(span, period)


def remembered(span: Span, member: Member) -> Member:
    """Return the operations of a member that what comes to a set of all periods may ask for."""
    fold = span.fold
    if len(member) < 2 or span.forgotten_ms < 0 or fold.in_advance:
        return member

    def is_past(start_ms: int) -> bool:
        layer = span.layers.get(start_ms)
        if layer is not None:
            return is_forgotten(layer)
        period = None if start_ms == BEFORE else span.timeline.holding(start_ms)
        return start_ms == BEFORE or (period is not None and has_forgotten(span, period))

    return since_last(member, is_past) if fold.metric.recurring and fold.forgets else member


def last_period(span: Span) -> Period | None:
    """Return the last period of a span; None: there is none, or others may come.

    Of a unique count that bills at once as well: what comes at any age asks for its members.
    """
    if span.fold.bills_at_once and span.fold.unique:
        return None
    terms = span.timeline.terms
    ended_ms = terms[-1].subscription.usage_end_ms if terms else None
    end_ms = span.end_ms if ended_ms is None else min(span.end_ms, ended_ms)
    return None if end_ms >= NEVER_MS else span.timeline.holding(end_ms - 1)


def all_final_ms(span: Span, last: Period, done_ms: int) -> int:
    """Return when all periods of a span are final; `last`: the last one.

    Of those that were final long before a cut it looks at the last one alone. A period of version 1
    shows what is dated before it at any age: NEVER_MS.
    """
    timeline = span.timeline
    if any(each.fold_version == 1 for each in timeline.terms):
        return NEVER_MS
    final_ms = last.final_ms
    for period in timeline.due_after(done_ms - timeline.open_for_ms):
        if period.start_ms >= last.start_ms:
            break
        final_ms = max(final_ms, period.final_ms)
    return final_ms


def is_over(span: Span) -> bool:
    """Return whether the cells of all periods of a span are forgotten, and no other comes."""
    return is_over_by(span, span.forgotten_ms)


def is_over_by(span: Span, forgotten_ms: int) -> bool:
    """Return whether that is so if the cells of periods that were final by then are forgotten."""
    if forgotten_ms < 0 or not span.fold.forgets:
        return False
    last = last_period(span)
    return last is not None and all_final_ms(span, last, forgotten_ms) <= forgotten_ms


def goes_on(old: Iterable[Span], new: Iterable[Span], forgotten_ms: int) -> bool:
    """Return whether a span goes on that was over: what it carries on is to be folded anew then.

    Days of a balance end with a period. Days that begin in the next one let the span go on, maybe
    once all that it had is forgotten.
    """
    if forgotten_ms < 0:
        return False
    recurring = (span for span in old if span.fold.metric.recurring)
    over = {span.key for span in recurring if is_over_by(span, forgotten_ms)}
    return any(span.key in over and not is_over_by(span, forgotten_ms) for span in new)


def gone_ms(definitions: Definitions, period: Period, settled_ms: int, *, by_day: bool) -> int:
    """Return from which cut on nobody reads cells of a period: it is final, its days are shown."""
    if not by_day:
        return period.final_ms
    grids = definitions.close_grids_ms(settled_ms)
    return max(period.final_ms, shown_until_ms(period, grids))


def carry(cell: Cell, into: Cell) -> None:
    """Add a cell of a recurring metric to that of what lies before the first period."""
    aggregation = cell.layer.span.fold.aggregation
    aggregation.carry(into.state, cell.state)
    for cut_ms, state in (cell.late or {}).items():
        aggregation.carry(into.state_at(cut_ms, aggregation), state)
    if isinstance(cell, GroupCell) and isinstance(into, GroupCell):
        into.first = min(into.first, cell.first)


def as_forgotten_by(
    spans: Iterable[Span], cells: Mapping[CellKey, Cell]
) -> Steps[dict[CellKey, Cell]]:
    """Return cells of spans, or others made in their place, as who forgot them has them."""
    forgetful = {span.key: span for span in spans if span.forgotten_ms >= 0}
    over = {key for key, span in forgetful.items() if is_over(span)}
    kept, gone = dict[CellKey, Cell](), dict[CellKey, Cell]()
    for count, (key, cell) in enumerate(cells.items(), 1):
        if count % STEP_ITEMS == 0:
            yield
        span, period = forgetful.get(SpanKey(*key[:3])), cell.layer.period
        if span is not None and span.key in over:
            continue
        forgotten = span is not None and (
            span.fold.metric.recurring if period is None else has_forgotten(span, period)
        )
        (gone if forgotten else kept)[key] = cell
    carried = dict[CellKey, Cell]()
    for count, (key, cell) in enumerate(gone.items(), 1):
        if count % STEP_ITEMS == 0:
            yield
        span = cell.layer.span
        if not span.fold.metric.recurring:
            continue
        name = key._replace(layer_ms=BEFORE)
        if name not in carried:
            layer, nothing = Layer.of(span, None, cell.layer.first_shown), span.fold.aggregation
            carried[name] = type(cell)(layer, cell.filter_id, cell.groups, nothing.initialize())
        carry(cell, carried[name])
    return kept | carried


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
