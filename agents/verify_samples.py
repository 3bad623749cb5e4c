"""Verify: some subscriptions are always being verified, so that a wrong figure does not last.

Every minute the next few subscriptions are refolded beside the live fold and compared. What differs
is logged and counted in a metric; `meter verify --repair` mends it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from app.owned import OwnedPartition
from app.verify import verify_names
from tables.presence import SubscriptionName

if TYPE_CHECKING:
    from app.runtime.engine import Engine

log = logging.getLogger(__name__)

EVERY_S = 60.0
REST_S = 0.2
"""Pause after every few thousand records that are read, so that live folding hardly notices."""
BEHIND_RECORDS = 20_000
"""While a partition has more to fold than that, its worker verifies nothing."""
WAIT_S = 1.0


async def verify_samples(engine: Engine) -> None:
    """Verify a few pairs a minute until cancelled; trouble with the broker only delays it."""
    turns = Turns(engine)
    while True:
        await asyncio.sleep(EVERY_S)
        await until_folded(engine)
        try:
            await verify_next(engine, turns)
        except Exception as error:
            log.warning("Verification in the background was interrupted: %s", error)


async def verify_next(engine: Engine, turns: Turns) -> None:
    """Verify the subscriptions whose turn it is."""
    owned, names = turns.next(engine.settings.verify_pairs_per_minute)
    if owned is None or not names:
        return
    async with engine.scans.place("verify a sample", "", endless=True) as turn:
        reports = verify_names(owned, names, engine.scan, engine.verified, turn, rest_s=REST_S)
        async with aclosing(reports):
            async for _ in reports:
                await until_folded(engine)
                # Somebody who asks does not wait for a sample.
                if engine.owned.get(owned.number) is not owned or _is_wanted(engine):
                    return


async def until_folded(engine: Engine) -> None:
    """Wait while the live fold is behind: it needs the time more."""
    while not _is_wanted(engine) and any(
        engine.observed[n].lag > BEHIND_RECORDS
        for n in engine.owned.keys() & engine.observed.keys()
    ):
        await asyncio.sleep(WAIT_S)


def _is_wanted(engine: Engine) -> bool:
    return engine.scans.waiting > 0


class Turns:
    """Subscriptions of the owned partitions, one after the other, over and over."""

    def __init__(self, engine: Engine):
        self._engine = engine
        self._partition = -1
        self._left: dict[int, Iterator[SubscriptionName]] = {}

    def next(self, pairs: int) -> tuple[OwnedPartition | None, list[SubscriptionName]]:
        """A partition and so many of its subscriptions that they have about `pairs` pairs."""
        numbers = sorted(self._engine.owned)
        if not numbers or pairs < 1:
            return None, []
        self._partition = next((n for n in numbers if n > self._partition), numbers[0])
        owned = self._engine.owned[self._partition]
        codes = owned.table.presence.codes
        names: list[SubscriptionName] = []
        while pairs > 0:
            name = next(self._left.get(self._partition, iter(())), None)
            if name is None:
                if names or not codes:
                    break
                self._left[self._partition] = iter(list(codes))
                continue
            if name in codes:
                names.append(name)
                pairs -= len(codes[name])
        return owned, names
