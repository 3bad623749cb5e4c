"""Refold: what a definition or an earlier duplicate changed, beside the live fold.

A reader of its own scans the partition's events of the pairs concerned while live folding goes on;
for the last stretch the live fold waits, then the new cells are swapped in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress

from app.owned import OwnedPartition
from app.scan import Scan
from tables.close import next_cut
from tables.fold import Arrival
from tables.presence import SubscriptionName
from tables.refold import Refold

LONGEST_PAUSE_S = 5.0
"""Between two refolds."""

NEAR_RECORDS = 2_000
"""So close behind the live fold that it may wait for the rest."""

IDLE_S = 1.0

Scanner = Callable[[OwnedPartition], Scan]


async def refold(owned: OwnedPartition, scanner: Scanner) -> None:
    """Refold what is queued until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(IDLE_S):
                await owned.refold_wanted.wait()
        owned.refold_wanted.clear()
        try:
            while owned.refolds and not owned.abandoned:
                began_s = loop.time()
                await refold_queued(owned, scanner)
                # Half of the time belongs to others; what is queued meanwhile is read only once.
                await asyncio.sleep(min(loop.time() - began_s, LONGEST_PAUSE_S))
        except Exception as error:
            await owned.shared.crash(error)
            return


async def refold_queued(owned: OwnedPartition, scanner: Scanner) -> None:
    """One refold of everything that is queued now; what comes meanwhile waits for the next."""
    async with owned.lock:
        pairs, owned.refolds = owned.refolds, {}
        names, owned.recorrecting = owned.recorrecting, {}
        horizons = {name: next_cut(owned.table, name) for name in names}
        job = Refold(owned.table, pairs, horizons)
    try:
        while pairs and job.waits_past_ms < 0:
            async with scanner(owned) as scan:
                scan.start(owned.table.record, *job.start_offsets())
                while scan.behind(owned.table.record) > NEAR_RECORDS:
                    await _feed(job, scan.read(owned.table.record, NEAR_RECORDS))
                async with owned.lock:
                    await _feed(job, scan.read(owned.table.record, None))
                    with owned.change():
                        if job.waits_past_ms < 0 and job.swap():
                            owned.note_refused(refused for _, _, refused in job.refused)
                            pairs, names = {}, {}
                            _finished(owned, horizons)
    finally:
        # A rebalance may end it; the partition may come back as it is.
        owned.refolds = {**pairs, **owned.refolds}
        owned.recorrecting = {**names, **owned.recorrecting}
    if job.waits_past_ms >= 0:
        # What the log says by then decides whether events are late: all of it again after that.
        await owned.definitions_past(job.waits_past_ms)
        return
    owned.flush_wanted.set()
    owned.woken.set()


async def _feed(job: Refold, arrivals: AsyncIterator[list[Arrival]]) -> None:
    async for part in arrivals:
        job.feed(part)
        await asyncio.sleep(0)


def _finished(owned: OwnedPartition, corrected: Iterable[SubscriptionName]) -> None:
    """Cuts may go on, unless more was queued meanwhile."""
    table = owned.table
    table.refolding_pairs = set(owned.refolds)
    table.stale = {(org, external_id) for org, external_id, _ in owned.refolds}
    if not owned.refolds:
        owned.refold_since_ms = None
        owned.definitions_taken = owned.shared.last_definition
    # Late events that only the refold counts wait for a cut that nothing else would announce.
    owned.reschedule({*table.take_late_names(), *corrected})
    owned.moved = True
