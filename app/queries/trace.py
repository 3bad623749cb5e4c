"""Trace: what became of every arrival of an event id, or of the first ones of many ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple

from msgspec.structs import replace

from app.bounds.limits import PER_PAGE
from app.bounds.turns import STEP_ITEMS, Steps
from app.kernel import event_ids
from app.meter.evidence import ChargeOutcome, EventFate, EventInstant, KnownEvent, Place
from app.meter.usage import ChargeInForce
from app.numbers import plain
from app.queries.replay import Replay
from app.runtime.partition.owned import OwnedPartition
from app.runtime.raw_lookup import RawLookup
from app.runtime.scanning.scans import ScanTurn
from app.wire.arrivals import Arrival, SubscriptionKey
from app.wire.identity import event_id, same_body
from app.wire.instant_records import instant_id
from app.wire.usage_records import record_id
from tables.cells.cell import Span
from tables.changelogged.presence import first_offsets
from tables.event_index.entries import Entry
from tables.partition.partition import Partition
from tables.reading.tracing import Traced, TracedArrival, Tracer, verdict
from tables.reading.usage import grouped_by

ASKED_AT_ONCE = 2_048
"""Subscriptions asked for an event in one step, of about half a millisecond."""


class FoundArrival(NamedTuple):
    """One arrival, before it is worded."""

    arrival: Arrival
    verdict: TracedArrival
    traced: tuple[Traced, ...]
    reason: str | None


async def trace(
    replay: Replay,
    name: SubscriptionKey,
    transaction_id: str,
    starts: tuple[int, int],
) -> list[EventFate]:
    """Return every arrival of an event id in order of position; [] when there is none.

    If it was sent over and over, these are the first thousand that are read.

    `starts`: where raw and rekeyed begin, for an id that was never taken.
    """
    state = replay.owned.state
    entry = state.index.find(event_id(*name, transaction_id))
    offsets: tuple[int | None, int | None] = starts
    if entry is not None:
        offsets = first_offsets(state.event_ranges.entries_of(name))

    @cache
    def tracer_of(code: str) -> Tracer:
        return Tracer(state, (*name, code))

    found: list[FoundArrival] = []

    def show(arrivals: Sequence[Arrival]) -> Steps[None]:
        for number, arrival in enumerate(arrivals, 1):
            if arrival.name == name and arrival.event.transaction_id == transaction_id:
                one = judged(state, arrival, tracer_of)
                if one is not None and len(found) < PER_PAGE:
                    found.append(one)
                # It may count for hundreds of charges.
                yield
            elif number % STEP_ITEMS == 0:
                yield

    async with replay.reading(show, [name], offsets, transaction_id=transaction_id) as reading:
        await reading.so_far()
    found.sort(key=lambda one: one.arrival.position)
    fates = []
    for one in found:
        fates.append(await fate_of(state, one, replay.owned.shared.raw_lookup))
        # Each may count for hundreds of charges.
        await replay.turn.pause()
    return fates


def judged(
    state: Partition, arrival: Arrival, tracer_of: Callable[[str], Tracer | None]
) -> FoundArrival | None:
    """Judge an arrival; return None when there is no tracer for the code it counts under."""
    standing = verdict(state, arrival)
    counted = standing.counted
    tracer = tracer_of((counted or arrival).event.code)
    if tracer is None:
        return None
    if counted is None:
        return FoundArrival(arrival, standing, (), standing.reason)
    traced = tuple(tracer.trace(counted, standing.corrected_ms))
    reason = None if traced else tracer.unrouted(counted)
    return FoundArrival(arrival, standing, traced, reason)


def status_of(found: FoundArrival) -> str:
    """Return what an answer calls the fate of an arrival."""
    if found.verdict.standing != "taken":
        return found.verdict.standing
    counts = any(one.reason is None for one in found.traced)
    return "counted" if counts else "ignored"


async def fate_of(state: Partition, found: FoundArrival, lookup: RawLookup) -> EventFate:
    """Word what became of an arrival."""
    arrival, standing = found.arrival, found.verdict
    counted = standing.counted or arrival
    status, reason = status_of(found), found.reason
    if status == "ignored" and reason is None:
        reason = next(one.reason for one in found.traced)
    winner = standing.winner
    correction = None if winner else state.corrected.shown(arrival.identity, arrival)
    if winner is not None:
        reason = await _duplicate_kind(arrival, standing, winner, lookup)
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
        corrected_by=None if correction is None else Place(*correction),
        duplicate_of=None if winner is None else Place(*winner[:4]),
        charges=tuple(_outcome(one) for one in found.traced),
        instants=tuple(_instants(state, arrival)) if winner is None else (),
    )


def _instants(state: Partition, arrival: Arrival) -> Iterator[EventInstant]:
    """Yield what the event that counts of an id billed at once."""
    for figure in state.instants.figures(arrival.identity):
        chain = state.instants.chain(figure.cell_id)
        instant, prorated = instant_id(figure.cell_id, figure.transaction_id), figure.prorated_units
        yield EventInstant(
            instant_id=instant,
            record_id=record_id(instant, figure.revision),
            cell_id=figure.cell_id,
            charge_id="" if chain is None else chain.charge_id,
            revision=figure.revision,
            units=plain(figure.units),
            prorated_units=None if prorated is None else plain(prorated),
            counts=figure.counts,
            cut_ms=figure.decided_ms,
        )


async def _duplicate_kind(
    arrival: Arrival, standing: TracedArrival, winner: Entry, lookup: RawLookup
) -> str:
    if standing.same_bytes:
        return "identical"
    first = await lookup.find(*winner[1:4])
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
        filter_values=filter_values_of(traced.span, traced.filter_id),
        grouped_by=group_of(traced.span, traced.filter_id, traced.groups),
        value=traced.value if counts else None,
        cut_ms=traced.cut_ms or None,
    )


def group_of(
    span: Span, filter_id: str | None, groups: tuple[str | None, ...]
) -> tuple[tuple[str, str | None], ...]:
    """Return the group keys of a cell with their values."""
    return grouped_by(ChargeInForce(span.fold.charge, span.fold.metric), filter_id, groups)


def filter_values_of(span: Span, filter_id: str | None) -> dict[str, tuple[str, ...]] | None:
    """Return the values of a filter; None for the default bucket."""
    for charge_filter in span.fold.charge.filters:
        if charge_filter.id == filter_id:
            return dict(charge_filter.values)
    return None


def first_entry(
    owned: OwnedPartition, organization_id: str, transaction_id: str
) -> Steps[Entry | None]:
    """Find the first event of an id, whichever subscription of an organization it is of.

    It may be of each of them, which memory has no room for.
    """
    first: Entry | None = None
    for _, entries in _entries(owned, organization_id, transaction_id):
        first = min(entries.values() if first is None else [first, *entries.values()], default=None)
        yield
    return first


def entries_of(
    owned: OwnedPartition, organization_id: str, transaction_id: str
) -> Steps[list[tuple[Entry, SubscriptionKey]]]:
    """Find an event id in the index, under every subscription of an organization."""
    found = list[tuple[Entry, SubscriptionKey]]()
    name_in = owned.state.event_ranges.codes.name_in
    for rows, entries in _entries(owned, organization_id, transaction_id):
        found += [(entries[place], name_in(rows[place])) for place in sorted(entries)]
        yield
    return found


def _entries(
    owned: OwnedPartition, organization_id: str, transaction_id: str
) -> Iterator[tuple[list[bytes], dict[int, Entry]]]:
    """Yield rows of subscriptions, some at a time, and entries of an id by places among them."""
    state = owned.state
    start, parts = state.event_ranges.rows_of(organization_id, ASKED_AT_ONCE)
    for rows in parts:
        ids = event_ids(rows, start, organization_id, transaction_id)
        entries = state.index.find_packed(ids)
        yield [row for row in rows if row.startswith(start)] if entries else [], entries


async def verdicts(
    owned: OwnedPartition, wanted: Sequence[tuple[SubscriptionKey, str]], turn: ScanTurn
) -> list[KnownEvent | None]:
    """Return what became of the first event of each (subscription, transaction_id).

    None: none was folded, or the raw topic has it no longer.
    """
    state, lookup = owned.state, owned.shared.raw_lookup
    ids = [event_id(*name, transaction_id) for name, transaction_id in wanted]
    entries = state.index.find_many(ids)
    arrivals = await lookup.find_many([entry[1:4] for entry in entries if entry is not None])
    found: list[KnownEvent | None] = []

    @cache
    def tracer_of(name: SubscriptionKey, code: str) -> Tracer:
        return Tracer(state, (*name, code))

    for (name, _), entry in zip(wanted, entries, strict=True):
        arrival = None if entry is None else arrivals.get(entry[1:4])
        if entry is None or not isinstance(arrival, Arrival):
            found.append(None)
            continue

        placed = replace(
            arrival, append_time_ms=entry.append_time_ms, rekeyed_offset=entry.rekeyed_offset
        )
        one = judged(state, placed, partial(tracer_of, name))
        fate: EventFate | None = None if one is None else await fate_of(state, one, lookup)
        found.append(None if fate is None else KnownEvent(fate, arrival.event.properties))
        await turn.pause()
    return found
