"""Explain: how the figures of a metric in a period come about, from its events read again.

It keeps where the first events up to the listed page lie, and reads that page again.
"""

from __future__ import annotations

from asyncio import to_thread
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from decimal import Decimal
from functools import cache
from typing import NamedTuple

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.periods import NEVER_MS, Period
from app.definitions.timeline import Timeline
from app.meter.evidence import (
    Change,
    EventFate,
    ExplainedCell,
    ExplainQuery,
    Explanation,
    PendingFigures,
)
from app.meter.usage import AsOf, PendingRow
from app.numbers import ZERO, exact_difference
from app.queries.listing import First
from app.queries.replay import Replay, read_again
from app.queries.revisions import ListRevisions, Revisions, Since
from app.queries.trace import (
    FoundArrival,
    fate_of,
    filter_values_of,
    group_of,
    judged,
    status_of,
)
from app.runtime.raw_lookup import RawLookup
from app.wire.arrivals import Arrival, MeterKey
from tables.cells.cell import Span
from tables.cells.keys import SpanKey
from tables.changelogged.published_period import PublishedCell
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.partition import Partition
from tables.partition.revised import Counted
from tables.reading.explained import ExplainedPeriod, published_texts
from tables.reading.publication import Pending, pending_steps
from tables.reading.shown_last import turned_by
from tables.reading.single_events import CellEvents, SingleEvents
from tables.reading.tracing import Traced, Tracer
from tables.reading.usage import as_of

LATER = "later_periods"
"""Why a figure is without an event that counts: it came too late for this period of a balance."""

_ATTEMPTS = 3
"""A refold that is swapped in meanwhile has other definitions: then everything is read again."""


class _LogSpot(NamedTuple):
    """Where an explained arrival lies: in the log, and as it was read."""

    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int
    rekeyed_offset: int


_Pending = tuple[int, Pending]
"""The next cut that publishes, and what it shows."""


class _Selection:
    """The period and the charges that are explained."""

    def __init__(self, tracer: Tracer, query: ExplainQuery):
        self.query = query
        self.spans: dict[int, Span] = {}
        """By identity."""
        self.shown_until_ms: dict[SpanKey, int | None] = {}
        """By span, up to when appended events of a balance show; None: all do."""
        self.turned: dict[str, list[Counted]] = {}
        """By code, events before and after each of their corrections."""
        self.period: Period | None = None

        @cache
        def holding(timeline: Timeline) -> Period | None:
            # Of a copy: a question must not lengthen the timeline that the fold and cuts share.
            return Timeline(timeline.terms).holding(query.at_ms)

        for span in tracer.route.spans:
            period = holding(span.timeline)
            if period is not None and span.key.start_ms <= period.start_ms < span.end_ms:
                self.period = period
                if self._wants_charge(span):
                    self.spans[id(span)] = span
        if self.period is None:
            found = map(holding, tracer.route.timelines)
            self.period = next((period for period in found if period is not None), None)
        self.recurring = any(span.fold.metric.recurring for span in self.spans.values())

    @property
    def dated_from_ms(self) -> int:
        """Since when events are dated that are explained."""
        return FROM_THE_FIRST if self.recurring or self.period is None else self.period.start_ms

    def _wants_charge(self, span: Span) -> bool:
        charge, query = span.fold.charge, self.query
        return query.charge_id in (None, charge.id) and query.charge_code in (None, charge.code)

    def covers(self, timestamp_ms: int) -> bool:
        """Return True for a time of the period, or of the history that it carries on."""
        period = self.period
        if period is None or timestamp_ms >= period.end_ms:
            return False
        return self.recurring or timestamp_ms >= period.start_ms

    def of(self, traced: Iterable[Traced]) -> tuple[Traced, ...]:
        """Return the outcomes that shape the explained cells."""
        return tuple(
            one
            for one in traced
            if id(one.span) in self.spans
            and self.covers(one.layer.start_ms)
            and (one.reason is not None or self.wants_group(one.span, one.filter_id, one.groups))
        )

    def narrowed(self, found: FoundArrival) -> FoundArrival | None:
        """Return an arrival with its outcomes in the explained cells; None: it belongs to others.

        One that none of them is asked about keeps the reason for which another charge ignores it.
        """
        counted, traced = found.verdict.counted or found.arrival, self.of(found.traced)
        if traced:
            return found._replace(traced=traced)
        reasons = [one.reason for one in found.traced]
        if None in reasons or not self.covers(counted.timestamp_ms):
            return None
        return found._replace(traced=(), reason=found.reason or next(iter(reasons), None))

    def note_turned(self, state: Partition, arrival: Arrival) -> None:
        """Note what corrections make of an event that was read."""
        for counted in turned_by(state, arrival):
            self.turned.setdefault(counted.arrival.event.code, []).append(counted)

    def pending(self, state: Partition, meter_key: MeterKey, period: Period) -> Steps[_Pending]:
        """Return what the next revision shows of the explained cells, and at which cut."""
        organization_id, external_id, code = meter_key
        span = next(iter(self.spans.values()), None)
        if span is None:
            return NEVER_MS, {}
        of_whom = (organization_id, external_id), span.key.subscription_id
        found = yield from pending_steps(state, *of_whom, period, {code})
        return found

    async def fate_of(self, state: Partition, found: FoundArrival, lookup: RawLookup) -> EventFate:
        """Word what became of an event, and that it came too late for the explained figures."""
        fate = await fate_of(state, found, lookup)
        counted_ms = max(found.arrival.append_time_ms, found.verdict.corrected_ms)
        untils_ms = [self.shown_until_ms.get(one.span.key) for one in found.traced]
        if untils_ms and all(at is not None and counted_ms > at for at in untils_ms):
            return replace(fate, reason=fate.reason or LATER)
        return fate

    def wants_group(
        self, span: Span, filter_id: str | None, groups: tuple[str | None, ...]
    ) -> bool:
        """Return True if a cell has the group values that are asked for."""
        values = {key: text or "" for key, text in group_of(span, filter_id, groups)}
        return all(values.get(key) == text for key, text in self.query.group.items())


