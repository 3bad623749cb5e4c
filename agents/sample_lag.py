"""Observe: lag and throughput of the owned partitions, sampled once a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka import TopicPartition

from app.clients import NOT_TAKEN
from app.runtime.status import Observed
from app.topics import EVENTS_REKEYED

if TYPE_CHECKING:
    from app.runtime.engine import Engine

EVERY_S = 1.0


async def observe(engine: Engine) -> None:
    """Sample until cancelled; a broker that does not answer leaves the last sample."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            await sample(engine)
        except NOT_TAKEN:
            continue


async def sample(engine: Engine) -> None:
    """Three questions, whatever the number of partitions."""
    engine.definitions_lag = await engine.definitions_behind()
    settings, numbers = engine.settings, list(engine.owned)
    raw = {n: TopicPartition(settings.topic(settings.raw_topic), n) for n in numbers}
    rekeyed = {n: TopicPartition(settings.topic(EVENTS_REKEYED), n) for n in numbers}
    tps = [*raw.values(), *rekeyed.values()]
    if not tps:
        return
    readable = await engine.ends(tps)
    written = await engine.written_ends(tps)
    holders = await engine.brokers.holders(
        [
            raw[n]
            for n, seen in engine.observed.items()
            if n in raw and seen.held_since_s is not None
        ]
    )
    now_s = engine.clock.monotonic_s()
    for number in numbers:
        owned, before = engine.owned.get(number), engine.observed.get(number)
        if owned is None:
            continue
        folded, rate = owned.folded_events, 0.0
        if before is not None and now_s > before.at_s and folded >= before.folded_events:
            rate = (folded - before.folded_events) / (now_s - before.at_s)
        record, tp = owned.table.record, raw[number]
        # Folded as far as may be read, and yet there is more.
        held = record.raw_next >= readable[tp] < written[tp]
        since_s = None if before is None else before.held_since_s
        engine.observed[number] = Observed(
            max(0, written[tp] - record.raw_next),
            max(0, written[rekeyed[number]] - record.rekeyed_next),
            rate,
            folded,
            now_s,
            (since_s or now_s) if held else None,
            holders.get(number, -1),
        )
