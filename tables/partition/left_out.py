"""What a refold leaves out: events of periods whose cells are forgotten, and stay so.

No definition changes a final period, nor does a correction of an event that is dated later. So a
refold for these folds what is dated from the first period on that is not forgotten, unless
something else is to be counted anew.

Of what recurs each event is in all periods to come, so none is left out. A refold for definitions
leaves out the spans that are over: no period to come has their cells.
"""

from __future__ import annotations

from itertools import chain, takewhile

from app.definitions.periods import NEVER_MS
from app.definitions.timeline import Timeline
from app.kernel import EARLY_MS
from app.wire.arrivals import MeterKey
from tables.cells.cell import Span
from tables.cells.forgotten import has_forgotten_since, is_forgotten, is_over, is_over_by
from tables.changelogged.presence import EventRanges
from tables.partition.partition import Partition
from tables.routing.route import Route

FROM_THE_FIRST = -NEVER_MS
"""Since when events are folded of which none is left out."""

CLOCKS_APART_MS = 3_600_000
"""By so much the clocks of two brokers may differ, of which one forwards what the other took."""


def dated_from(
    partition: Partition,
    meter_key: MeterKey,
    old: Route,
    new: Route,
    known: EventRanges,
    corrected_ms: int | None = None,
) -> int:
    """Return since when events are dated that a refold to a new route has to fold.

    Those before lead to cells that are forgotten, or to none, by the old route, which they took, as
    by the new one. An amendment may date an event later, and of what recurs each event is in all
    periods after it. `known`: the entry of the meter key, which has forgotten cells.
    `corrected_ms`: since when events are dated whose corrections come in force; None: none does.
    """
    name, corrections = meter_key[:2], partition.corrections
    followed = corrections.followed
    are_shown = followed.are_shown if corrected_ms is None else followed.are_told
    if partition.changed.notes or not are_shown(name, partition.cuts.settled_ms):
        return FROM_THE_FIRST
    if any(span.fold.metric.recurring for span in (*old.spans, *new.spans)):
        return FROM_THE_FIRST
    from_ms = min(first_kept_ms(old), *_open_ms(old, new, known.forgotten_ms))
    if any(has_forgotten_since(span, from_ms) for span in old.spans):
        # It was final before an earlier one.
        return FROM_THE_FIRST
    if corrected_ms is not None and corrected_ms < from_ms:
        return FROM_THE_FIRST
    if corrections.rows.dated_until(name) >= from_ms:
        # As it came it may be of a period that is forgotten.
        return FROM_THE_FIRST
    # Later ones lead nowhere yet.
    from_ms = min(from_ms, known.newest_ms + 1)
    alike = old.leads_like(new, from_ms - 1, known.appended_ms)
    return from_ms if alike else FROM_THE_FIRST


def without_over(partition: Partition, old: Route, new: Route) -> Route:
    """Return a new route without the spans of what recurs that are over, and stay forgotten.

    For a refold that only definitions ask for. What else is forgotten it folds once more. It is the
    new route itself where none is over, or where that may have forgotten anything else.
    """
    name, code = new.meter_key[:2], new.code
    over = {span.key for span in old.spans if span.fold.metric.recurring and is_over(span)}
    if not over or partition.changed.notes:
        return new
    if not partition.corrections.followed.are_shown(name, partition.cuts.settled_ms):
        return new
    forgotten_ms = partition.event_ranges.forgotten_ms(name, code)
    known, found = {span.key: span for span in old.spans}, {span.key: span for span in new.spans}
    stay = all(key in found and is_over_by(found[key], forgotten_ms) for key in over)
    alike = (_forgets_like(known.get(key), span, forgotten_ms) for key, span in found.items())
    if not (stay and all(alike)):
        return new
    kept = tuple(span for span in new.spans if span.key not in over)
    return Route(*new.meter_key, new.timelines, kept)


def with_over(kept: Route, whole: Route) -> Route:
    """Return a whole route with the spans of the one without those that are over."""
    made = {span.key: span for span in kept.spans}
    spans = tuple(made.get(span.key, span) for span in whole.spans)
    return Route(*whole.meter_key, whole.timelines, spans)


def _forgets_like(old: Span | None, new: Span, forgotten_ms: int) -> bool:
    """Return whether a new span has forgotten the same periods, which fold as in the old one.

    One that was not there has none that was final by then.
    """
    if old is not None:
        differs_ms = old.timeline.differs_ms(new.timeline)
        return old.fold.key == new.fold.key and differs_ms > forgotten_ms
    start_ms = new.key.start_ms
    first = new.timeline.holding(start_ms)
    periods = chain(() if first is None else (first,), new.timeline.after(start_ms))
    begun = takewhile(lambda period: period.start_ms < forgotten_ms, periods)
    return all(period.final_ms > forgotten_ms for period in begun)


def first_kept_ms(route: Route) -> int:
    """Return the start of the first period with cells that are not forgotten; NEVER_MS: none is."""
    return min(
        (
            layer.start_ms
            for span in route.spans
            for layer in span.layers.values()
            if layer.cells and not is_forgotten(layer)
        ),
        default=NEVER_MS,
    )


def _open_ms(old: Route, new: Route, forgotten_ms: int) -> list[int]:
    """Return when the first period of each timeline begins that was due after some were final."""
    return [
        first_due_ms(line, forgotten_ms)
        for route in (old, new)
        for line in route.timelines
        if line.published
    ]


def first_due_ms(timeline: Timeline, done_ms: int) -> int:
    """Return when the first period begins that is due after a cut; NEVER_MS: none is."""
    due = (p.start_ms for p in timeline.due_after(done_ms) if p.due_at_ms > done_ms)
    return next(due, NEVER_MS)


def appended_from(dated_ms: int) -> int:
    """Return since when events dated from a period's start on are appended, but for early ones."""
    return max(0, dated_ms - EARLY_MS - CLOCKS_APART_MS)


def kept_from(partition: Partition, meter_key: MeterKey) -> int | None:
    """Return since when events were appended of what is not forgotten; None: ever.

    No route is made for it.
    """
    name, code = meter_key[:2], meter_key[2]
    known = partition.event_ranges.find(name, code)
    metric = partition.definitions.metric(meter_key[0], code)
    if known is None or known.forgotten_ms < 0 or metric is None or metric.recurring:
        return None
    forgotten_ms = known.forgotten_ms
    timelines = partition.timelines.open(name, forgotten_ms)
    first = (next(timeline.open_at(forgotten_ms + 1), None) for _, timeline in timelines)
    starts_ms = [period.start_ms for period in first if period is not None]
    return appended_unless_early(known, min([*starts_ms, forgotten_ms + 1]))


def read_from(
    partition: Partition, meter_key: MeterKey, old: Route, new: Route, corrected_ms: int | None
) -> int | None:
    """Return since when events were appended that a refold to a new route reads; None: ever.

    Arguments are those of `dated_from`.
    """
    known = partition.event_ranges.find(meter_key[:2], meter_key[2])
    if known is None or known.forgotten_ms < 0:
        return None
    return appended_unless_early(
        known, dated_from(partition, meter_key, old, new, known, corrected_ms)
    )


def appended_unless_early(known: EventRanges, dated_ms: int) -> int | None:
    """Return since when events of an entry dated from a time on were appended; None: ever."""
    return appended_from(dated_ms) if known.early_ms < dated_ms > FROM_THE_FIRST else None