async def explain(
    replay: Replay,
    organization_id: str,
    query: ExplainQuery,
    list_revisions: ListRevisions,
) -> Explanation | None:
    """Show how the figures of a period come about; None when no period holds the instant.

    The live figures are those of the moment at which the last event was read.
    """
    for attempt in range(_ATTEMPTS):
        last = attempt + 1 == _ATTEMPTS
        found = await _explain_once(replay, organization_id, query, list_revisions, last=last)
        if found is not _CHANGED:
            break
    return found if isinstance(found, Explanation) else None


_CHANGED = object()
_Explained = tuple[ExplainedCell, CellEvents | None]
_Listed = tuple[FoundArrival, Change | None]
"""An arrival that is listed, and why it makes a difference to the revision that is asked about."""


class _Shown:
    """What is explained, by a tracer of its own; each arrival is shown once."""

    def __init__(self, state: Partition, meter_key: MeterKey, query: ExplainQuery):
        self._state, self._meter_key = state, meter_key
        self.tracer = Tracer(state, meter_key)
        self.selection = _Selection(self.tracer, query)
        self._others: dict[str, Tracer] | None = None if query.since_revision is None else {}
        """Tracers by the code that amended events count under now, where these are asked for."""

    def judged(self, arrival: Arrival) -> FoundArrival | None:
        """Fold an arrival; return what became of it."""
        return judged(self._state, arrival, self._tracer_of)

    def _tracer_of(self, code: str) -> Tracer | None:
        if code == self._meter_key[2]:
            return self.tracer
        if self._others is None:
            return None
        if code not in self._others:
            self._others[code] = Tracer(self._state, (*self._meter_key[:2], code))
        return self._others[code]

    def listed(self, found: FoundArrival, since: Since | None) -> _Listed | None:
        """Return an arrival as it is listed; None: it is not."""
        selection = self.selection
        if since is not None:
            changed = since.change_of(found, selection.of)
            return None if changed is None else (found._replace(traced=changed[1]), changed[0])
        narrowed = selection.narrowed(found)
        return None if narrowed is None else (narrowed, None)


