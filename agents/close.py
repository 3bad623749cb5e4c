"""Close: usage records of every cut that the logs have passed (records-and-cuts §4).

A cut at T is taken when everything appended until T is folded: here, by every other partition that
may have forwarded something, from events-rekeyed, and of the definitions. Until then it waits, and
`OwnedPartition.blocked` says for what.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.definitions.timeline import NEVER_MS
from app.failpoints import failpoint
from app.owned import OwnedPartition
from app.progress import ProgressTable
from app.records import PublishedRecord
from tables.close import close_subscription, settle
from tables.stores.changelog import Record

POLL_S = 0.1
MAX_RECORDS = 5_000
"""Usage records after which a flush goes out before more are made."""


async def close(
    owned: OwnedPartition,
    progress: ProgressTable,
    rekeyed_end: Callable[[int], Awaitable[int]],
) -> None:
    """Take the partition's cuts, in order, until cancelled."""
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(POLL_S):
                await owned.woken.wait()
        owned.woken.clear()
        try:
            await close_due(owned, progress, rekeyed_end)
        except Exception as error:
            await owned.shared.crash(error)
            return


async def close_due(
    owned: OwnedPartition,
    progress: ProgressTable,
    rekeyed_end: Callable[[int], Awaitable[int]],
) -> None:
    """Take every cut that nothing holds back."""
    while True:
        cut_ms = owned.schedule.next_ms()
        now_ms = owned.shared.clock.now_ms()
        if cut_ms >= NEVER_MS or cut_ms > max(now_ms, owned.table.record.append_time_ms):
            owned.blocked = None
            return
        reason = await _held_back_by(owned, cut_ms, progress, rekeyed_end)
        if reason is not None:
            if owned.blocked is None or owned.blocked[:2] != (cut_ms, reason):
                owned.blocked = (cut_ms, reason, now_ms)
            return
        owned.blocked = None
        if owned.schedule.next_ms() != cut_ms:
            # A refold was swapped in meanwhile, and has a cut before it.
            continue
        if owned.table.next_history_ms() <= cut_ms:
            async with owned.lock:
                if owned.schedule.next_ms() == cut_ms:
                    owned.enter_history()
        else:
            await _take_cut(owned, cut_ms)


async def _held_back_by(
    owned: OwnedPartition,
    cut_ms: int,
    progress: ProgressTable,
    rekeyed_end: Callable[[int], Awaitable[int]],
) -> str | None:
    """What the cut waits for; None when it can be taken."""
    settings = owned.shared.settings
    if owned.table.record.append_time_ms <= cut_ms:
        return f"raw partition {owned.number} is not folded past the cut"
    for partition in range(settings.raw_partitions):
        if progress.append_time_ms(partition) <= cut_ms:
            newest = progress.of(partition)
            owner = f", of {newest.url}," if newest is not None and newest.url else ""
            return f"raw partition {partition}{owner} has not reported progress past the cut"
    if owned.table.record.rekeyed_next < await rekeyed_end(owned.number):
        return f"forwarded events of partition {owned.number} are not folded to the end"
    if owned.shared.definitions.append_time_ms <= cut_ms:
        return "the definitions log has not passed the cut"
    if owned.refold_since_ms is not None and owned.refold_since_ms <= cut_ms:
        return f"partition {owned.number} is refolding for a definition or a correction"
    return None


async def _take_cut(owned: OwnedPartition, cut_ms: int) -> None:
    """Close every subscription that is due, a bounded number a flush, then settle the cut."""
    names = owned.schedule.due(cut_ms)
    most = min(MAX_RECORDS, owned.shared.settings.flush_max_changes)
    try:
        for name in names:
            async with owned.lock:
                with owned.change():
                    packed = owned.table.sealed_cells(name)
                    for record in close_subscription(owned.table, name, cut_ms):
                        owned.outbox.append(_to_topic(owned, record))
                    if packed:
                        owned.table.cool(name, packed)
            failpoint("mid-close")
            if len(owned.outbox) >= most:
                await owned.flush()
                failpoint("between-cut-flushes")
        async with owned.lock:
            with owned.change():
                settle(owned.table, cut_ms)
                owned.moved = True
    finally:
        # Also when a rebalance ends it half-way: the partition may come back as it is.
        owned.reschedule(names)
    await owned.flush()


def _to_topic(owned: OwnedPartition, record: PublishedRecord) -> Record:
    settings = owned.shared.settings
    topic = settings.topic(settings.usage_records_topic)
    return Record(topic, owned.number, record.key, record.value, list(record.headers))
