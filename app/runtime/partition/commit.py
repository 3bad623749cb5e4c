"""Commit a flush: one transaction, tried until it is known that the brokers have it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from time import monotonic
from typing import Protocol

import msgspec
from msgspec.structs import replace

from app.failpoints import failpoint
from app.kafka.names import TopicPartition
from app.kafka.record_batch import RecordBatch
from app.kafka.topics import CELLS_CHANGELOG, output_tp
from app.kafka.transactions import Conclude, Fenced, Record
from app.runtime.context import WorkerContext
from app.runtime.partition.forwarder import Forwards
from app.runtime.partition.life import Life
from app.runtime.progress import Progress
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from app.runtime.topics.published_topic import output_mark
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.members import MemberKey
from tables.partition.partition import Partition

HEARD_POLL_S = 0.1

MemberChanges = Mapping[MemberKey, bytes | None]
"""Changed members, packed; None: removed."""


class OutputLost(RuntimeError):
    """usage-records is not the topic any more that was published to, or was cut."""

    def __init__(self, tp: TopicPartition, offset: int, found: str):
        super().__init__(
            f"{tp.topic} partition {tp.partition} has lost records: the newest stood at offset "
            f"{offset}, {found}. Started again, the worker publishes what the topic lacks"
        )


class Producer(Protocol):
    """The transactional producer of one partition."""

    async def commit(self, records: Iterable[Record], conclude: Conclude | None = None) -> None:
        """Write all records in one transaction; raise Fenced if it is somebody else's."""
        ...

    async def replace(self) -> None:
        """Go on with a new producer: what the last one had open is ended."""
        ...

    async def newest(self, topic: str, key: bytes) -> bytes | None:
        """Return the newest committed value of a key in the partition's part of a topic."""
        ...

    async def stop(self) -> None: ...


class Unsent:
    """A flush as it was packed, until the brokers have it."""

    def __init__(
        self,
        records: list[Record],
        members: MemberChanges,
        batches: list[RecordBatch],
        forwards: int,
        progress: Progress,
        members_sum: ChangelogSum,
    ):
        self.records = records
        """The checkpoint is the last one."""
        self.members = members
        self.batches = batches
        self.forwards = forwards
        """How many forwards of the partition are acknowledged before it is committed."""
        self.progress = progress
        self.members_sum = members_sum
        self.checkpoint = msgspec.msgpack.decode(records[-1].value or b"", type=Checkpoint)
        self.bytes = sum(len(each.key or b"") + len(each.value or b"") for each in records)
        self.packed_s = monotonic()
        """Monotonic time in s at which it was packed."""
        self.tried: set[bytes] = set()
        """Digests of the checkpoints that it may have been committed with."""
        self.newest = b""
        """The digest of the last try."""
        self.doubtful_s: float | None = None
        """Since when a commit of it has no answer; None: nothing of it is written."""


class Commits:
    """What of a partition's flushes is committed, as far as we know."""

    def __init__(self, state: Partition, context: WorkerContext):
        self._context = context
        self.committing = asyncio.Lock()
        """Held while the changelogs change, and while one is read to fill the members store."""
        self.unsent: Unsent | None = None
        """A flush that is packed and not committed, as far as we know."""
        self.sent = asyncio.Event()
        """Set while no flush is unsent."""
        self.sent.set()
        self.flush = state.checkpoint.flush
        """Number of the last flush that is durable."""
        self.members_sum = state.members.sum
        """Sum of the member changelog at that flush."""

    def begin(self, unsent: Unsent) -> None:
        """Keep a flush that is packed until it is committed."""
        self.unsent = unsent
        self._context.note_unsent(unsent.bytes)
        self.sent.clear()

    def done(self, unsent: Unsent) -> None:
        """Note that a flush is durable."""
        self.flush, self.members_sum = unsent.checkpoint.flush, unsent.members_sum

    def forget_unsent(self) -> None:
        """Let go of the flush that was to be sent."""
        if self.unsent is not None:
            self._context.note_unsent(-self.unsent.bytes)
        self.unsent = None
        self.sent.set()

    def is_doubtful(self) -> bool:
        """Return whether a commit has no answer, so that nobody knows where changelogs stand."""
        return self.unsent is not None and self.unsent.doubtful_s is not None


