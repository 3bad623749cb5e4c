"""Sample lag and throughput of the owned partitions.

That is once a second of those that fold or are behind, and every few seconds of all.

Where they end is seen with what is fetched. Of what is behind, and so may not be fetched now, it is
asked every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agents.loop import every
from app.kafka.names import TopicPartition
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.runtime.status import Observed

EVERY_S = 1.0
ASKED_EVERY_S = 5.0


async def sample_lag(worker: Engine) -> None:
    """Sample until cancelled; a broker that does not answer leaves the last sample."""
    ends = _Ends(worker)

    async def sample() -> None:
        if worker.clock.monotonic_s() - ends.asked_s < ASKED_EVERY_S:
            await _sample(worker, ends, _astir(worker))
            return
        definitions_lag = await worker.followed.behind()
        if definitions_lag is not None:
            worker.status.note_definitions_lag(definitions_lag)
        await _sample(worker, ends, list(worker.owned))

    await every(EVERY_S, sample)


def _astir(worker: Engine) -> list[int]:
    """Return the partitions that have folded since they were sampled last, or were not at rest."""
    observed = worker.status.observed
    return [
        number
        for number, owned in worker.owned.items()
        if (seen := observed.get(number)) is None
        or seen.folded_events != owned.folded_events
        or not seen.is_at_rest
    ]


class _Ends:
    """Where partitions end, as it was asked and as it is seen with what is fetched."""

    def __init__(self, worker: Engine):
        self._worker = worker
        self._known: dict[TopicPartition, tuple[int, int]] = {}
        self.asked_s = -ASKED_EVERY_S
        """When it was asked last."""

    async def learn(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Ask, by two questions, where those partitions end that are folded up to these offsets.

        What is folded as far as the last fetch saw is fetched now: the next one tells of more. Of
        one whose leader does not answer it stays as it was.
        """
        now_s = self._worker.clock.monotonic_s()
        is_due, wanted = now_s - self.asked_s >= ASKED_EVERY_S, next_offsets
        if not is_due:
            wanted = {tp: end for tp, end in next_offsets.items() if tp not in self._known}
        known = {tp: self._known[tp] for tp in wanted if tp in self._known}
        behind = []
        for tp, next_offset in wanted.items():
            seen = self._worker.delivery.fetched_ends(tp)
            if seen is not None and next_offset >= seen[1]:
                known[tp] = seen
            else:
                behind.append(tp)
        if behind:
            offsets = self._worker.offsets
            readable, written = await offsets.led_ends(behind), await offsets.written_ends(behind)
            known |= {tp: (readable[tp], end) for tp, end in written.items() if tp in readable}
        if is_due:
            self._known, self.asked_s = known, now_s
        else:
            self._known |= known

    def are_known(self, tps: Iterable[TopicPartition]) -> bool:
        """Return whether it was ever told where all of these end."""
        return all(tp in self._known for tp in tps)

    def of(self, tp: TopicPartition) -> tuple[int, int]:
        """Return the newest: (for readers of what is committed, for all)."""
        readable, written = self._known[tp]
        seen = self._worker.delivery.fetched_ends(tp)
        return (
            (readable, written) if seen is None else (max(readable, seen[0]), max(written, seen[1]))
        )


def _folded_to(owned: OwnedPartition) -> tuple[int, int]:
    checkpoint = owned.state.checkpoint
    return checkpoint.raw_next, checkpoint.rekeyed_next


async def _sample(worker: Engine, ends: _Ends, numbers: Iterable[int]) -> None:
    status, offsets = worker.status, worker.offsets
    logs = {number: offsets.logs_of(number) for number in numbers}
    if not logs:
        return
    await ends.learn(
        {
            tp: next_offset
            for number, both in logs.items()
            if (owned := worker.owned.get(number)) is not None
            for tp, next_offset in zip(both, _folded_to(owned), strict=True)
        }
    )
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
        if owned is None or not ends.are_known((tp, rekeyed)):
            continue
        folded, rate = owned.folded_events, 0.0
        worker.tally.loads.note(number, folded, now_s)
        if before is not None and now_s > before.at_s and folded >= before.folded_events:
            rate = (folded - before.folded_events) / (now_s - before.at_s)
        checkpoint = owned.state.checkpoint
        readable, written = ends.of(tp)
        # Folded as far as may be read, and yet there is more.
        held = checkpoint.raw_next >= readable < written
        since_s = None if before is None else before.held_since_s
        status.observed[number] = Observed(
            max(0, written - checkpoint.raw_next),
            max(0, ends.of(rekeyed)[1] - checkpoint.rekeyed_next),
            rate,
            folded,
            now_s,
            (since_s or now_s) if held else None,
            holders.get(number, -1),
        )
