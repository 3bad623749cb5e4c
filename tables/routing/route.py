"""From (organization, external_subscription_id, code) to the cells that an event of it reaches.

A route is compiled from the definitions and kept until one of them touches it. Its *spans* are the
runs of consecutive periods of one subscription in which one charge folds alike: same metric, same
filters, same groups. A period that is due keeps the definitions it was due under, so an edit ends a
span and begins the next. Each span of a recurring metric also holds all history before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import accumulate, islice
from operator import attrgetter
from struct import Struct
from typing import Any, NamedTuple

import msgspec

from app.definitions.periods import NEVER_MS, Period
from app.definitions.timeline import Timeline
from app.kernel import by_literals, learn, learn_state
from app.wire.arrivals import Arrival
from app.wire.refusals import MAX_EVENT_AHEAD_MS
from tables.aggregation import Groups
from tables.cells.cell import Cell, GroupCell, Layer, Span
from tables.cells.forgotten import is_forgotten
from tables.cells.keys import ONLY_CELL, SpanKey, SpanSetKey
from tables.changelogged.members import SetKey
from tables.changelogged.presence import EventRanges
from tables.charge import ChargeFold, FoldParts, place_named
from tables.registry import AGGREGATIONS
from tables.routing.course import differ_ms, led, same_in, since_in
from tables.values import UNITS_A_SPAN, UNITS_AN_EVENT, Reading

_over_ms = attrgetter("over_ms")
_BOUNDS = Struct("=4q")
"""Half of `app.kernel.twin.BOUNDS`: where events lead straight, or what is known of them."""
_BOUNDS_BYTES = _BOUNDS.size
FEW_SPANS = 8
"""Most spans that are all looked at."""
_NO_EVENTS = _BOUNDS.pack(-1, -1, -1, -1)

Cells = dict[tuple[str | None, Groups], Cell]


class Aim(NamedTuple):
    """What events of a span were folded into at once, and which ones are folded into it as well."""

    layer: Layer
    cut_ms: int
    """They count from it on; 0: any cut shows them."""
    cells: Cells
    """By name, those that have only the state of the cut."""
    since_ms: int
    """Least append time."""
    until_ms: int
    """Greatest append time."""
    before_ms: int
    """They are dated before it."""


class Parting(NamedTuple):
    """Where the parts of a run lead in a layer, as `app.kernel` has it."""

    cells: Cells
    fold: ChargeFold
    sets: dict[SpanSetKey, SetKey] | None
    """The sets of members by cell; None: there are no members."""
    period_ms: int | None
    """Start of the period in the names of these sets."""

    def takes(self, run: Sequence[Arrival], complete: Container[SetKey]) -> bool:
        """Return whether all cells of a run are there, and all their members at hand."""
        for literals in by_literals(run, self.fold.place_names):
            place = None if literals is None else place_named(self.fold, literals)
            if place is None or place not in self.cells:
                return False
            if self.sets is not None and self.sets.get((*place, self.period_ms)) not in complete:
                return False
        return True


class Route(msgspec.Struct, eq=False):
    """Where the events of one (organization, external_subscription_id, code) go."""

    organization_id: str
    external_subscription_id: str
    code: str
    timelines: tuple[Timeline, ...]
    spans: tuple[Span, ...]
    over_ms: list[int] | None = None
    """When each span and those before it are over, once somebody asked."""
    event_ranges: EventRanges | None = None
    """Its entry in the presence table, once an event has come."""
    made_at: int = 0
    """How many definitions the partition had been told of by then."""
    bounds: bytes = b""
    """Within which events lead straight into `layer`, as `app.kernel` has it; else empty."""
    layer: Layer | None = None
    cell: Cell | None = None
    """The only cell of `layer`; None: its charge has several."""
    parting: Parting | None = None
    """Where the parts of a run lead in `layer`, if its charge has several cells."""
    reading: Reading | None = None
    set_key: SetKey | None = None
    """The set of members of `cell`."""
    late: LateRoute | None = None
    """Where events go that count from one cut on, as late ones do; None: none came."""

    @property
    def grouped(self) -> bool:
        """Whether any charge has groups."""
        spans = self.spans
        if len(spans) == 1:
            # As most have.
            return spans[0].fold.grouped
        return any(span.fold.grouped for span in spans)

    @property
    def weight(self) -> int:
        """How many events of one charge, without an expression, take as long as one of it does."""
        spans = self.spans
        if len(spans) == 1:
            return 1 + spans[0].fold.units // UNITS_AN_EVENT
        units = sum(span.fold.units for span in spans) + max(0, len(spans) - 1) * UNITS_A_SPAN
        return 1 + units // UNITS_AN_EVENT

    def reached(self, from_ms: int) -> Sequence[Span]:
        """Return the spans without most of those that nothing dated from a time on reaches.

        Those of subscriptions that had ended by then, of which there may be hundreds.
        """
        spans, over_ms = self.spans, self.over_ms
        if len(spans) <= FEW_SPANS:
            return spans
        if over_ms is None:
            over_ms = self.over_ms = list(accumulate(map(_leaves_ms, spans), max))
        return spans[bisect_right(over_ms, from_ms) :]

    def aim(self) -> None:
        """Lead events like those that were folded last straight into their cell, or period.

        Those that follow then ask for no span, layer or charge, which lie far apart in memory.
        """
        span = self.newest()
        if span is None:
            return
        fold, layer = span.fold, span.current
        parts = fold.parts
        if layer is None or parts is None or parts.reading is None or span.watched_ms == NEVER_MS:
            return
        period, cell = layer.period, layer.cells.get(ONLY_CELL) if parts.plain else None
        if period is None or (parts.plain and cell is None):
            return
        led, same = self.layer, layer is self.layer and cell is self.cell
        # Of a late event, if it is before.
        if same or (led is not None and led.start_ms > layer.start_ms):
            return
        if span.forgotten_ms >= 0 and is_forgotten(layer):
            return
        if not self._reaches_only((span,), layer.start_ms, layer.end_ms):
            return
        set_key = None
        if parts.unique:
            name = (*ONLY_CELL, None if fold.metric.recurring else layer.start_ms)
            set_key = span.sets.get(name)
            if set_key is None and parts.plain:
                return
        self.layer, self.cell, self.reading, self.set_key = layer, cell, parts.reading, set_key
        self.parting = None if parts.plain else _parting_in(layer, layer.cells)
        self.bounds = _bounds_in(layer, period, parts)
        self.reach()

    def newest(self) -> Span | None:
        """Return the span with the latest of the periods that events were folded into last."""
        if len(self.spans) == 1:
            return self.spans[0]
        found: Span | None = None
        newest_ms = -NEVER_MS
        # Of those that are over where events lead already each has been there before.
        from_ms = -NEVER_MS if self.layer is None else self.layer.start_ms
        for span in self.reached(from_ms):
            if span.current is not None and span.current.start_ms > newest_ms:
                found, newest_ms = span, span.current.start_ms
        return found

    def _reaches_only(self, spans: Sequence[Span], start_ms: int, before_ms: int) -> bool:
        """Return whether events of a time reach these spans alone, in a period of one timeline.

        A definition leaves the spans of before it to what they have published. A subscription that
        ended leaves all of its spans to itself.
        """
        if len(self.spans) > len(spans):
            reached = set(map(id, spans))
            others = (span for span in self.reached(start_ms) if id(span) not in reached)
            if not all(span.lies_apart(start_ms, before_ms) for span in others):
                return False
        return self._timeline_in(start_ms, before_ms) is not None

    def _timeline_in(self, start_ms: int, before_ms: int) -> Timeline | None:
        """Return the only timeline with a period in a time; None: there is none, or several."""
        timelines = self.timelines
        if not timelines and self.spans:
            # Of the implicit plan.
            return self.spans[0].timeline
        if len(timelines) > 1:
            # Each ends before the next one begins.
            first = bisect_right(timelines, start_ms, key=_over_ms)
            later = islice(timelines, first, None)
            timelines = tuple(each for each in later if each.has_any(start_ms, before_ms))
        return timelines[0] if len(timelines) == 1 else None

    def aim_first(
        self, cell: Cell, period: Period, parts: FoldParts, set_key: SetKey | None
    ) -> None:
        """Lead first events straight into a cell of a period, with its set of members.

        Until `keep_cell`: nobody may see that it leads anywhere before an event has taken it.
        """
        self.layer = layer = cell.layer
        self.cell, self.reading, self.set_key = cell, parts.reading, set_key
        self.bounds = _bounds_in(layer, period, parts) + _NO_EVENTS

    def keep_cell(self) -> None:
        """Keep the cell of first events, or, if none was folded into it, lead none any more."""
        cell = self.cell
        if cell is not None and cell.dirty and self.event_ranges is not None:
            cell.layer.cells[ONLY_CELL] = cell
        else:
            self.lose_aim()

    def reach(self) -> None:
        """Lead straight whatever adds no more than greater times to the event ranges."""
        ranges = self.event_ranges
        if ranges is not None:
            self.bounds = self.bounds[:_BOUNDS_BYTES] + _BOUNDS.pack(*ranges.least_noted())

    @property
    def until_ms(self) -> int:
        """Until when events are appended that lead straight into `cell`; it has an aim."""
        until_ms: int = _BOUNDS.unpack_from(self.bounds)[3]
        return until_ms

    @property
    def bills_at_once(self) -> bool:
        """Whether events that it leads straight are billed when they come."""
        return self.layer is not None and self.layer.span.fold.bills_at_once

    def lose_aim(self) -> None:
        """Lead events straight nowhere: the cell goes, or another may take its place."""
        self.bounds, self.layer, self.cell, self.late = b"", None, None, None
        self.parting = None

    def aim_late(self, aims: Sequence[Aim]) -> None:
        """Lead events straight to what they were folded into, as `aim` does of one period.

        `aims`: one for each span. Events come late, or cells are watched, or there are several.
        """
        # A refold leads nothing straight: its routes have no event ranges.
        if self.event_ranges is None:
            return
        aims, self.late = list(map(self._joined, aims)), None
        reached = [aim.layer.span for aim in aims]
        starts, ends, after, until = zip(*map(self._bounds_of, aims), strict=True)
        within = max(starts), min(ends)
        # What only others than bills ask for is said to have no charge.
        priced = any(span.fold.prices for span in reached)
        if not (priced and self._reaches_only(reached, *within)):
            return
        late = list(map(self._late_of, aims))
        first, *beside = filter(None, late) if all(late) else (None,)
        if first is None or any(not each.reads_like(first) for each in beside):
            return
        first.beside = tuple(beside)
        first.bounds = _BOUNDS.pack(*within, max(after), min(until))
        first.reach()
        self.late = first

    def _joined(self, aim: Aim) -> Aim:
        """Return an aim that has those cells, too, which events of its cut are led to already."""
        for late in () if self.late is None else (self.late, *self.late.beside):
            if late.parting is None or late.layer is not aim.layer:
                continue
            if late.cut_ms == aim.cut_ms > 0:
                late.parting.cells.update(aim.cells)
                since_ms = max(late.since_ms, aim.since_ms)
                return aim._replace(cells=late.parting.cells, since_ms=since_ms)
        return aim

    def _late_of(self, aim: Aim) -> LateRoute | None:
        """Return the way into one period; None: it cannot be gone straight."""
        layer, fold = aim.layer, aim.layer.span.fold
        parts = fold.parts
        if parts is None or parts.reading is None:
            return None
        late = LateRoute(
            *self.meter_key,
            self.timelines,
            self.spans,
            layer=layer,
            cut_ms=aim.cut_ms,
            since_ms=aim.since_ms,
        )
        late.made_at = -1
        if not parts.plain:
            late.parting = _parting_in(layer, aim.cells)
        else:
            late.cell = aim.cells[ONLY_CELL]
            if fold.unique:
                start_ms = None if fold.metric.recurring else layer.start_ms
                late.set_key = layer.span.sets.get((*ONLY_CELL, start_ms))
                if late.set_key is None:
                    return None
        late.reading, late.event_ranges = parts.reading, self.event_ranges
        return late

    def _bounds_of(self, aim: Aim) -> tuple[int, int, int, int]:
        """Return since and before when events are dated, and since and until when appended."""
        layer = aim.layer
        timeline = self._timeline_in(layer.start_ms, layer.end_ms)
        period = None if timeline is None else timeline.holding(layer.start_ms)
        if period is None:
            return 0, 0, 0, -1
        after_ms = max(aim.since_ms, layer.span.fold.counts_after_ms + 1)
        if aim.since_ms <= period.due_at_ms:
            # Earlier it has to be looked at how far ahead an event is dated.
            after_ms = max(after_ms, layer.end_ms - MAX_EVENT_AHEAD_MS)
        return layer.start_ms, aim.before_ms, after_ms, min(aim.until_ms, period.open_until_ms)

    @property
    def meter_key(self) -> tuple[str, str, str]:
        """(organization_id, external_subscription_id, code)"""
        return self.organization_id, self.external_subscription_id, self.code

    def priced(self) -> Route:
        """Return the route without what nothing is billed by."""
        spans = tuple(span for span in self.spans if span.fold.prices)
        return Route(*self.meter_key, self.timelines, spans)

    def leads_like(self, other: Route, newest_ms: int, appended_ms: int) -> bool:
        """Return whether another route sends events up to these times to the same cells and cuts.

        Those dated up to `newest_ms` and appended up to `appended_ms`. No refold is needed then.
        Periods that are fixed in both, as most are, are not looked at.
        """
        reach = newest_ms, appended_ms, differ_ms(self.timelines, other.timelines)
        same = same_in(self.spans, other.spans)
        return self._shape(*reach, same) == other._shape(*reach, same)

    def leads_like_in(
        self, concerns: Callable[[Span], bool], other: Route, newest_ms: int, appended_ms: int
    ) -> bool:
        """Return whether another route sends them to the same cells of some spans."""
        differs_ms = differ_ms(self.timelines, other.timelines)
        mine, theirs = (
            {
                span.key: led(span, newest_ms, appended_ms, since_in(span.timeline, differs_ms))
                for span in route._spans_until(newest_ms)
                if concerns(span)
            }
            for route in (self, other)
        )
        return mine == theirs

    def _shape(
        self,
        newest_ms: int,
        appended_ms: int,
        since_ms: Mapping[str, int],
        same: Container[SpanKey] = (),
    ) -> tuple[object, ...]:
        """Return everything that decides where events up to some times go: no order of spans does.

        `since_ms`: by subscription, but for periods that are fixed before. `same`: nor these spans.
        """
        until_ms, spans = max(newest_ms, appended_ms), dict[SpanKey, object]()
        fixed = [each.fixed_since(since_in(each, since_ms), until_ms) for each in self.timelines]
        known = {id(each): periods for each, periods in zip(self.timelines, fixed, strict=True)}
        for span in self._spans_until(newest_ms):
            if (key := span.key) not in same:
                reach = newest_ms, appended_ms, since_ms.get(key.subscription_id, -NEVER_MS)
                watch = None if span.watch is None else span.watch.reached(appended_ms)
                spans[key] = *led(span, *reach, known.get(id(span.timeline))), watch
        refusing = tuple(
            (period.start_ms, min(period.end_ms, newest_ms + 1), period.open_until_ms)
            for periods in fixed
            for period in periods
            if period.start_ms <= newest_ms and period.open_until_ms < appended_ms
        )
        return spans, refusing

    def _spans_until(self, newest_ms: int) -> Iterator[Span]:
        return (
            span
            for span in self.spans
            if span.fold.metric.recurring or span.key.start_ms <= newest_ms
        )


def _leaves_ms(span: Span) -> int:
    """Return from when on no event reaches a span, nor takes a place for its group in it."""
    has_places = span.fold.grouped and span.fold.limits_history
    return NEVER_MS if has_places else span.timeline.over_ms


class LateRoute(Route, eq=False, kw_only=True):
    """Where events go that count like one that came before: to what one cut shows, of each span."""

    layer: Layer
    cut_ms: int
    """0: any cut shows them; else its cells are `Alone`."""
    since_ms: int
    """Least append time."""
    beside: tuple[LateRoute, ...] = ()
    """Where they go in other spans."""

    def holds(self, taken_ms: int, complete: Container[SetKey], run: Sequence[Arrival]) -> bool:
        """Return whether the cuts are to come, and events of a run have their cells there.

        `taken_ms`: every cut up to it is taken. `complete`: the sets whose members are all at hand.
        """
        if not self.beside:
            return self.cut_ms > taken_ms
        for each in (self, *self.beside):
            if each.cut_ms:
                if each.cut_ms <= taken_ms:
                    return False
            elif each.cell is not None and each.layer.cells.get(ONLY_CELL) is not each.cell:
                return False
            if each.set_key is not None and each is not self and each.set_key not in complete:
                return False
            # What is parted beside others is folded into all of them, or into none.
            if each.parting is not None and not each.parting.takes(run, complete):
                return False
        return True

    @property
    def bills_at_once(self) -> bool:
        """Whether any charge that events are led to bills them when they come."""
        return any(each.layer.span.fold.bills_at_once for each in (self, *self.beside))

    def reads_like(self, other: LateRoute) -> bool:
        """Return whether events have a value for both, or for none."""
        one, two = self.reading, other.reading
        if one is None or two is None:
            return one is two
        return one.field == two.field and one.numbers is two.numbers


def _parting_in(layer: Layer, cells: Cells) -> Parting:
    """Return where the parts of a run lead in a layer: to these cells of it."""
    span = layer.span
    sets = span.sets if span.fold.unique else None
    period_ms = None if span.fold.metric.recurring else layer.start_ms
    return Parting(cells, span.fold, sets, period_ms)


def _bounds_in(layer: Layer, period: Period, parts: FoldParts) -> bytes:
    """Return between which times events lead straight into the layer of a period."""
    before_ms = max(parts.counts_after_ms, layer.span.watched_ms)
    after_ms = max(layer.end_ms - MAX_EVENT_AHEAD_MS, before_ms + 1)
    until_ms = min(period.due_at_ms, layer.due_at_ms)
    return _BOUNDS.pack(layer.start_ms, layer.end_ms, after_ms, until_ms)


def _learn() -> None:
    """Let the kernel know where routes, what they lead to and states have their fields."""
    kinds: list[Any] = [Route, GroupCell, Cell, Layer, Span, EventRanges]
    for kind in kinds:
        learn(kind(*map(str, range(len(kind.__struct_fields__)))))
    for aggregation in AGGREGATIONS.values():
        kind = aggregation.state_type
        fields = [object() for _ in kind.__struct_fields__]
        learn_state(kind(*fields), tuple(fields))


_learn()
