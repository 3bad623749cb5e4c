"""Sample lag and throughput of the owned partitions, once a second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from agents.loop import every
from app.clock import Clock
from app.kafka.brokers import Brokers
from app.runtime.followed import FollowedDefinitions
from app.runtime.offsets import Offsets
from app.runtime.owned import OwnedPartition
from app.runtime.status import Observed, Status

EVERY_S = 1.0


class Sampled(Protocol):
    """The parts of a worker that are asked."""

    clock: Clock
    brokers: Brokers
    followed: FollowedDefinitions
    offsets: Offsets
    status: Status

    @property
    def owned(self) -> Mapping[int, OwnedPartition]: ...


async def sample_lag(worker: Sampled) -> None:
    """Sample until cancelled; a broker that does not answer leaves the last sample."""
    await every(EVERY_S, lambda: sample(worker))


async def sample(worker: Sampled) -> None:
    """Ask three questions, whatever the number of partitions."""
    status, offsets = worker.status, worker.offsets
    status.note_definitions_lag(await worker.followed.behind())
    logs = {number: offsets.logs_of(number) for number in worker.owned}
    tps = [raw for raw, _ in logs.values()] + [rekeyed for _, rekeyed in logs.values()]
    if not tps:
        return
    readable = await offsets.ends(tps)
    written = await offsets.written_ends(tps)
    holders = await worker.brokers.holders(
        [
            logs[n][0]
            for n, seen in status.observed.items()
            if n in logs and seen.held_since_s is not None
        ]
    )
    now_s = worker.clock.monotonic_s()
    for number, (tp, rekeyed) in logs.items():
        owned, before = worker.owned.get(number), status.observed.get(number)
        if owned is None:
            continue
        folded, rate = owned.folded_events, 0.0
        if before is not None and now_s > before.at_s and folded >= before.folded_events:
            rate = (folded - before.folded_events) / (now_s - before.at_s)
        checkpoint = owned.state.checkpoint
        # Folded as far as may be read, and yet there is more.
        held = checkpoint.raw_next >= readable[tp] < written[tp]
        since_s = None if before is None else before.held_since_s
        status.observed[number] = Observed(
            max(0, written[tp] - checkpoint.raw_next),
            max(0, written[rekeyed] - checkpoint.rekeyed_next),
            rate,
            folded,
            now_s,
            (since_s or now_s) if held else None,
            holders.get(number, -1),
        )
