"""Explain, trace, series, other groups: what a subscription's events came to, read again.

All scan the subscription's home from where presence says its events begin. They hold little:
explain keeps where the first events up to the listed page lie, and reads that page again; trace
keeps one event, series a figure a window.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cache, partial
from heapq import merge
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from app.definitions.timeline import Period, Timeline
from app.limits import PER_PAGE
from app.meter.errors import BeyondRetention
from app.meter.evidence import (
    CellFigures,
    ChargeOutcome,
    ChargeUsageSeries,
    EventFate,
    ExplainedCell,
    ExplainQuery,
    Explanation,
    Place,
    UsageSeries,
    WindowUsage,
)
from app.meter.usage import AsOf, ChargeInForce, PeriodUsage, Regrouping
from app.owned import OwnedPartition
from app.runtime.scans import Scanner, Turn
from app.turns import STEP_ITEMS, Steps, in_steps
from app.wire.arrivals import Arrived
from app.wire.identity import event_id, same_body
from tables.cells import Span
from tables.dedupe import Entry
from tables.fold import Arrival
from tables.partition import Pair, Partition
from tables.presence import SubscriptionName, first_offsets
from tables.published import PublishedCell
from tables.reading import as_of, grouped_by
from tables.regrouping import Regrouped
from tables.series import Series, SeriesWindow
from tables.tracing import Traced, Tracer, Verdict, verdict
from tables.verification import figure_texts

_SORTED_AT_ONCE = 4_096

T = TypeVar("T")

_ATTEMPTS = 3
"""A refold that is swapped in meanwhile has other definitions: then everything is read again."""

FindRaw = Callable[[int, int, int], Awaitable[Arrived | None]]


class _Place(NamedTuple):
    """Where an explained arrival lies: in the log, and as it was read."""

    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int
    rekeyed_offset: int


class _Found(NamedTuple):
    """One arrival, before it is worded."""

    arrival: Arrival
    verdict: Verdict
    traced: tuple[Traced, ...]
    reason: str | None


# Explain


class _Selection:
    """The period and the charges that are explained."""

    def __init__(self, tracer: Tracer, query: ExplainQuery):
        self.query = query
        self.spans: dict[int, Span] = {}
        """By identity."""
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

    def _wants_charge(self, span: Span) -> bool:
        charge, query = span.fold.charge, self.query
        return query.charge_id in (None, charge.id) and query.charge_code in (None, charge.code)

    def covers(self, timestamp_ms: int) -> bool:
        """Whether an event of that time is of the period, or of the history it carries on."""
        period = self.period
        if period is None or timestamp_ms >= period.end_ms:
            return False
        return self.recurring or timestamp_ms >= period.start_ms

    def of(self, traced: Iterable[Traced]) -> tuple[Traced, ...]:
        """Those outcomes that shape the explained cells."""
        return tuple(
            one
            for one in traced
            if id(one.span) in self.spans
            and self.covers(one.layer.start_ms)
            and (one.reason is not None or self.wants_group(one.span, one.filter_id, one.groups))
        )

    def wants_group(
        self, span: Span, filter_id: str | None, groups: tuple[str | None, ...]
    ) -> bool:
        """Whether a cell has the group values that are asked for."""
        values = dict(_grouped_by(span, filter_id, groups))
        return all(values.get(key) == text for key, text in self.query.group.items())


class First(Generic[T]):
    """The first of many in their order, no more than are listed: memory may not hold them all."""

    def __init__(self, most: int):
        self._most = most
        self._first: list[T] = []
        """In order."""
        self._more: list[T] = []
        self.count = 0
        """Of all that were added."""

    def add(self, one: T) -> Steps[None]:
        """One more, in any order."""
        self.count += 1
        if len(self._first) < self._most or one < self._first[-1]:  # type: ignore[operator]
            self._more.append(one)
            if len(self._more) > self._most + _SORTED_AT_ONCE:
                yield from self._merge()

    def _merge(self) -> Steps[None]:
        """Sort by parts and merge: to sort a hundred thousand would take too long a step."""
        parts: list[list[T]] = [self._first]
        for start in range(0, len(self._more), _SORTED_AT_ONCE):
            parts.append(sorted(self._more[start : start + _SORTED_AT_ONCE]))  # type: ignore[type-var]
            yield
        self._more, merged = [], list[T]()
        for one in islice(merge(*parts), self._most):  # type: ignore[type-var]
            merged.append(one)
            if len(merged) % STEP_ITEMS == 0:
                yield
        self._first = merged

    def listed(self, offset: int) -> Steps[list[T]]:
        """From the offset on."""
        yield from self._merge()
        return self._first[offset:]


async def explain(
    owned: OwnedPartition,
    scanner: Scanner,
    find_raw: FindRaw,
    turn: Turn,
    organization_id: str,
    query: ExplainQuery,
) -> Explanation | None:
    """How the figures of a period come about; None when no period holds the instant.

    The live figures are those of the moment at which the last event was read.
    """
    for attempt in range(_ATTEMPTS):
        found = await _explain_once(
            owned, scanner, find_raw, turn, organization_id, query, attempt + 1 == _ATTEMPTS
        )
        if found is not _CHANGED:
            break
    return found if isinstance(found, Explanation) else None


_CHANGED = object()


async def _explain_once(
    owned: OwnedPartition,
    scanner: Scanner,
    find_raw: FindRaw,
    turn: Turn,
    organization_id: str,
    query: ExplainQuery,
    last: bool,
) -> object:
    table = owned.table
    name = (organization_id, query.external_subscription_id)
    pair = (*name, query.metric_code)
    tracer = Tracer(table, pair)
    selection = _Selection(tracer, query)
    period = selection.period
    if period is None:
        return None
    generations = _generations(table, pair)
    page = First[_Place](query.offset + query.limit)
    counts = Counter[str]()

    def judged(arrival: Arrival, by: Tracer, selected: _Selection) -> _Found | None:
        found = _judged(table, arrival, lambda code: by if code == pair[2] else None)
        if found is None or not _concerns(selected, found):
            return None
        return found._replace(traced=selected.of(found.traced))

    def take(arrival: Arrival) -> Steps[None]:
        found = judged(arrival, tracer, selection)
        if found is not None:
            counts[_status(found)] += 1
            yield from page.add(_Place(*found.arrival.position, found.arrival.rekeyed_offset))

    def finish() -> Steps[tuple[list[ExplainedCell], AsOf, bool] | None]:
        if _generations(table, pair) != generations and not last:
            return None
        cells = []
        for cell in _explained_cells(table, pair, selection, period):
            cells.append(cell)
            yield
        return cells, as_of(table), table.refolding(*name)

    finished = await _read_all(owned, scanner, turn, pair, take, finish)
    if finished is None:
        return _CHANGED
    cells, progress, stale = finished
    listed: list[EventFate] = []
    # The scan kept where they lie; of a page all may be of the greatest size.
    places = await turn.run(page.listed(query.offset))
    again = Tracer(table, pair)
    selected = _Selection(again, query)
    for start in range(0, len(places), STEP_ITEMS):
        part = places[start : start + STEP_ITEMS]
        for arrival in await _read_again(owned, part):
            found = judged(arrival, again, selected)
            if found is not None:
                listed.append(await _fate(found, find_raw))
    return Explanation(
        external_subscription_id=query.external_subscription_id,
        metric_code=query.metric_code,
        from_ms=period.start_ms,
        to_ms=period.to_ms,
        timezone=period.timezone,
        cells=tuple(cells),
        events=tuple(listed),
        counts=dict(sorted(counts.items())),
        as_of=progress,
        stale=stale,
    )


async def _read_again(owned: OwnedPartition, places: Sequence[_Place]) -> list[Arrival]:
    """Explained arrivals, as they were when they were read first."""
    found = await owned.shared.find_raw([place[1:4] for place in places])
    arrivals = []
    for place in places:
        arrival = found.get(place[1:4])
        if not isinstance(arrival, Arrival):
            raise BeyondRetention(f"partition {place.raw_partition} has no offset {place[2]} now")
        arrivals.append(
            replace(
                arrival, append_time_ms=place.append_time_ms, rekeyed_offset=place.rekeyed_offset
            )
        )
    return arrivals


def _concerns(selection: _Selection, found: _Found) -> bool:
    """Whether an arrival belongs into the explanation at all."""
    counted = found.verdict.counted or found.arrival
    if selection.of(found.traced):
        return True
    if any(one.reason is None for one in found.traced):
        return False  # counted, but in another group, charge or period
    return selection.covers(counted.timestamp_ms)


def _explained_cells(
    table: Partition, pair: Pair, selection: _Selection, period: Period
) -> Iterable[ExplainedCell]:
    live = {span.key: span for span in table.route_of(pair).spans}
    subscriptions = table.definitions.subscription_by_id
    for recomputed in selection.spans.values():
        ours = live.get(recomputed.key, recomputed)
        names = dict.fromkeys((*ours.cells_of(period), *recomputed.cells_of(period)))
        charge = recomputed.fold.charge
        known = table.published.find((recomputed.key.subscription_id, period.start_ms))
        subscription = subscriptions(recomputed.key.subscription_id, period.fixed_at_ms)
        in_force = None if subscription is None else table.charges_of(subscription, period)
        for filter_id, groups in names:
            if not selection.wants_group(recomputed, filter_id, groups):
                continue
            entry = None
            if known is not None and in_force is not None:
                entry = known.cells.get(in_force.name_of(charge, filter_id, groups))
            yield ExplainedCell(
                charge_id=charge.id,
                charge_code=charge.code,
                filter_values=_filter_values(recomputed, filter_id),
                grouped_by=_grouped_by(recomputed, filter_id, groups),
                live=figure_texts(ours.figures(period, filter_id, groups)),
                recomputed=figure_texts(recomputed.figures(period, filter_id, groups)),
                published=None if entry is None else _published_texts(entry),
                revision=None if entry is None else entry.revision,
            )


def _published_texts(entry: PublishedCell) -> CellFigures:
    return CellFigures(
        units=entry.units,
        prorated_units=entry.prorated_units,
        total_aggregated_units=entry.total_aggregated_units,
        precise_total_amount_cents=entry.precise_total_amount_cents,
        events_count=entry.events_count,
        digest=entry.digest.hex(),
    )


def _generations(table: Partition, pair: Pair) -> dict[object, int]:
    return {span.key: span.generation for span in table.route_of(pair).spans}


# Reading


async def _read_all(
    owned: OwnedPartition,
    scanner: Scanner,
    turn: Turn,
    pair: Pair,
    take: Callable[[Arrival], Steps[None]],
    finish: Callable[[], Steps[T]],
) -> T:
    """Show `take` every arrival that may count as the pair's, up to the live fold.

    `finish` is asked while the live fold waits exactly where the last arrival was read.
    """
    name, code = pair[:2], pair[2]
    record = owned.table.record
    codes = owned.table.presence.codes.get(name, {})
    # An amend may have given any event of the subscription this code.
    corrected = owned.table.corrections.touches(name)
    entries = [entry for known, entry in codes.items() if corrected or known == code]
    if not entries and owned.table.presence.rest is not None:
        entries.append(owned.table.presence.rest)

    def show(arrivals: Sequence[Arrival]) -> Steps[None]:
        for number, arrival in enumerate(arrivals, 1):
            if arrival.name == name and (corrected or arrival.event.code == code):
                yield from take(arrival)
            if number % STEP_ITEMS == 0:
                yield

    async with scanner(owned) as scan:
        scan.seek_only([name])
        scan.start(record, *first_offsets(entries))
        await turn.near(scan, record, show)
        async with owned.lock:
            await turn.rest(scan, record, show)
            return await turn.run(finish(), urgent=True)


# Trace


async def trace(
    owned: OwnedPartition,
    scanner: Scanner,
    find_raw: FindRaw,
    turn: Turn,
    name: SubscriptionName,
    transaction_id: str,
    starts: tuple[int, int],
) -> list[EventFate]:
    """Every arrival of an event id in order of position; [] when there is none.

    Of one that was sent over and over, the first thousand that are read.

    `starts`: where raw and rekeyed begin, for an id that was never taken.
    """
    table = owned.table
    entry = table.index.find(event_id(*name, transaction_id))
    offsets: tuple[int | None, int | None] = starts
    if entry is not None:
        offsets = first_offsets(table.presence.entries_of(name))
    tracers: dict[str, Tracer] = {}

    def tracer_of(code: str) -> Tracer:
        if code not in tracers:
            tracers[code] = Tracer(table, (*name, code))
        return tracers[code]

    found: list[_Found] = []

    def show(arrivals: Sequence[Arrival]) -> None:
        for arrival in arrivals:
            if arrival.name == name and arrival.event.transaction_id == transaction_id:
                judged = _judged(table, arrival, tracer_of)
                if judged is not None and len(found) < PER_PAGE:
                    found.append(judged)

    async with scanner(owned) as scan:
        scan.seek_only([name])
        scan.start(table.record, *offsets)
        # As far as the live fold was then: there may be no end of what comes meanwhile.
        async for part in scan.read(msgspec.structs.replace(table.record), turn):
            await turn.run(in_steps(part, show))
    found.sort(key=lambda one: one.arrival.position)
    return [await _fate(one, find_raw) for one in found]


# What became of an arrival


def _judged(
    table: Partition, arrival: Arrival, tracer_of: Callable[[str], Tracer | None]
) -> _Found | None:
    """The fate of an arrival; None when there is no tracer for the code it counts under."""
    standing = verdict(table, arrival)
    counted = standing.counted
    tracer = tracer_of((counted or arrival).event.code)
    if tracer is None:
        return None
    if counted is None:
        return _Found(arrival, standing, (), standing.reason)
    traced = tuple(tracer.trace(counted, standing.corrected_ms))
    reason = None if traced else tracer.unrouted(counted)
    return _Found(arrival, standing, traced, reason)


def _status(found: _Found) -> str:
    if found.verdict.standing != "taken":
        return found.verdict.standing
    counts = any(one.reason is None for one in found.traced)
    return "counted" if counts else "ignored"


async def _fate(found: _Found, find_raw: FindRaw) -> EventFate:
    arrival, standing = found.arrival, found.verdict
    counted = standing.counted or arrival
    status, reason = _status(found), found.reason
    if status == "ignored" and reason is None:
        reason = next(one.reason for one in found.traced)
    winner = standing.winner
    if winner is not None:
        reason = await _duplicate_kind(arrival, standing, winner, find_raw)
    return EventFate(
        transaction_id=arrival.event.transaction_id,
        external_subscription_id=arrival.event.external_subscription_id,
        code=counted.event.code,
        timestamp_ms=counted.timestamp_ms,
        place=Place(*counted.position),
        rekeyed_offset=None if counted.rekeyed_offset < 0 else counted.rekeyed_offset,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        amended=counted.event is not arrival.event,
        duplicate_of=None if winner is None else Place(*winner[:4]),
        charges=tuple(_outcome(one) for one in found.traced),
    )


async def _duplicate_kind(
    arrival: Arrival, standing: Verdict, winner: Entry, find_raw: FindRaw
) -> str:
    if standing.same_bytes:
        return "identical"
    first = await find_raw(*winner[1:4])
    same = isinstance(first, Arrival) and same_body(first.event, arrival.event)
    return "identical" if same else "conflicting"


def _outcome(traced: Traced) -> ChargeOutcome:
    charge, period = traced.span.fold.charge, traced.layer.period
    counts = traced.reason is None
    return ChargeOutcome(
        charge_id=charge.id,
        charge_code=charge.code,
        metric_code=traced.span.fold.metric.code,
        from_ms=None if period is None else period.start_ms,
        to_ms=None if period is None else period.end_ms,
        reason=traced.reason,
        filter_values=_filter_values(traced.span, traced.filter_id),
        grouped_by=_grouped_by(traced.span, traced.filter_id, traced.groups),
        value=traced.value if counts else None,
        cut_ms=traced.cut_ms or None,
    )


def _grouped_by(
    span: Span, filter_id: str | None, groups: tuple[str | None, ...]
) -> tuple[tuple[str, str | None], ...]:
    return grouped_by(ChargeInForce(span.fold.charge, span.fold.metric), filter_id, groups)


def _filter_values(span: Span, filter_id: str | None) -> dict[str, tuple[str, ...]] | None:
    for charge_filter in span.fold.charge.filters:
        if charge_filter.id == filter_id:
            return dict(charge_filter.values)
    return None


# Other groups


async def regrouped_usage(
    owned: OwnedPartition,
    scanner: Scanner,
    turn: Turn,
    usage: PeriodUsage,
    wanted: Regrouping,
    at_ms: int,
) -> PeriodUsage:
    """Usage of the running period, regrouped; events are read only where the cells do not tell."""
    table, subscription = owned.table, usage.subscription
    regrouped = Regrouped(table, usage, wanted, at_ms)

    def take(arrival: Arrival, code: str) -> Steps[None]:
        counted = verdict(table, arrival).counted
        # With corrections every reading shows the events of all codes.
        if counted is not None and counted.event.code == code:
            regrouped.feed(counted)
        yield from ()

    for code in regrouped.to_read:
        pair = (subscription.organization_id, subscription.external_id, code)
        await _read_all(owned, scanner, turn, pair, partial(take, code=code), _nothing)
    return regrouped.usage()


def _nothing() -> Steps[None]:
    """Nothing is asked at the end."""
    yield from ()


# Series


async def usage_series(
    owned: OwnedPartition,
    scanner: Scanner,
    turn: Turn,
    pair: Pair,
    windows: Sequence[tuple[int, int]],
    timezone: str,
) -> UsageSeries:
    """Usage of one metric of one subscription in each window."""
    table = owned.table
    series = Series(table, pair, [SeriesWindow(*window) for window in windows], timezone)

    def take(arrival: Arrival) -> Steps[None]:
        counted = verdict(table, arrival).counted
        if counted is not None and counted.event.code == pair[2]:
            series.feed(counted)
        yield from ()

    def finish() -> Steps[AsOf]:
        yield from ()
        return as_of(table)

    progress = await _read_all(owned, scanner, turn, pair, take, finish)
    charges = series.values()
    return UsageSeries(
        external_subscription_id=pair[1],
        metric_code=pair[2],
        aggregation_type=charges[0].metric.aggregation_type if charges else None,
        charges=tuple(
            ChargeUsageSeries(
                one.charge.id,
                one.charge.code,
                tuple(
                    WindowUsage(
                        value.window.start_ms,
                        value.window.end_ms,
                        value.units,
                        value.total_aggregated_units,
                        value.events_count,
                    )
                    for value in one.values
                ),
            )
            for one in charges
        ),
        as_of=progress,
    )