async def _explain_once(
    replay: Replay,
    organization_id: str,
    query: ExplainQuery,
    list_revisions: ListRevisions,
    *,
    last: bool,
) -> object:
    state = replay.owned.state
    name = (organization_id, query.external_subscription_id)
    meter_key = (*name, query.metric_code)
    shown = _Shown(state, meter_key, query)
    selection, period = shown.selection, shown.selection.period
    if period is None:
        return None
    generations = _generations(state, meter_key)
    revisions = Revisions(state, selection.spans.values(), period)
    await revisions.read(list_revisions, query.since_revision)
    since = _since(state, meter_key, query, revisions)
    page = First[_LogSpot](query.offset + query.limit)
    counts = Counter[str]()
    lists = SingleEvents() if query.per_event or query.days else None

    def take(arrival: Arrival) -> Steps[None]:
        selection.note_turned(state, arrival)
        found = shown.judged(arrival)
        if found is None:
            return
        counted = found.verdict.counted
        if lists is not None and counted is not None and (narrowed := selection.narrowed(found)):
            lists.take(narrowed.traced, counted)
        listed = shown.listed(found, since)
        if listed is not None:
            counts[status_of(listed[0])] += 1
            if _is_asked_for(listed[0], query):
                yield from page.add(_LogSpot(*found.arrival.position, found.arrival.rekeyed_offset))

    def finish() -> Steps[tuple[list[_Explained], AsOf, bool] | None]:
        if _generations(state, meter_key) != generations and not last:
            return None
        cells = yield from _explained(state, meter_key, selection, period, lists)
        return cells, as_of(state), state.refolding(*name)

    finished = await replay.meter_key(meter_key, take, finish, selection.dated_from_ms)
    if finished is None:
        return _CHANGED
    explained, progress, stale = finished
    # Long lists take longer than a turn.
    cells = await to_thread(_with_lists, explained, query)
    # The scan kept where they lie; of a page all may be of the greatest size.
    places = await replay.turn.run(page.listed(query.offset))
    again, lookup = _Shown(state, meter_key, query), replay.owned.shared.raw_lookup
    listed = [
        _with_revisions(await selection.fate_of(state, one[0], lookup), one, revisions)
        async for one in _listed_again(replay, again, places, since)
    ]
    return Explanation(
        external_subscription_id=query.external_subscription_id,
        metric_code=query.metric_code,
        from_ms=period.start_ms,
        to_ms=period.to_ms,
        timezone=period.timezone,
        cells=tuple(cells),
        events=tuple(listed),
        counts=dict(sorted(counts.items())),
        listed_count=page.count,
        as_of=progress,
        stale=stale,
        since_ms=None if since is None else since.cut_ms,
    )


def _is_asked_for(found: FoundArrival, query: ExplainQuery) -> bool:
    """Return True if the status is the one that is asked for, and the reason one of its own."""
    if query.status not in (None, status_of(found)):
        return False
    reasons = (found.reason, *(one.reason for one in found.traced))
    return query.reason is None or query.reason in reasons


async def _listed_again(
    replay: Replay, shown: _Shown, places: Sequence[_LogSpot], since: Since | None
) -> AsyncIterator[_Listed]:
    """Yield the arrivals of a page, read again."""
    for start in range(0, len(places), STEP_ITEMS):
        part = places[start : start + STEP_ITEMS]
        arrivals = await read_again(replay.owned.shared.raw_lookup, [place[1:4] for place in part])
        for place, arrival in zip(part, arrivals, strict=True):
            at_ms, rekeyed_offset = place.append_time_ms, place.rekeyed_offset
            # As it was when it was read first.
            found = shown.judged(
                replace(arrival, append_time_ms=at_ms, rekeyed_offset=rekeyed_offset)
            )
            listed = None if found is None else shown.listed(found, since)
            if listed is not None:
                yield listed
            # It may count for hundreds of charges.
            await replay.turn.pause()


