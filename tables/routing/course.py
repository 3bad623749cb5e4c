"""The course of a span: what decides to which cells it leads events, and from which cuts on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from app.definitions.periods import NEVER_MS, Period, ceil_to
from app.definitions.timeline import Timeline
from tables.cells.cell import Span
from tables.cells.keys import SpanKey


def differ_ms(some: Iterable[Timeline], others: Iterable[Timeline]) -> Mapping[str, int]:
    """Return by subscription when the first period is fixed that may be another in other timelines.

    Of a subscription that is not named here any of them may.
    """
    known = {each.terms[-1].subscription.id: each for each in others if each.terms}
    found: dict[str, int] = {}
    for each in some:
        if each.terms and (identity := each.terms[-1].subscription.id) in known:
            other = known[identity]
            found[identity] = NEVER_MS if each is other else each.differs_ms(other)
    return found


def since_in(timeline: Timeline, since_ms: Mapping[str, int]) -> int:
    """Return from when on periods of a timeline are looked at, of what `differ_ms` says."""
    terms = timeline.terms
    return since_ms.get(terms[-1].subscription.id, -NEVER_MS) if terms else -NEVER_MS


def same_in(some: Iterable[Span], others: Sequence[Span]) -> Set[SpanKey]:
    """Return which spans are made of the same in both, as those of most that ended are."""
    known = {span.key: span for span in others}
    return {
        span.key
        for span in some
        if span.watch is None
        and (other := known.get(span.key)) is not None
        and other.watch is None
        and other.timeline is span.timeline
        and other.fold is span.fold
        and other.end_ms == span.end_ms
    }


def led(
    span: Span,
    newest_ms: int,
    appended_ms: int,
    since_ms: int,
    periods: Iterable[Period] | None = None,
) -> tuple[object, ...]:
    """Return what of a span decides to which cells it leads events, as `Route._shape` has it.

    `periods`: those of its timeline, if they are known.
    """
    return (
        span.fold.key,
        _history_groups(span),
        span.fold.limits_until(appended_ms),
        _reached(span, newest_ms, appended_ms, since_ms, periods),
        _zones(span, max(newest_ms, appended_ms), since_ms, periods),
    )


def _zones(
    span: Span, until_ms: int, since_ms: int, periods: Iterable[Period] | None
) -> tuple[object, ...]:
    """Return in whose days it shows what comes late, and what was there before its first period."""
    if not span.fold.by_day:
        return ()
    if periods is None:
        periods = span.timeline.fixed_since(since_ms, until_ms)
    first = span.timeline.first if span.fold.metric.recurring else None
    shown = [*periods] if first is None else [*periods, first]
    return tuple((period.start_ms, period.timezone) for period in shown)


def _history_groups(span: Span) -> int:
    """Return the most groups of what is carried on, also before the span's first period."""
    fold = span.fold
    return span.max_groups if fold.metric.recurring and not fold.plain else 0


def _reached(
    span: Span,
    newest_ms: int,
    appended_ms: int,
    since_ms: int,
    periods: Iterable[Period] | None,
) -> tuple[object, ...]:
    recurring = span.fold.metric.recurring
    until_ms = max(newest_ms, appended_ms) if recurring else newest_ms
    if periods is None:
        periods = span.timeline.fixed_since(since_ms, until_ms)
    before_ms = min(span.end_ms, until_ms + 1)
    periods = [p for p in periods if span.key.start_ms <= p.start_ms < before_ms]
    last_cut_ms = appended_ms
    if recurring:
        # A late event of a recurring metric counts from a cut of a later period on, if one is due
        # before the next revision; and a period that closes to it before then does not show it.
        every_ms = {period.revise_every_ms for period in periods}
        # Of those that are not looked at.
        every_ms |= {t.revise_every_ms for t in span.timeline.terms if t.since_ms < since_ms}
        last_cut_ms = max((ceil_to(appended_ms, each) for each in every_ms), default=appended_ms)
    return before_ms, tuple(
        (
            period.start_ms,
            min(period.end_ms, newest_ms + 1),
            min(period.due_at_ms, last_cut_ms),
            min(period.carries_until_ms, last_cut_ms) if recurring else 0,
            period.revise_every_ms if period.due_at_ms < appended_ms else 0,
            0 if span.fold.plain else period.max_groups,
            period.timezone if span.fold.by_day else None,
        )
        for period in periods
    )
