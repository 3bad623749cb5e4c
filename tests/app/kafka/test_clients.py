"""Clients that are cut short at any moment leave no connection open."""

from __future__ import annotations

import asyncio
import gc
import uuid
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import uvloop
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.produce import ProduceRequest

from app.kafka.clients import Admin, Consumer, InOrderProducer, Producer, started
from app.kafka.sending import Batches
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers

CLIENTS: list[Callable[..., Consumer | Producer | Admin]] = [
    partial(Consumer, enable_auto_commit=False),
    partial(Producer, acks="all"),
    Admin,
]
MOMENTS = range(0, 1_200, 8)
"""Turns of the event loop. A start on this machine takes some hundreds of them."""


async def until_closed(client_id: str) -> None:
    """Raises TimeoutError when a connection of that client stays open."""
    async with asyncio.timeout(PATIENCE_S):
        while any(
            connection.connected()
            for connection in gc.get_objects()
            if isinstance(connection, AIOKafkaConnection) and connection._client_id == client_id
        ):
            await asyncio.sleep(0.01)


async def test_a_connection_that_has_just_closed_is_told_as_one(kafka: str) -> None:
    """A worker runs on uvloop, which refuses to write where asyncio drops the bytes."""

    async def told() -> list[str]:
        found: list[str] = []
        async with started(Admin(bootstrap_servers=kafka)) as admin:
            await admin.list_topics()
            (connection,) = admin._client._conns.values()
            connection._writer.transport.abort()
            for _ in range(5):
                try:
                    connection.send(ApiVersionRequest()).close()
                except KafkaConnectionError as error:
                    found.append(str(error))
                await asyncio.sleep(0)
        return found

    found = await asyncio.to_thread(uvloop.run, told())
    assert "the handler is closed" in found[0]


@pytest.fixture
def client_id() -> str:
    """Of one test."""
    return uuid.uuid4().hex


@pytest.mark.parametrize("make", CLIENTS, ids=["consumer", "producer", "admin"])
async def test_cancelled_while_it_starts_or_runs(
    make: Callable[..., Consumer | Producer | Admin], kafka: str, client_id: str
) -> None:
    async def block() -> None:
        async with started(make(bootstrap_servers=kafka, client_id=client_id)):
            begun.append(turns)
            await asyncio.Event().wait()

    begun: list[int] = []
    for turns in MOMENTS:
        running = asyncio.create_task(block())
        for _ in range(turns):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(begun) < len(MOMENTS), "no start was cut short"
    await until_closed(client_id)


async def test_a_member_cancelled_while_it_stops(kafka: str, client_id: str) -> None:
    async with started(Admin(bootstrap_servers=kafka)) as admin:
        await admin.create_topics([NewTopic(client_id, 1, 1)])
    for turns in range(1, 12):
        client = Consumer(
            client_id, bootstrap_servers=kafka, client_id=client_id, group_id=client_id
        )
        await client.start()
        stopping = asyncio.create_task(client.stop())
        for _ in range(turns):
            await asyncio.sleep(0)
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
    await until_closed(client_id)


@pytest.mark.parametrize(
    ("make", "delivered"),
    [(partial(Producer, enable_idempotence=True), [b"after"]), (InOrderProducer, [])],
    ids=["as it comes", "in order"],
)
async def test_nothing_is_delivered_after_what_was_refused(
    make: Callable[..., Producer], delivered: list[bytes], kafka: str
) -> None:
    topic = uuid.uuid4().hex
    async with started(Admin(bootstrap_servers=kafka)) as admin:
        configs = {"max.message.bytes": "2000"}
        await admin.create_topics([NewTopic(topic, 1, 1, topic_configs=configs)])
    async with started(make(bootstrap_servers=kafka, max_batch_size=4_000)) as producer:
        # It fills a batch of its own.
        refused = await producer.send(topic, b"x" * 5_000, partition=0)
        after = asyncio.create_task(producer.send(topic, b"after", partition=0))
        with pytest.raises(MessageSizeTooLargeError):
            await refused
        await asyncio.gather(after, return_exceptions=True)
    tp = TopicPartition(topic, 0)
    consumer = Consumer(bootstrap_servers=kafka, auto_offset_reset="earliest")
    async with started(consumer):
        consumer.assign([tp])
        end = (await consumer.end_offsets([tp]))[tp]
        found = [(await consumer.getone()).value for _ in range(end)]
    assert found == delivered