class Committer:
    """Commits flushes of one partition, each once."""

    def __init__(
        self,
        state: Partition,
        producer: Producer,
        life: Life,
        forwards: Forwards,
        durable: bytes | None,
    ):
        """Take `durable`, the newest committed checkpoint; None: there is none."""
        self.producer = producer
        self._state = state
        self._life = life
        self._context = life.context
        self._forwards = forwards
        self._durable = None if durable is None else _digest(durable)

    async def commit(self, unsent: Unsent) -> None:
        """Commit the flush, unless a try before has done so.

        Raises:
            Fenced: another owner has committed something since.
        """
        number, brokers = self._state.number, self._context.brokers
        self._life.require_ours()
        if unsent.doubtful_s is not None and await self._is_committed(unsent):
            return
        # 2. Wait for what it forwards: the offsets move past it.
        await self._forwards.settle(unsent.forwards)
        failpoint("before-commit")
        unsent.doubtful_s = monotonic()
        try:
            with brokers.awaited(number):
                await self.producer.commit(*self._output_noted(unsent))
            brokers.note_answer("commit", monotonic() - unsent.doubtful_s)
        except BaseException:
            unsent.doubtful_s = monotonic()
            raise
        failpoint("after-commit")
        self._durable = unsent.newest

    async def _is_committed(self, unsent: Unsent) -> bool:
        """Return whether a try without an answer was carried out; nothing of it is open then."""
        while self._context.delivery.group_heard_s() <= (unsent.doubtful_s or 0.0):
            # The partition may be somebody else's by now, and a new producer would fence them.
            await asyncio.sleep(HEARD_POLL_S)
            self._life.require_ours()
        await self.producer.replace()
        topic = self._context.settings.topic(CELLS_CHANGELOG)
        newest = await self.producer.newest(topic, CHECKPOINT_KEY)
        found = None if newest is None else _digest(newest)
        if newest is not None and found in unsent.tried:
            self._durable = found
            self._state.checkpoint.output = msgspec.msgpack.decode(newest, type=Checkpoint).output
            return True
        if found != self._durable:
            raise Fenced(f"another worker has flushed partition {self._state.number}")
        self._context.brokers.note_sent_again()
        unsent.doubtful_s = None
        unsent.tried.clear()
        return False

    def _output_noted(self, unsent: Unsent) -> tuple[list[Record], Conclude | None]:
        """Let the checkpoint, the last one, say where the newest usage record comes to stand.

        A flush that publishes nothing needs no second round for it.
        """
        tp = output_tp(self._context.settings, self._state.number)
        published = [record.value or b"" for record in unsent.records if record.topic == tp.topic]
        packed = unsent.records[-1]

        def conclude(offsets: Mapping[TopicPartition, int]) -> list[Record]:
            checkpoint = msgspec.msgpack.decode(packed.value or b"", type=Checkpoint)
            offset, known = offsets[tp], checkpoint.output
            if known is not None and 0 <= offset < known[0] + len(published):
                found = f"{len(published)} more would end at {offset}"
                raise OutputLost(tp, known[0], found)
            if offset >= 0:
                checkpoint.output = self._state.checkpoint.output = output_mark(
                    offset, published[-1]
                )
            return [self._tried(unsent, replace(packed, value=msgspec.msgpack.encode(checkpoint)))]

        if not published:
            self._tried(unsent, packed)
            return unsent.records, None
        return unsent.records[:-1], conclude

    def _tried(self, unsent: Unsent, packed: Record) -> Record:
        """Note what a commit that succeeds leaves as the newest checkpoint."""
        unsent.newest = _digest(packed.value or b"")
        unsent.tried.add(unsent.newest)
        return packed


def _digest(packed_checkpoint: bytes) -> bytes:
    return blake2b(packed_checkpoint, digest_size=16).digest()
