"""What a worker writes to Kafka is small there: its batches are compressed."""

from __future__ import annotations

import msgspec
import pytest

from app.definitions import commands
from app.kafka.appender import forwarding_options
from app.kafka.clients import InOrderProducer, started
from app.kafka.topics import EVENTS_REKEYED, INDEX_CHANGELOG, admin_client, ensure_topics
from app.kafka.transactions import Record
from app.runtime.topics.changelogs import CHANGELOGS
from app.settings import Settings
from app.wire.arrivals import Arrival
from tests.app.kafka.test_transactions import create_topics
from tests.world.clock import START_MS
from tests.world.definitions import ORG, CommandAt, definitions_of, subscription_body
from tests.world.events import arrived, raw
from tests.world.live.committed import commit
from tests.world.partition import Live

pytestmark = pytest.mark.servers

CODES = ("count", "sum", "max", "unique", "average")
EVENTS = 2_000
ATTRIBUTES_AT = 22
"""The lower byte of a batch's attributes, whose lowest three bits name its codec."""
GZIP = 1


def events(subscriptions: int, first: int) -> list[Arrival]:
    """Return so many events as a flush has, spread over subscriptions and metrics."""
    return [
        arrived(
            CODES[n % 5],
            n,
            START_MS + 1_000 * n,
            transaction_id=f"transaction-{n:09}",
            external_id=f"subscription-{n // 5 % subscriptions:06}",
            v=f"{n % 997}.{n % 89}",
            u=f"user-{n % 300}",
        )
        for n in range(first, first + EVENTS)
    ]


def flushed(settings: Settings, subscriptions: int) -> list[Record]:
    """Return what the second of two flushes writes, without its checkpoint."""
    made = definitions_of(CODES)
    for n in range(subscriptions):
        body = subscription_body(external_id=f"subscription-{n:06}")
        subscribe = commands.create_subscription(ORG, body)
        made.append(CommandAt(made[-1].append_time_ms, len(made), subscribe))
    live = Live(made)
    live.define(len(made))
    live.deliver(events(subscriptions, 0))
    live.changelog.take(live.partition)
    live.deliver(events(subscriptions, EVENTS))
    changes = live.changelog.take(live.partition)
    topics = {name: settings.topic(topic) for name, topic in CHANGELOGS.items()}
    records = [
        Record(topics[name], 0, key, value)
        for name, keys, values in live.partition.rows_of(changes)
        for key, value in zip(keys, values, strict=True)
    ]
    return [*records, Record(settings.topic(INDEX_CHANGELOG), 0, b"", changes.index_rows)]


def stored_bytes(settings: Settings, topic: str) -> int:
    """Return what partition 0 of a topic takes on the broker's disk."""
    directory = settings.kafka_dir / "data" / f"{settings.topic(topic)}-0"
    return sum(path.stat().st_size for path in directory.glob("*.log"))


@pytest.mark.parametrize(
    ("subscriptions", "most"),
    [
        pytest.param(20, 45, id="narrow"),
        pytest.param(400, 110, id="wide"),
    ],
)
async def test_changelogs_take_so_many_bytes_an_event(
    settings: Settings, subscriptions: int, most: int
) -> None:
    names = [*CHANGELOGS.values(), INDEX_CHANGELOG]
    await create_topics(settings, *names)
    await commit(settings, flushed(settings, subscriptions))
    found = sum(stored_bytes(settings, name) for name in names) / EVENTS
    assert 10 < found <= most


async def test_forwarded_events_are_compressed(settings: Settings) -> None:
    await create_topics(settings, EVENTS_REKEYED)
    topic, sent = settings.topic(EVENTS_REKEYED), 0
    async with started(InOrderProducer(**forwarding_options(settings))) as producer:
        for n in range(EVENTS):
            value = msgspec.json.encode(raw("sum", f"transaction-{n:09}", START_MS, v="1.5"))
            await producer.send(topic, value, partition=0)
            sent += len(value)
    assert sent / 100 < stored_bytes(settings, EVENTS_REKEYED) < sent / 2


async def test_usage_records_are_stored_as_every_client_reads_them(settings: Settings) -> None:
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    topic = settings.topic(settings.usage_records_topic)
    await commit(settings, [Record(topic, 0, b"key", b"value" * 1_000)])
    (log,) = (settings.kafka_dir / "data" / f"{topic}-0").glob("*.log")
    batch = log.read_bytes()
    assert len(batch) < 1_000
    assert batch[ATTRIBUTES_AT] & 7 == GZIP
