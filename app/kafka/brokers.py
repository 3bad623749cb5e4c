"""Whether the brokers answer, since when not, and what their absence has cost.

A probe a second asks each of them for its versions. When none has answered for 5 s Kafka counts as
lost; that is told once, and once more when it is back.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    NodeNotReadyError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
    RequestTimedOutError,
)
from aiokafka.protocol.admin import ApiVersionRequest
from prometheus_client import Histogram

from app.bounds.limits import FLUSH_PAUSE_S, FLUSH_PAUSES_MOST_S, KAFKA_LOST_S
from app.kafka.clients import NOT_TAKEN, Connections
from app.kafka.open_transactions import holder_of
from app.kafka.topics import topic_specs
from app.kafka.waiting import WaitingPartitions
from app.log import facts
from app.settings import Settings

log = logging.getLogger(__name__)

_PROBE_S = 1.0
_RECENT_S = 5.0
_PROBE_TIMEOUT_MS = 10_000
_SETTLED_S = 30.0
"""After the return it is told what the absence has cost, when all flushes are taken or then."""

_REASONS: tuple[tuple[str, tuple[type[BaseException], ...]], ...] = (
    ("too_few_replicas", (NotEnoughReplicasError, NotEnoughReplicasAfterAppendError)),
    ("no_leader", (NotLeaderForPartitionError,)),
    ("timeout", (KafkaTimeoutError, RequestTimedOutError, TimeoutError)),
    ("unreachable", (KafkaConnectionError, NodeNotReadyError, OSError)),
)


REASONS: Final = (*(name for name, _ in _REASONS), "refused")
"""Every word of `reason_of`."""


def reason_of(error: BaseException) -> str:
    """Return why a flush was not taken, as a word for a metric."""
    return next((name for name, kinds in _REASONS if isinstance(error, kinds)), "refused")


class Short(NamedTuple):
    """A partition without all of its replicas."""

    topic: str
    partition: int
    in_sync: int
    replicas: int


class Brokers:
    """What one worker knows of the brokers."""

    def __init__(self, settings: Settings, seconds: Histogram):
        """Take where the time of every answer is noted."""
        self._settings = settings
        self._seconds = seconds
        self._client: AIOKafkaClient | None = None
        self._asking: dict[int, asyncio.Task[None]] = {}
        self._answered_s = monotonic()
        self._known = len(settings.kafka_bootstrap_servers)
        self._returned = asyncio.Event()
        self._failing: set[int] = set()
        self._waiting = WaitingPartitions(log, "to be flushed")
        self._costs = (0, 0)
        self._telling: asyncio.Task[None] | None = None
        self.away_since_s: float | None = None
        """Monotonic time of the last answer of any broker, while that is over 5 s ago."""
        self.refused_writes: tuple[float, str] | None = None
        """(monotonic time, error) since when flushes are not taken."""
        self.short: list[Short] = []
        """What a refused flush writes to and what lacks replicas."""
        self._latest: deque[tuple[float, float]] = deque(maxlen=64)
        """(when, how long) of the last answers."""
        self.retries: Counter[str] = Counter()
        """Flushes that were not taken, by reason."""
        self.sent_again = 0
        """Flushes sent again as they were packed."""
        self.restores = 0
        """Partitions restored."""

    def note_refused(self, number: int, error: BaseException) -> None:
        """Note that the brokers did not take a flush of a partition."""
        self.retries[reason_of(error)] += 1
        self._waiting.note(number, error)
        since_s = monotonic() if self.refused_writes is None else self.refused_writes[0]
        self.refused_writes = since_s, repr(error)
        self._failing.add(number)

    @contextmanager
    def awaited(self, number: int) -> Iterator[None]:
        """Count writes as refused if the answer to a flush is late; the block sends the flush.

        A client that finds too few replicas tries on by itself, for as long as a commit may take.
        """
        began_s = monotonic()

        def late() -> None:
            self._failing.add(number)
            if self.refused_writes is None:
                text = f"a flush of partition {number} has no answer for {KAFKA_LOST_S:g} s"
                self.refused_writes = began_s, text

        noting = asyncio.get_running_loop().call_later(KAFKA_LOST_S, late)
        try:
            yield
        finally:
            noting.cancel()

    def note_taken(self, number: int) -> None:
        """Note that the flush of a partition was taken, or has no owner any more."""
        self._failing.discard(number)
        self._waiting.over(number)
        if not self._failing:
            self.refused_writes = None

    def note_sent_again(self) -> None:
        """Count a flush that is sent again as it was packed."""
        self.sent_again += 1

    def note_restored(self) -> None:
        """Count a partition that is restored."""
        self.restores += 1

    async def pause(self, tries: int) -> None:
        """Wait before the next try: up to 10 s, but no longer than until the brokers are back."""
        pause_s = min(FLUSH_PAUSE_S * 2**tries, FLUSH_PAUSES_MOST_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._returned.wait()
                # At the return all answer at once; the next of us is a moment later.
                await asyncio.sleep(pause_s)

    async def watch(self) -> None:
        """Ask every broker once a second, until cancelled."""
        try:
            while True:
                began_s = monotonic()
                await self._probe()
                await asyncio.sleep(_PROBE_S)
                late_s = monotonic() - began_s - _PROBE_S
                self._look(late_s)
                await self._find_short()
        finally:
            for task in [*self._asking.values(), *([self._telling] if self._telling else [])]:
                task.cancel()
            if self._client is not None:
                await self._client.close()

    async def holders(self, tps: Sequence[TopicPartition]) -> dict[int, int]:
        """Return ids of producers whose open transactions hold back partitions, as brokers tell."""
        found: dict[int, int] = {}
        if self._client is None:
            return found
        for tp in tps:
            # A broker of before Kafka 2.8 does not know the question.
            with suppress(*NOT_TAKEN, NotImplementedError):
                await self._client.add_topic(tp.topic)
                holder = await holder_of(self._client, tp)
                if holder is None:
                    # Another broker leads the partition by now, or will.
                    await self._client.force_metadata_update()
                else:
                    found[tp.partition] = holder
        return found

    async def _find_short(self) -> None:
        """Find which of our topics lack replicas that are in sync, while writes are refused."""
        if self._client is None or self.refused_writes is None:
            self.short = []
            return
        with suppress(*NOT_TAKEN):
            await self._client.set_topics([spec.name for spec in topic_specs(self._settings)])
            await self._client.force_metadata_update()
            self.short = [
                Short(each.topic, each.partition, len(each.isr), len(each.replicas))
                for partitions in self._client.cluster._partitions.values()
                for each in partitions.values()
                if len(each.isr) < len(each.replicas) and each.partition in self._failing
            ]

    async def _probe(self) -> None:
        if self._client is None:
            options = self._settings.kafka_options()
            client = Connections(request_timeout_ms=_PROBE_TIMEOUT_MS, **options)
            try:
                await client.bootstrap()
            except NOT_TAKEN:
                await client.close()
                return
            self._client = client
            self._answered_s = monotonic()
        nodes = {broker.nodeId for broker in self._client.cluster.brokers()}
        self._known = len(nodes) or self._known
        for node in nodes:
            if node not in self._asking or self._asking[node].done():
                self._asking[node] = asyncio.create_task(self._ask(self._client, node))

    async def _ask(self, client: AIOKafkaClient, node: int) -> None:
        began_s = monotonic()
        with suppress(*NOT_TAKEN):
            await client.send(node, ApiVersionRequest())
            self._answered_s = monotonic()
            self.note_answer("ApiVersions", self._answered_s - began_s)

    def note_answer(self, api: str, took_s: float) -> None:
        """Note how long the brokers took for an answer."""
        self._latest.append((monotonic(), took_s))
        self._seconds.labels(api).observe(took_s)

    def slowest_s(self, now_s: float) -> float:
        """Return the longest time that an answer of the last seconds took."""
        return max((took for at, took in self._latest if now_s - at < _RECENT_S), default=0.0)

    def _look(self, late_s: float) -> None:
        silent_s = monotonic() - self._answered_s
        if self.away_since_s is None and silent_s - max(0.0, late_s) > KAFKA_LOST_S:
            self.away_since_s = self._answered_s
            self._returned = asyncio.Event()
            self._costs = self.sent_again, self.restores
            log.error(
                "Kafka lost: no answer from %s of %s brokers for %g s",
                self._known,
                self._known,
                KAFKA_LOST_S,
                extra=facts("loss", reason="kafka_unreachable", brokers=self._known),
            )
        elif self.away_since_s is not None and self._answered_s > self.away_since_s:
            away_s, self.away_since_s = self._answered_s - self.away_since_s, None
            self._returned.set()
            self._telling = asyncio.create_task(self._tell_return(away_s, self._costs))

    async def _tell_return(self, away_s: float, before: tuple[int, int]) -> None:
        until_s = monotonic() + _SETTLED_S
        while self._failing and monotonic() < until_s:
            await asyncio.sleep(_PROBE_S / 4)
        sent_again, restores = self.sent_again - before[0], self.restores - before[1]
        log.info(
            "Kafka back after %.0f s, %s flushes sent again, %s restores",
            away_s,
            sent_again,
            restores,
            extra=facts(
                "return",
                reason="kafka_unreachable",
                seconds=round(away_s, 1),
                flushes_sent_again=sent_again,
                restores=restores,
            ),
        )