def _since(
    state: Partition, meter_key: MeterKey, query: ExplainQuery, revisions: Revisions
) -> Since | None:
    if query.since_revision is None:
        return None
    # What counted before is folded beside the cells that are recomputed.
    beside = _Shown(state, meter_key, query)
    chosen = beside.selection.of
    return Since(state, revisions, beside.tracer, chosen, query.since_revision)


def _with_revisions(fate: EventFate, listed: _Listed, revisions: Revisions) -> EventFate:
    """Return an event with the revision that each charge has it in, or the cut that will."""
    found, change = listed
    charges = [
        outcome
        if traced.reason is not None or fate.reason == LATER
        else replace(
            outcome, revision=revisions.of_event(traced), shown_ms=revisions.shown_ms(traced)
        )
        for outcome, traced in zip(fate.charges, found.traced, strict=True)
    ]
    return replace(fate, charges=tuple(charges), change=change)


def _explained(
    state: Partition,
    meter_key: MeterKey,
    selection: _Selection,
    period: Period,
    lists: SingleEvents | None,
) -> Steps[list[_Explained]]:
    """Return the cells, each with what its next revision adds."""
    pending = yield from selection.pending(state, meter_key, period)
    found = []
    for each in _explained_cells(state, meter_key, selection, period, pending, lists):
        found.append(each)
        yield
    return found


def _with_lists(explained: Iterable[_Explained], query: ExplainQuery) -> list[ExplainedCell]:
    """Return the cells with the lists that are asked for."""
    cells = []
    for cell, events in explained:
        if events is not None and query.per_event:
            cell = replace(cell, per_event=events.lists(query.offset, query.limit))
        if events is not None and query.days:
            cell = replace(cell, days=events.days(), breakdown=events.breakdown())
        cells.append(cell)
    return cells


def _explained_cells(
    state: Partition,
    meter_key: MeterKey,
    selection: _Selection,
    period: Period,
    to_come: _Pending,
    lists: SingleEvents | None,
) -> Iterable[tuple[ExplainedCell, CellEvents | None]]:
    """Yield each cell, with what its lists are made of if these are asked for."""
    live = {span.key: span for span in state.views.route_of(meter_key).spans}
    for recomputed in selection.spans.values():
        ours = live.get(recomputed.key, recomputed)
        charge = recomputed.fold.charge
        explained = ExplainedPeriod(state, recomputed.key.subscription_id, period, selection.turned)
        selection.shown_until_ms[recomputed.key] = explained.shown_until_ms(charge)
        for named in explained.cells(ours, recomputed):
            if not selection.wants_group(recomputed, *named):
                continue
            figures = explained.figures(ours, recomputed, named)
            if figures is None:
                continue
            events, entry = None, figures.published
            if lists is not None:
                newest, metric = explained.newest(charge), recomputed.fold.metric
                events = lists.of_cell(recomputed, period, newest, metric, *named)
            name = explained.name_of(charge, named)
            change = None if name is None else to_come[1].get(name)
            cell = ExplainedCell(
                charge_id=charge.id,
                charge_code=charge.code,
                filter_values=filter_values_of(recomputed, named[0]),
                grouped_by=group_of(recomputed, *named),
                live=figures.live,
                recomputed=figures.recomputed,
                published=None if entry is None else published_texts(entry),
                revision=None if entry is None else entry.revision,
                pending=None if change is None else _pending(to_come[0], change.row, entry),
            )
            yield cell, events


def _pending(cut_ms: int, row: PendingRow, entry: PublishedCell | None) -> PendingFigures:
    """Return by how much a revision differs from the record before it."""
    units, events = (ZERO, 0) if entry is None else (Decimal(entry.units), entry.events_count)
    delta = exact_difference(row.units, units)
    return PendingFigures(cut_ms, delta, row.events_count - events, row.cause)


def _generations(state: Partition, meter_key: MeterKey) -> dict[object, int]:
    return {span.key: span.generation for span in state.views.route_of(meter_key).spans}
