"""Refold: what a definition or an earlier duplicate changed, beside the live fold.

A separate reader scans the partition's events of the meter keys concerned. Live folding goes on
meanwhile. For the last stretch the live fold waits; then the new cells are swapped in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial

import msgspec

from agents.loop import beginning_again, whenever_wanted
from app.bounds.turns import STEP_ITEMS, Steps, Work, batches, drained, in_steps
from app.kafka.clients import NOT_TAKEN
from app.meter.errors import BeyondRetention
from app.runtime.partition.owned import OwnedPartition
from app.runtime.refolder import Refolder
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import Scanner, ScanTurn, feeding
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.changelogged.presence import REST, LogsKept
from tables.closing.close import next_cut
from tables.partition.partition import Partition
from tables.partition.refold import Refold

log = logging.getLogger(__name__)

LONGEST_PAUSE_S = 5.0
"""Between two refolds."""

AGAIN_S = 1.0
"""After this time it is tried again to refold what is left."""


async def refold(owned: OwnedPartition, scanner: Scanner, refolder: Refolder) -> None:
    """Refold what is queued until cancelled."""
    loop = asyncio.get_running_loop()

    async def refold_all() -> None:
        while queue.meter_keys and not owned.abandoned:
            began_s = loop.time()
            await refold_queued(owned, scanner, refolder)
            # Half of the time belongs to others; what is queued meanwhile is read only once.
            await asyncio.sleep(min(loop.time() - began_s, LONGEST_PAUSE_S))

    queue = owned.refold_queue
    work = partial(beginning_again, owned, "A refold begins again: %r", refold_all)
    await whenever_wanted(owned, queue.wanted, lambda: AGAIN_S if queue.meter_keys else None, work)


async def refold_queued(owned: OwnedPartition, scanner: Scanner, refolder: Refolder) -> None:
    """Refold everything that is queued now; what comes meanwhile waits for the next refold."""
    work = Work("refold", f"partition {owned.number}")
    queue, shaping = owned.refold_queue, owned.work.shaping
    async with owned.lock:
        meter_keys, names = queue.begin()
        corrected = names
    try:
        turn = ScanTurn(owned.shared.turns, work)
        async with owned.lock:
            job = await turn.run(_made(owned.state, meter_keys, names), urgent=True)
        feed = feeding(job.feed)
        await turn.run(job.beginning())
        while meter_keys and job.waits_past_ms < 0:
            async with scanner(owned) as scan:
                scan.count_for("refold")
                kept = await owned.shared.offsets.kept(owned.number)
                lost = await turn.run(_lost(owned.state, job, kept))
                job.search_in(kept)
                if lost:
                    async with shaping, owned.lock:
                        _let_stand(owned, lost, _DELETED, meter_keys, names)
                        meter_keys, names = {}, {}
                    return
                scan.seek_only(*job.sought())
                # What comes first after that is read from there.
                at = msgspec.structs.replace(owned.state.checkpoint)
                scan.start(at, *await _start_offsets(owned, job, kept[:2], turn))
                await _come_near(owned, refolder, job, scan, turn)
                async with shaping:
                    # A cut that was being taken may have let the live fold go on for long.
                    await turn.near(scan, owned.state.checkpoint, feed)
                    checkpoint = owned.state.checkpoint
                    async with turn.caught_up(owned.lock, scan, checkpoint, feed):
                        with owned.life.change():
                            if job.waits_past_ms < 0 and await turn.run(
                                job.swapping(), urgent=True
                            ):
                                meter_keys, names = {}, {}
                                swapped = _swapped(owned, job, corrected, job.unsure(kept))
                                await turn.run(swapped, urgent=True)
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
        async with shaping, owned.lock:
            failing = {meter_key[:2] for meter_key in meter_keys}
            if len(failing) == 1:
                _let_stand(owned, failing, repr(error), meter_keys, names)
                meter_keys, names = {}, {}
            queue.halve(len(failing))
        return
    finally:
        # A rebalance may end it; the partition may come back as it is.
        queue.put_back(meter_keys, names)
    if job.waits_past_ms >= 0:
        # What the log says by then decides whether events are late: all of it again after that.
        await owned.life.definitions_past(job.waits_past_ms)
        return
    owned.cuts.woken.set()


def _swapped(
    owned: OwnedPartition,
    job: Refold,
    corrected: Iterable[SubscriptionKey],
    unsure: Iterable[MeterKey],
) -> Steps[None]:
    """Go on with what a refold has swapped in; of those that are `unsure` events may be deleted."""
    queue, cut_ms = owned.refold_queue, owned.state.checkpoint.cut_ms
    owned.verdicts.refuse_arrivals(refused for _, _, refused in job.refused)
    queue.swapped(job.meter_keys)
    queue.want_displaced()
    yield from _finishing(owned, corrected)
    # The next look says so.
    queue.want(unsure, cut_ms)
    queue.requeue_corrections(sorted(job.recorrected), cut_ms)


def _made(
    state: Partition, meter_keys: dict[MeterKey, None], names: Mapping[SubscriptionKey, int]
) -> Steps[Refold]:
    """Return the refold of what was taken out of the queue, which has not begun yet."""
    horizons: dict[SubscriptionKey, int] = {}
    for some in batches(list(names), STEP_ITEMS):
        horizons.update((name, next_cut(state, name)) for name in some)
        yield
    redefined = meter_keys.keys() - state.stale.whole_keys
    return Refold(state, meter_keys, horizons, redefined=redefined, dated=names, begins=False)


def _lost(state: Partition, job: Refold, kept: LogsKept) -> Steps[set[SubscriptionKey]]:
    """Return subscriptions of which events are deleted that would have to be read."""
    lost: set[SubscriptionKey] = set()
    for some in batches(list(job.meter_keys), STEP_ITEMS):
        lost |= state.event_ranges.names_lacking(some, kept, job.appended_from)
        yield
    # Of names that nobody had defined what is left is found.
    return lost - {REST[:2]}


async def _start_offsets(
    owned: OwnedPartition, job: Refold, starts: tuple[int, int], turn: ScanTurn
) -> tuple[int | None, int | None]:
    since_ms = job.appended_from_ms
    if since_ms is None:
        since = (0, 0)
    else:
        since = await owned.shared.offsets.logs_since(owned.number, since_ms)
    raw, rekeyed = await turn.run(job.starting(since))
    # The first may be deleted of those that nobody had defined, or of what is forgotten. A copy
    # that is deleted counts nowhere.
    return _at_least(raw, starts[0]), _at_least(rekeyed, starts[1])


def _at_least(offset: int | None, start: int) -> int | None:
    return None if offset is None else max(offset, start)


async def _come_near(
    owned: OwnedPartition, refolder: Refolder, job: Refold, scan: Scan, turn: ScanTurn
) -> None:
    """Feed all but the last stretch, while the live fold goes on."""
    await refolder.feed(job, scan, turn)
    await turn.near(scan, owned.state.checkpoint, feeding(job.feed))


_DELETED = (
    "events that would be read again for a definition or a correction are deleted. Keep "
    "retention.ms and retention.bytes at -1"
)


def _let_stand(
    owned: OwnedPartition,
    lost: set[SubscriptionKey],
    reason: str,
    meter_keys: Iterable[MeterKey],
    names: Mapping[SubscriptionKey, int],
) -> None:
    """Leave those as they are that cannot be refolded; the others are refolded next."""
    owned.refold_queue.let_stand(lost, reason, meter_keys, names)
    drained(_finishing(owned, ()))
    owned.cuts.woken.set()


def _finishing(owned: OwnedPartition, corrected: Iterable[SubscriptionKey]) -> Steps[None]:
    """Let cuts go on, but for those that wait for what was queued meanwhile."""
    owned.refold_queue.let_cuts_go_on(owned.shared.followed.last)
    # Late events that only the refold counts wait for a cut that nothing else would announce.
    names = sorted({*owned.state.cuts.take_late_names(), *corrected})
    yield from in_steps(names, owned.cuts.reschedule)
    owned.next_flush.note_moved()
