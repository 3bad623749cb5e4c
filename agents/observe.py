"""Observe: lag and throughput of the owned partitions, sampled once a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from app.engine import Engine

EVERY_S = 1.0


class Observed(NamedTuple):
    """A sample of one partition."""

    lag: int
    rekeyed_lag: int
    events_per_s: float
    folded_events: int
    at_s: float


async def observe(engine: Engine) -> None:
    """Sample until cancelled; a broker that does not answer leaves the last sample."""
    while True:
        await asyncio.sleep(EVERY_S)
        for number, owned in list(engine.owned.items()):
            try:
                raw_end = await engine.raw_end(number)
                rekeyed_end = await engine.rekeyed_end(number)
            except (KafkaError, TimeoutError):
                break
            now_s = engine.clock.monotonic_s()
            before = engine.observed.get(number)
            folded = owned.folded_events
            rate = 0.0
            if before is not None and now_s > before.at_s and folded >= before.folded_events:
                rate = (folded - before.folded_events) / (now_s - before.at_s)
            record = owned.table.record
            engine.observed[number] = Observed(
                max(0, raw_end - record.raw_next),
                max(0, rekeyed_end - record.rekeyed_next),
                rate,
                folded,
                now_s,
            )
