"""Verify samples: a few subscriptions at all times, so that a wrong figure does not last.

Every minute the next few subscriptions are refolded beside the live fold and compared, in the
periods whose cells are kept: of those before, `meter verify` compares the records. What differs is
logged and counted in a metric; `meter verify --repair` mends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing

from agents.loop import every
from app.queries.replay import Replay
from app.queries.verify import verify_names
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import SubscriptionKey

log = logging.getLogger(__name__)

EVERY_S = 60.0
REST_S = 0.2
"""Pause after every few thousand records that are read, so that live folding hardly notices."""
BEHIND_RECORDS = 20_000
"""While a partition has more to fold than that, its worker verifies nothing."""
WAIT_S = 1.0


async def verify_samples(worker: Engine) -> None:
    """Verify a few meter keys a minute until cancelled; trouble with the broker only delays it."""
    turns = RoundRobin(worker)

    async def sample() -> None:
        await until_folded(worker)
        await verify_next(worker, turns)

    await every(EVERY_S, sample, lambda error: log.warning(_INTERRUPTED, error), (Exception,))


_INTERRUPTED = "Verification in the background was interrupted: %s"


async def verify_next(worker: Engine, turns: RoundRobin) -> None:
    """Verify the subscriptions whose turn it is."""
    owned, names = turns.next(worker.settings.verify_pairs_per_minute)
    if owned is None or not names:
        return
    async with worker.scans.place("verify a sample", "", endless=True) as turn:
        replay = Replay(owned, worker.scan, turn)
        tally = worker.status.verified
        reports = verify_names(replay, names, tally, recent=True, rest_s=REST_S)
        async with aclosing(reports):
            async for _ in reports:
                await until_folded(worker)
                # Somebody who asks does not wait for a sample.
                if worker.owned.get(owned.number) is not owned or _is_wanted(worker):
                    return


async def until_folded(worker: Engine) -> None:
    """Wait while the live fold is behind: it needs the time more."""
    while not _is_wanted(worker) and any(
        worker.status.observed[n].lag > BEHIND_RECORDS
        for n in worker.owned.keys() & worker.status.observed.keys()
    ):
        await asyncio.sleep(WAIT_S)


def _is_wanted(worker: Engine) -> bool:
    return worker.scans.waiting > 0


class RoundRobin:
    """Subscriptions of the owned partitions, one after the other, over and over."""

    def __init__(self, worker: Engine):
        self._worker = worker
        self._partition = -1
        self._left: dict[int, Iterator[SubscriptionKey]] = {}

    def next(self, meter_keys: int) -> tuple[OwnedPartition | None, list[SubscriptionKey]]:
        """Return a partition and so many subscriptions of it that they have about `meter_keys`."""
        numbers = sorted(self._worker.owned)
        if not numbers or meter_keys < 1:
            return None, []
        self._partition = next((n for n in numbers if n > self._partition), numbers[0])
        owned = self._worker.owned[self._partition]
        codes = owned.state.event_ranges.codes
        names: list[SubscriptionKey] = []
        while meter_keys > 0:
            name = next(self._left.get(self._partition, iter(())), None)
            if name is None:
                if names or not codes:
                    break
                self._left[self._partition] = iter(codes)
                continue
            if name in codes:
                names.append(name)
                meter_keys -= len(codes[name])
        return owned, names
