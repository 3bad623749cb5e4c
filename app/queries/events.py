"""Find, list and read the events that the log holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps, Work
from app.meter.events import EventQuery, ListedEvent, StoredEvent
from app.meter.evidence import Uncounted
from app.meter.listing import Listed
from app.queries.listing import First
from app.queries.replay import Replay, at_places
from app.queries.routing import Routing
from app.queries.trace import first_entry
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.runtime.raw_lookup import TooManyBytes
from app.runtime.scanning.scans import ScanTurn
from app.wire.arrivals import Arrival, SubscriptionKey
from tables.changelogged.presence import EventRanges
from tables.event_index.entries import Entry
from tables.partition.left_out import FROM_THE_FIRST, appended_from

MOST_NAMES: Final = 4_096
"""With more subscriptions all of the partition is read: to seek so many takes 5 ms at once."""

_READ_AT_ONCE = 1024
"""Listed events that are read again together, at most."""
_READ_BYTES = 2 * 1024 * 1024
"""How many bytes the records of more than a step's may have together."""
_GROWS = 4
"""How many times as many are read as before; or as few, if that was too much."""


class Events:
    """Looks events up in the index, and reads them from the log."""

    def __init__(self, engine: Engine, routing: Routing):
        self._engine, self._routing = engine, routing

    async def find_event(self, organization_id: str, transaction_id: str) -> StoredEvent | None:
        """Return the first event with that id among those at home here."""
        async with self._engine.scans.place("event", organization_id) as turn:
            parts = list(self._engine.owned.values())
            found: list[Entry] = []
            for owned in parts:
                steps = first_entry(owned, organization_id, transaction_id)
                if (entry := await turn.run(steps)) is not None:
                    found.append(entry)
            if not found:
                self._routing.check_same(parts)
                return None
            arrival = await self._engine.raw_lookup.find(*min(found)[1:4])
            return _stored(arrival) if isinstance(arrival, Arrival) else None

    async def not_counted(
        self, organization_id: str, reason: str | None, code: str | None
    ) -> list[Uncounted]:
        """Return what was not counted on the partitions here since this worker has them."""
        self._routing.all_owned()
        work = Work("request", "not counted", organization_id)
        steps = _uncounted(list(self._engine.owned.values()), organization_id)
        return [
            one
            for one in await self._engine.shared.turns.run(work, steps)
            if reason in (None, one.reason) and code in (None, one.code)
        ]

    def not_counted_since_ms(self) -> int:
        """Return up to which append time `not_counted` knows nothing; -1: it knows of all."""
        return max((o.state.not_counted.since_ms for o in self._engine.owned.values()), default=-1)

    async def list_events(
        self, organization_id: str, query: EventQuery, offset: int, limit: int
    ) -> Listed[ListedEvent]:
        """Find which events at home here are listed, as the log has them."""
        external_id = query.external_subscription_id
        parts = self._routing.asked(organization_id, external_id)
        newest = First[ListedEvent](offset + limit)
        async with self._engine.scans.place("events", organization_id, external_id or "") as turn:
            for owned in parts:
                await self._list_events(owned, organization_id, query, newest, turn)
            if external_id is None:
                self._routing.check_same(parts)
            return Listed(await turn.run(newest.listed(offset)), newest.count)

    async def _list_events(
        self,
        owned: OwnedPartition,
        organization_id: str,
        query: EventQuery,
        newest: First[ListedEvent],
        turn: ScanTurn,
    ) -> None:
        replay = Replay(owned, self._engine.scan, turn)
        found, names = await turn.run(_sought(owned, organization_id, query))
        since_ms = query.timestamp_from_ms
        first = await replay.first([found], FROM_THE_FIRST if since_ms is None else since_ms)
        if first == (None, None):
            return

        def show(arrivals: Sequence[Arrival]) -> Steps[None]:
            for start in range(0, len(arrivals), STEP_ITEMS):
                part = arrivals[start : start + STEP_ITEMS]
                wanted = [a for a in part if _matches(query, organization_id, a)]
                counting = owned.state.index.find_many([a.identity for a in wanted])
                for arrival, entry in zip(wanted, counting, strict=True):
                    if entry is not None and entry[1:5] == arrival.place:
                        yield from newest.add(_listed(arrival))
                yield

        codes = None if query.code is None else [query.code]
        async with replay.reading(show, names, first, codes=codes) as reading:
            await reading.so_far()

    async def read_events(
        self, events: Sequence[ListedEvent]
    ) -> AsyncGenerator[Sequence[StoredEvent], None]:
        """Read listed events again, and hand them out some at a time.

        More are read at once while they are small: all of a page may be of the greatest size.
        """
        at, count, most = 0, STEP_ITEMS, _READ_AT_ONCE
        while at < len(events):
            part = events[at : at + count]
            places = [event[2:5] for event in part]
            most_bytes = None if count == STEP_ITEMS else _READ_BYTES
            try:
                found = await self._engine.raw_lookup.find_many(places, most_bytes=most_bytes)
            except TooManyBytes:
                count = most = max(STEP_ITEMS, count // _GROWS)
                continue
            pairs = list(zip(at_places(places, found), part, strict=True))
            for start in range(0, len(pairs), STEP_ITEMS):
                yield [
                    _stored(replace(arrival, append_time_ms=event.append_time_ms))
                    for arrival, event in pairs[start : start + STEP_ITEMS]
                ]
            at += len(part)
            count = min(count * _GROWS, most)


def _stored(arrival: Arrival) -> StoredEvent:
    event = arrival.event
    return StoredEvent(
        transaction_id=event.transaction_id,
        code=event.code,
        external_subscription_id=event.external_subscription_id,
        timestamp_ms=arrival.timestamp_ms,
        properties=event.properties,
        precise_total_amount_cents=event.precise_total_amount_cents,
        created_at_ms=arrival.append_time_ms,
    )


def _matches(query: EventQuery, organization_id: str, arrival: Arrival) -> bool:
    name = arrival.name
    since_ms, until_ms = query.timestamp_from_ms, query.timestamp_to_ms
    return (
        name[0] == organization_id
        and query.external_subscription_id in (None, name[1])
        and query.code in (None, arrival.event.code)
        and (since_ms is None or arrival.timestamp_ms >= since_ms)
        and (until_ms is None or arrival.timestamp_ms <= until_ms)
    )


def _listed(arrival: Arrival) -> ListedEvent:
    return ListedEvent(
        -arrival.timestamp_ms,
        arrival.event.transaction_id,
        arrival.raw_partition,
        arrival.raw_offset,
        arrival.array_index,
        arrival.append_time_ms,
    )


def _sought(
    owned: OwnedPartition, organization_id: str, query: EventQuery
) -> Steps[tuple[EventRanges, list[SubscriptionKey]]]:
    """Return where the events of a listing may lie, and whose they may be; []: anybody's."""
    ranges, external_id = owned.state.event_ranges, query.external_subscription_id
    found, names = EventRanges(), list[SubscriptionKey]()
    own: Iterable[tuple[SubscriptionKey, Mapping[str, EventRanges]] | None]
    if external_id is None:
        own = ranges.items_of(organization_id)
    else:
        asked = (organization_id, external_id)
        own = [(asked, ranges.codes_of(asked))]
    for number, one in enumerate(own, 1):
        name, codes = one or (None, {})
        for code, entry in codes.items():
            if query.code in (None, code):
                found.merge(entry)
        # A copy that is listed may have another code.
        if name and (external_id is not None or any(_may_have(e, query) for e in codes.values())):
            names.append(name)
        if number % STEP_ITEMS == 0:
            yield
    if ranges.rest is not None:
        found.merge(ranges.rest)
        if external_id is None and _may_have(ranges.rest, query):
            # Whose these are nobody knows.
            return found, []
    if not names:
        return EventRanges(), []
    return found, names if len(names) <= MOST_NAMES else []


def _may_have(entry: EventRanges, query: EventQuery) -> bool:
    """Return whether events of an entry, or copies of these, may be dated as a listing asks."""
    since_ms = query.timestamp_from_ms
    if since_ms is None or entry.early_ms >= since_ms:
        return True
    return entry.appended_ms >= appended_from(since_ms)


def _uncounted(
    partitions: Sequence[OwnedPartition], organization_id: str
) -> Steps[list[Uncounted]]:
    found: list[Uncounted] = []
    for owned in partitions:
        for number, one in enumerate(owned.state.not_counted.of(organization_id), 1):
            if one is not None:
                found.append(one)
            if number % STEP_ITEMS == 0:
                yield
    return found
