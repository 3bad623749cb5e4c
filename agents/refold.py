"""Refold: what a definition or an earlier duplicate changed, beside the live fold.

A reader of its own scans the partition's events of the pairs concerned while live folding goes on;
for the last stretch the live fold waits, then the new cells are swapped in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from itertools import islice

from agents.loop import whenever_wanted
from app.clients import NOT_TAKEN
from app.log import facts
from app.meter.errors import BeyondRetention
from app.owned import OwnedPartition
from app.runtime.scans import Scanner, Turn, feeding
from app.turns import Work
from tables.closing.close import next_cut
from tables.partition import Pair
from tables.presence import REST, SubscriptionName
from tables.refold import Refold

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 5.0
"""Between two refolds."""

IDLE_S = 1.0


async def refold(owned: OwnedPartition, scanner: Scanner) -> None:
    """Refold what is queued until cancelled."""
    loop = asyncio.get_running_loop()

    async def refold_all() -> None:
        try:
            while owned.refolds and not owned.abandoned:
                began_s = loop.time()
                await refold_queued(owned, scanner)
                # Half of the time belongs to others; what is queued meanwhile is read only once.
                await asyncio.sleep(min(loop.time() - began_s, LONGEST_PAUSE_S))
        except NOT_TAKEN as error:
            text, extra = "A refold begins again: %r", facts("note", partition=owned.number)
            log.warning(text, error, extra=extra)
            await owned.shared.brokers.pause(0)

    await whenever_wanted(owned, owned.refold_wanted, IDLE_S, refold_all)


async def refold_queued(owned: OwnedPartition, scanner: Scanner) -> None:
    """One refold of everything that is queued now; what comes meanwhile waits for the next."""
    work = Work("refold", f"partition {owned.number}")
    async with owned.lock:
        pairs, names = _taken(owned)
    try:
        async with owned.lock:
            horizons = {name: next_cut(owned.table, name) for name in names}
            job = Refold(owned.table, pairs, horizons, begins=False)
        turn, feed = Turn(owned.shared.turns, work), feeding(job.feed)
        await turn.run(job.beginning())
        while pairs and job.waits_past_ms < 0:
            async with scanner(owned) as scan:
                lost = owned.table.names_before(pairs, *await scan.log_starts())
                if lost:
                    async with owned.shaping, owned.lock:
                        _let_stand(owned, lost, _DELETED, pairs, names)
                        pairs, names = {}, {}
                    return
                if REST not in pairs:
                    scan.seek_only({(org, external_id) for org, external_id, _ in pairs})
                scan.start(owned.table.record, *job.start_offsets())
                await turn.near(scan, owned.table.record, feed)
                async with owned.shaping:
                    # A cut that was being taken may have let the live fold go on for long.
                    await turn.near(scan, owned.table.record, feed)
                    async with owned.lock:
                        await turn.rest(scan, owned.table.record, feed)
                        with owned.change():
                            if job.waits_past_ms < 0 and await turn.run(
                                job.swapping(), urgent=True
                            ):
                                owned.note_refused(refused for _, _, refused in job.refused)
                                _unpark(owned, pairs)
                                pairs, names = {}, {}
                                _finished(owned, horizons)
                                owned.recorrect(sorted(job.recorrected), owned.table.record.cut_ms)
    except BeyondRetention:
        # Retention came in between: the next look at the logs tells whose events are gone.
        log.warning("Events are deleted while they are read again", exc_info=True)
        return
    except (*NOT_TAKEN, MemoryError):
        raise
    except Exception as error:
        if owned.abandoned:
            # Half of it is swapped in.
            raise
        log.exception("A refold of partition %s fails", owned.number)
        async with owned.shaping, owned.lock:
            failing = {pair[:2] for pair in pairs}
            if len(failing) == 1:
                _let_stand(owned, failing, repr(error), pairs, names)
                pairs, names = {}, {}
            owned.refold_most = max(1, len(failing) // 2)
        return
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


def _taken(
    owned: OwnedPartition,
) -> tuple[dict[Pair, None], dict[SubscriptionName, None]]:
    """Pairs to refold, and the subscriptions among them that are refolded for corrections."""
    pairs, owned.refolds = owned.refolds, {}
    names, owned.recorrecting = owned.recorrecting, {}
    if owned.refold_most:
        most = dict.fromkeys(islice(dict.fromkeys(pair[:2] for pair in pairs), owned.refold_most))
        owned.refolds = {pair: None for pair in pairs if pair[:2] not in most}
        owned.recorrecting = {name: None for name in names if name not in most}
        pairs = {pair: None for pair in pairs if pair[:2] in most}
        names = {name: None for name in names if name in most}
        # If they can be refolded, twice as many the next time.
        owned.refold_most = 2 * owned.refold_most if owned.refolds else 0
    return pairs, names


_DELETED = (
    "events that would be read again for a definition or a correction are deleted. Keep "
    "retention.ms and retention.bytes at -1"
)


def _let_stand(
    owned: OwnedPartition,
    lost: set[SubscriptionName],
    reason: str,
    pairs: Iterable[Pair],
    names: Iterable[SubscriptionName],
) -> None:
    """These cannot be refolded: they stay as they are, the others are refolded next."""
    log.error(
        "%s subscriptions of partition %s keep their figures: %s",
        len(lost),
        owned.number,
        reason,
        extra=facts("note", partition=owned.number),
    )
    owned.refolds.update((pair, None) for pair in pairs if pair[:2] not in lost)
    owned.recorrecting.update((name, None) for name in names if name not in lost)
    for name in lost:
        owned.table.parked[name] = reason
        owned.table.corrections.let_stand(name)
    _finished(owned, ())
    owned.woken.set()


def _unpark(owned: OwnedPartition, pairs: Iterable[Pair]) -> None:
    """These are refolded, whatever kept them from it before."""
    table = owned.table
    table.refolding_pairs.difference_update(pairs)
    left = {pair[:2] for pair in table.refolding_pairs}
    for name in {pair[:2] for pair in pairs} - left:
        table.parked.pop(name, None)


def _finished(owned: OwnedPartition, corrected: Iterable[SubscriptionName]) -> None:
    """Cuts may go on, unless more was queued meanwhile."""
    table = owned.table
    # Those that cannot be refolded stand under what they stood under.
    standing = {pair for pair in table.refolding_pairs if pair[:2] in table.parked}
    table.refolding_pairs = {*owned.refolds, *standing}
    table.stale = {(org, external_id) for org, external_id, _ in table.refolding_pairs}
    if not owned.refolds:
        owned.refold_since_ms = None
        owned.note_definitions(*owned.shared.followed.last)
    # Late events that only the refold counts wait for a cut that nothing else would announce.
    owned.reschedule({*table.take_late_names(), *corrected})
    owned.moved = True