async def test_what_is_given_up_is_never_sent(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka sends the batch of an idempotent producer again until a broker takes it."""
    monkeypatch.setattr("app.kafka.clients.STOPPED_WITHIN_S", 2 * PATIENCE_S)
    topic, tried = uuid.uuid4().hex, asyncio.Event()
    reenqueue = Batches.reenqueue

    def noted(batches: Batches, batch: MessageBatch) -> None:
        tried.set()
        reenqueue(batches, batch)

    monkeypatch.setattr(Batches, "reenqueue", noted)
    async with started(Admin(bootstrap_servers=kafka)) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1)])
        producer = Producer(bootstrap_servers=kafka, enable_idempotence=True)
        await producer.start()
        await producer.send_and_wait(topic, b"first", partition=0)
        await admin.delete_topics([topic])
        async with asyncio.timeout(PATIENCE_S):
            trying = asyncio.create_task(tried.wait())
            while not trying.done():
                # The broker may not know yet that the topic is gone.
                given_up = await producer.send(topic, b"given up", partition=0)
                await asyncio.wait([given_up, trying], return_when=asyncio.FIRST_COMPLETED)
            producer.refuse()
            await producer.stop()
        with pytest.raises(KafkaError, match="given up"):
            await given_up
        await admin.create_topics([NewTopic(topic, 1, 1)])
        async with started(Producer(bootstrap_servers=kafka)) as next_one:
            assert (await next_one.send_and_wait(topic, b"new", partition=0)).offset == 0


async def test_nobody_hears_of_a_batch_that_is_waited_for_no_longer() -> None:
    """A tick has no key and no value, so it is a batch; its time was over."""
    told, error = list[Any](), KafkaError("given up")
    loop = asyncio.get_running_loop()
    # Others may leave something behind, too, that is found here.
    loop.set_exception_handler(lambda _, context: told.append(context.get("exception")))
    batches = Batches(None, 1_000, 0, 60.0)
    sent: Any = await batches.add_batch(batches.create_builder(), TopicPartition("ticks", 0), 1.0)
    sent.cancel()
    await asyncio.sleep(0)
    batches.refuse(error)
    del sent
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert error not in told


async def test_batches_that_linger_go_in_one_request(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each began at another moment, and none waits for the one behind it in its partition."""
    topic, requests = uuid.uuid4().hex, list[int]()
    async with started(Admin(bootstrap_servers=kafka)) as admin:
        await admin.create_topics([NewTopic(topic, 8, 1)])
    sent = AIOKafkaConnection.send

    def noted(self: AIOKafkaConnection, request: Any, *more: Any) -> Any:
        if isinstance(request, ProduceRequest):
            requests.append(sum(len(partitions) for _, partitions in request._topics))
        return sent(self, request, *more)

    async with started(InOrderProducer(bootstrap_servers=kafka)) as producer:
        batches = producer._message_accumulator

        async def send(partition: int) -> asyncio.Future[Any]:
            batch = producer.create_batch()
            batch.append(key=None, value=b"v", timestamp=None)
            sending: asyncio.Future[Any] = await producer.send_batch(
                batch, topic, partition=partition
            )
            return sending

        # From here on it knows the leaders.
        await (await send(7))
        monkeypatch.setattr(AIOKafkaConnection, "send", noted)
        batches._linger_time = 600.0
        sending = []
        for partition in range(7):
            sending.append(await send(partition))
            await asyncio.sleep(0.05)
        assert not requests
        batches._linger_time = 0.0
        # What is first of its partition goes now, and the others along with it.
        sending.append(await send(3))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*sending)
    assert requests == [7, 1]


async def test_topics_that_are_not_known_yet_are_asked_for_at_once(kafka: str) -> None:
    """Taking a partition over reads ten logs, each through a client that knows none of them."""
    topics = [uuid.uuid4().hex for _ in range(3)]
    async with started(Admin(bootstrap_servers=kafka)) as admin:
        await admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
    async with started(Producer(bootstrap_servers=kafka)) as producer:
        # By then each has a leader.
        for topic in topics:
            await producer.send_and_wait(topic, b"x", partition=0)
    tps = [TopicPartition(topic, 0) for topic in topics]
    waits_s = 60
    for ask in (Consumer.beginning_offsets, Consumer.end_offsets):
        consumer = Consumer(bootstrap_servers=kafka, retry_backoff_ms=waits_s * 1000)
        async with started(consumer), asyncio.timeout(waits_s / 2):
            assert (await ask(consumer, tps)).keys() == set(tps)


@pytest.mark.parametrize(
    "make",
    [*CLIENTS, partial(Producer, acks="all", transactional_id="goes-at-once")],
    ids=["consumer", "producer", "admin", "transactional"],
)
async def test_a_client_that_was_stopped_goes_without_the_collector(
    kafka: str, make: Callable[..., Consumer | Producer | Admin]
) -> None:
    """A restore opens many, while the collector is told to wait, and passes over all then."""
    # What the first one waits for at its broker is an error, which leads to all it came through.
    async with started(make(bootstrap_servers=kafka)):
        pass
    client = make(bootstrap_servers=kafka)
    async with started(client):
        connections = client.client if isinstance(client, Producer) else client._client
        await connections.force_metadata_update()
        gone = [weakref.ref(connections), weakref.ref(connections.cluster)]
    gc.disable()
    try:
        del client, connections
        # What ends it is let go of by the loop, a turn later.
        await until(lambda: [each() for each in gone] == [None, None])
    finally:
        gc.enable()
