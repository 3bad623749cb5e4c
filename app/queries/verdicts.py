"""Verdicts: what became of events by their ids, from the event index; nothing is scanned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from msgspec.structs import replace

from app.meter.evidence import EventFate, KnownEvent
from app.queries.trace import FindRaw, fate_of, judged
from app.runtime.owned import OwnedPartition
from app.wire.arrivals import Arrival, Arrived, SubscriptionKey
from app.wire.identity import event_id
from tables.reading.tracing import Tracer

FindManyRaw = Callable[
    [Iterable[tuple[int, int, int]]], Awaitable[Mapping[tuple[int, int, int], Arrived]]
]


async def verdicts(
    owned: OwnedPartition,
    find_many: FindManyRaw,
    find_raw: FindRaw,
    wanted: Sequence[tuple[SubscriptionKey, str]],
) -> list[KnownEvent | None]:
    """Return what became of the first event of each (subscription, transaction_id).

    None: none was folded, or the raw topic has it no longer.
    """
    state = owned.state
    ids = [event_id(*name, transaction_id) for name, transaction_id in wanted]
    entries = state.index.find_many(ids)
    arrivals = await find_many(entry[1:4] for entry in entries if entry is not None)
    tracers: dict[tuple[SubscriptionKey, str], Tracer] = {}
    found: list[KnownEvent | None] = []
    for (name, _), entry in zip(wanted, entries, strict=True):
        arrival = None if entry is None else arrivals.get(entry[1:4])
        if entry is None or not isinstance(arrival, Arrival):
            found.append(None)
            continue

        def tracer_of(code: str, name: SubscriptionKey = name) -> Tracer:
            if (name, code) not in tracers:
                tracers[name, code] = Tracer(state, (*name, code))
            return tracers[name, code]

        placed = replace(
            arrival, append_time_ms=entry.append_time_ms, rekeyed_offset=entry.rekeyed_offset
        )
        one = judged(state, placed, tracer_of)
        fate: EventFate | None = None if one is None else await fate_of(state, one, find_raw)
        found.append(None if fate is None else KnownEvent(fate, arrival.event.properties))
    return found
