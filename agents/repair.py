"""Repair: corrections put in force by a difference, from the one event that each is about.

The events are read again where the index says that they lie. What cannot be told from them is left
to a refold of the subscription.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice, repeat

from agents.loop import beginning_again, whenever_wanted
from app.bounds.turns import Work
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey
from tables.closing.close import next_cut
from tables.event_index.entries import Entry
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.repair import Original, Repair

AGAIN_S = 1.0
"""After this time it is tried again to repair what is left."""

MOST_EVENTS = 500
"""Read again at a time."""


async def repair(owned: OwnedPartition) -> None:
    """Repair what is queued until cancelled."""

    async def repair_all() -> None:
        while queue.repairs and not owned.abandoned:
            await repair_queued(owned)

    queue = owned.refold_queue
    work = partial(beginning_again, owned, "A repair begins again: %r", repair_all)
    await whenever_wanted(
        owned, queue.repairs_wanted, lambda: AGAIN_S if queue.repairs else None, work
    )


async def repair_queued(owned: OwnedPartition) -> None:
    """Repair some events of those subscriptions that were queued first.

    Who is under a refold for corrections is looked at when that is done.
    """
    queue, state = owned.refold_queue, owned.state
    entries: dict[SubscriptionKey, dict[bytes, Entry | None]] = {}
    async with owned.lock:
        room = MOST_EVENTS
        for name in list(queue.repairs):
            if queue.defer_repair(name):
                continue
            job = Repair(state, name, next_cut(state, name))
            if not job.is_possible:
                _leave_to_refold(owned, name)
                continue
            ids = list(dict.fromkeys(islice(job.turning(), room)))
            # Of whom nothing is folded no event is read; it may be gone for good.
            found = state.index.find_many(ids) if job.is_folded else repeat(None, len(ids))
            entries[name] = dict(zip(ids, found, strict=True))
            room -= len(ids)
            if room <= 0:
                break
    originals = await _read(owned, entries)
    for name in entries:
        await _repair(owned, name, originals.get(name))
    owned.next_flush.note_moved()
    owned.cuts.woken.set()


async def _read(
    owned: OwnedPartition, entries: Mapping[SubscriptionKey, Mapping[bytes, Entry | None]]
) -> dict[SubscriptionKey, dict[bytes, Original | None]]:
    """Return the events, None for one that nobody knows; without subscriptions that lack any."""
    places = {entry[1:4] for of in entries.values() for entry in of.values() if entry is not None}
    found = await owned.shared.raw_lookup.find_many(places, "correction") if places else {}
    originals: dict[SubscriptionKey, dict[bytes, Original | None]] = {}
    for name, of in entries.items():
        read: dict[bytes, Original | None] = {}
        for identity, entry in of.items():
            arrival = None if entry is None else found.get(entry[1:4])
            if entry is None:
                read[identity] = None
            elif isinstance(arrival, Arrival) and arrival.identity == identity:
                read[identity] = Original.of(entry, arrival)
        if len(read) == len(of):
            originals[name] = read
    return originals


async def _repair(
    owned: OwnedPartition, name: SubscriptionKey, originals: dict[bytes, Original | None] | None
) -> None:
    state, work = owned.state, Work("refold", "repair", *name, urgent=True)
    async with owned.work.shaping, owned.lock:
        queue = owned.refold_queue
        if name not in queue.repairs or owned.abandoned or queue.defer_repair(name):
            return
        # A cut may have come in between.
        job = Repair(state, name, next_cut(state, name))
        if originals is None or not job.is_possible:
            # If an event is gone, a refold tells so.
            _leave_to_refold(owned, name)
            return
        with owned.life.change():
            await owned.shared.turns.run(work, state.packing.unpacking(name))
        missing = job.missing_members(originals)
        if missing:
            await owned.members.prefetch(missing)
        with owned.life.change():
            left = await owned.shared.turns.run(work, job.repairing(originals))
            queue.want_displaced()
        names = {*state.cuts.take_late_names(), name}
        if left is None or left:
            # Its next cut is looked for after the refold.
            names.discard(name)
            _leave_to_refold(owned, name, left, job.dated_ms)
        elif job.is_done:
            job.finish()
            queue.repaired(name)
        # The next cuts may be others, which show other corrections.
        owned.cuts.reschedule(names)


def _leave_to_refold(
    owned: OwnedPartition,
    name: SubscriptionKey,
    meter_keys: set[MeterKey] | None = None,
    dated_ms: int = FROM_THE_FIRST,
) -> None:
    """Leave corrections to a refold of some meter keys; None: of all of the subscription.

    `dated_ms`: since when their events are dated.
    """
    queue = owned.refold_queue
    if meter_keys is None:
        queue.requeue_corrections([name], queue.repairs[name])
    else:
        queue.recorrect(name, queue.repairs[name], meter_keys, dated_ms)
    queue.repaired(name)
