"""A member of a consumer group that reads some topics and commits where it is by itself.

Topics that do not exist yet are read from when they do.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple

from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from app.kafka.clients import Consumer
from app.kafka.log_readers import (
    FETCH_MAX_WAIT_MS,
    READ_TIMEOUT_MS,
    LogRecord,
    first_from,
    log_record,
)
from app.settings import Settings

_METADATA_MS: Final = 5_000
"""How often it is looked for topics and partitions that are new."""
_FETCH_BYTES: Final = 1024 * 1024
_RECORDS: Final = 500
_HEARD_S: Final = 10.0
"""As long as a session of the group: then others may have what was ours."""


class Committed(NamedTuple):
    """What a group says of a partition: the next offset, and a text of its own."""

    offset: int
    note: str = ""


class GroupReader:
    """Reads the partitions that the group gives this member."""

    def __init__(
        self,
        settings: Settings,
        group: str,
        topics: Iterable[str],
        assigned: Callable[[frozenset[TopicPartition]], Awaitable[None]],
        revoked: Callable[[], Awaitable[None]],
    ):
        """Wait for `revoked` before another member reads on, then call `assigned`."""
        self._settings = settings
        self._group = group
        self._pattern = f"^(?:{'|'.join(map(re.escape, topics))})$"
        self._listener = _Listener(assigned, revoked)
        self._consumer: Consumer | None = None

    async def start(self) -> None:
        """Join the group."""
        self._consumer = Consumer(
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            max_partition_fetch_bytes=_FETCH_BYTES,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            metadata_max_age_ms=_METADATA_MS,
            **self._settings.kafka_options(),
        )
        self._consumer.subscribe(pattern=self._pattern, listener=self._listener)
        await self._consumer.start()

    async def stop(self) -> None:
        """Leave the group."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def committed(
        self, tps: Sequence[TopicPartition]
    ) -> dict[TopicPartition, Committed | None]:
        """Return what the group last committed of partitions; None: nothing yet."""
        found = await self._reader._coordinator.fetch_committed_offsets(list(tps))
        return {tp: _committed(found.get(tp)) for tp in tps}

    async def commit(self, told: Mapping[TopicPartition, Committed]) -> None:
        """Commit for the group."""
        await self._reader.commit(
            {tp: OffsetAndMetadata(each.offset, each.note) for tp, each in told.items()}
        )

    async def end_of(self, tp: TopicPartition) -> int:
        """Return the offset after what is committed of a partition now."""
        return int((await self._reader.end_offsets([tp]))[tp])

    async def first_from(
        self, tps: Sequence[TopicPartition], at_ms: int
    ) -> dict[TopicPartition, int]:
        """Return the first offset of each partition from a time on, its end if there is none."""
        return await first_from(self._reader, tps, at_ms)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read on from an offset."""
        self._reader.seek(tp, offset)

    def leave_out(self, tp: TopicPartition) -> None:
        """Read nothing of a partition that is ours."""
        self._reader.pause(tp)

    async def fetch(self) -> dict[TopicPartition, list[LogRecord]]:
        """Return the next records; nothing when none came for a while."""
        fetched = await self._reader.getmany(timeout_ms=READ_TIMEOUT_MS, max_records=_RECORDS)
        return {tp: [*map(log_record, records)] for tp, records in fetched.items()}

    @property
    def is_heard(self) -> bool:
        """Whether the brokers have said of late that we are in the group."""
        return monotonic() - self._reader.heard_s < _HEARD_S

    @property
    def _reader(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("the reader is not started")
        return self._consumer


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(
        self,
        assigned: Callable[[frozenset[TopicPartition]], Awaitable[None]],
        revoked: Callable[[], Awaitable[None]],
    ):
        self._assigned = assigned
        self._revoked = revoked

    async def on_partitions_revoked(self, _: object) -> None:
        await self._revoked()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        await self._assigned(frozenset(assigned))


def _committed(found: Any) -> Committed | None:
    if found is None or found.offset < 0:
        return None
    return Committed(found.offset, found.metadata or "")
