"""Write logs anew as they were: each record at its offset, with its append time.

Meanwhile their topics take the times of a producer, and a worker refuses to start on such topics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import for_code

from app.errors import TopicRefused
from app.kafka.appender import producer_options
from app.kafka.clients import Admin, InOrderProducer, started
from app.kafka.log_readers import LogRecord, bounds_of, scan
from app.kafka.topics import (
    TOPIC_TIMEOUT_MS,
    TopicSpec,
    admin_client,
    require_partitions,
    topic_specs,
)
from app.kafka.transactions import MAX_BATCH_BYTES
from app.settings import Settings
from app.wire.decode import Headers

_BY_PRODUCER: Final = {
    "message.timestamp.type": "CreateTime",
    "message.timestamp.after.max.ms": str(2**63 - 1),
}
_AT_ONCE: Final = 64
"""Batches on their way together."""


class Written(NamedTuple):
    """A record as it was."""

    offset: int
    append_time_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


Logs = Mapping[int, Iterable[Written]]
"""By partition, records by offset."""


async def require_empty(settings: Settings, except_topics: Sequence[str] = ()) -> None:
    """Refuse topics of this prefix that hold anything.

    Raises:
        TopicRefused: the state or the logs of another life are there, or a topic has another
            partition count than the settings give.
    """
    allowed = {settings.topic(name) for name in except_topics}
    async with admin_client(settings) as admin:
        # Nobody answers for a partition that is not there, and that would be waited for.
        there = set(await require_partitions(settings, admin))
    specs = [spec for spec in topic_specs(settings) if spec.name in there - allowed]
    tps = [TopicPartition(spec.name, n) for spec in specs for n in range(spec.partitions)]
    full = sorted({tp.topic for tp, (_, end) in (await bounds_of(settings, tps)).items() if end})
    if full:
        raise TopicRefused(
            f"These topics are not empty: {', '.join(full)}. If an import into them broke off, "
            "give it again with --go-on. Else delete them, or set METER_TOPIC_PREFIX to begin a "
            "new set of topics."
        )


async def rewrite(settings: Settings, name: str, logs: Logs, *, goes_on: bool = False) -> int:
    """Write a topic anew; return how many records were written, those that fill gaps aside.

    `goes_on`: after what an earlier part has written. Each partition begins with the record that
    the topic has last, or before it.

    Raises:
        TopicRefused: a record could not come to its offset, or a part between is missing.
    """
    (spec,) = (one for one in topic_specs(settings) if one.name == settings.topic(name))
    if max(logs, default=0) >= spec.partitions:
        raise TopicRefused(
            f"There are records of partition {max(logs)}: set METER_RAW_PARTITIONS to what it was."
        )
    async with admin_client(settings) as admin:
        await _create(admin, spec, settings.replication_factor)
        count, starts = 0, {}
        options = {**producer_options(settings), "max_batch_size": MAX_BATCH_BYTES}
        async with started(InOrderProducer(**options)) as producer:
            for number, records in logs.items():
                tp, end = TopicPartition(spec.name, number), 0
                if goes_on:
                    end, records = await _further(settings, tp, records)
                written, start = await _write(producer, tp, records, end)
                count += written
                if start and not end:
                    starts[tp] = RecordsToDelete(start)
        if starts:
            # Retention had taken what was before: nothing may look as if it were all there.
            await admin.delete_records(starts)
        await _configure(admin, spec)
    return count


async def _create(admin: Admin, spec: TopicSpec, replication_factor: int) -> None:
    configs = {**spec.configs, **_BY_PRODUCER}
    if spec.name in await admin.list_topics():
        await _configure(admin, spec, _BY_PRODUCER)
        return
    new = NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=configs)
    answer = await admin.create_topics([new], timeout_ms=TOPIC_TIMEOUT_MS)
    for _, code, message in answer.topic_errors:
        if code:
            told = message or for_code(code).__name__
            raise TopicRefused(f"Topic {spec.name} could not be created: {told}")


async def _configure(
    admin: Admin, spec: TopicSpec, others: Mapping[str, str] | None = None
) -> None:
    configs = {**spec.configs, **(others or {})}
    resource = ConfigResource(ConfigResourceType.TOPIC, spec.name, configs)
    for answer in await admin.alter_configs([resource]):
        for code, message, *_ in answer.resources:
            if code:
                told = message or for_code(code).__name__
                raise TopicRefused(f"Topic {spec.name} could not be configured: {told}")


async def _further(
    settings: Settings, tp: TopicPartition, records: Iterable[Written]
) -> tuple[int, Iterable[Written]]:
    """Return where a partition ends, and the records that come after.

    Raises:
        TopicRefused: they do not follow what is there.
    """
    end = (await bounds_of(settings, [tp]))[tp][1]
    async with scan(settings, tp, max(0, end - 1), end) as batches:
        last = [one async for some in batches for one in some]
    return end, _after(tp, end, last, iter(records))


def _after(
    tp: TopicPartition, end: int, last: Sequence[LogRecord], records: Iterator[Written]
) -> Iterator[Written]:
    place, joined = f"{tp.topic} partition {tp.partition}", not end
    for record in records:
        if record.offset >= end:
            if not joined:
                raise TopicRefused(
                    f"{place} ends at offset {end}, and the export begins at {record.offset}: the "
                    "one between is missing. Import it first."
                )
            yield record
        elif record.offset == end - 1:
            there = [(one.timestamp_ms, one.key, one.value) for one in last]
            if there != [(record.append_time_ms, record.key, record.value)]:
                raise TopicRefused(f"{place} has another record at offset {record.offset}.")
            joined = True


async def _write(
    producer: InOrderProducer, tp: TopicPartition, records: Iterable[Written], next_offset: int
) -> tuple[int, int]:
    """Write a partition from an offset on; return how many records, and the offset of the first."""
    batch, sent, count, start = None, list[Any](), 0, 0
    for record in records:
        if count == 0:
            start = record.offset
        count += 1
        # A record without key and value counts nowhere; it keeps the place of one.
        filling = (
            Written(offset, record.append_time_ms, None, None)
            for offset in range(next_offset, record.offset)
        )
        for one in chain(filling, (record,)):
            fields = {
                "key": one.key,
                "value": one.value,
                "timestamp": one.append_time_ms,
                "headers": list(one.headers),
            }
            if batch is None or batch.append(**fields) is None:
                if batch is not None:
                    sent.append(await _sent(producer, tp, batch))
                batch = producer.create_batch()
                batch.append(**fields)
            if len(sent) >= _AT_ONCE:
                await sent.pop(0)
        next_offset = record.offset + 1
    if batch is not None:
        sent.append(await _sent(producer, tp, batch))
    last = None
    for future in sent:
        last = await future
    if last is not None and batch is not None and last.offset + batch.record_count() != next_offset:
        raise TopicRefused(f"{tp.topic} partition {tp.partition} does not end at {next_offset}.")
    return count, start


async def _sent(producer: InOrderProducer, tp: TopicPartition, batch: Any) -> Any:
    return await producer.send_batch(batch, tp.topic, partition=tp.partition)
