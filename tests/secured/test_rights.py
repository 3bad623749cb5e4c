"""Everybody with the least rights of docs/THREATS.md, on a broker that asks for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession
from aiokafka.errors import GroupAuthorizationFailedError, TopicAuthorizationFailedError
from aiokafka.protocol.admin import CreateAclsRequest

from app.cli.doctor import brokers
from app.definitions import commands
from app.kafka.clients import Consumer, Producer, started
from app.kafka.topics import (
    FIGURES_CHANGELOG,
    INDEX_CHANGELOG,
    METER_DEFINITIONS,
    USAGE_ALERTS,
    admin_client,
    ensure_topics,
    topic_specs,
)
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import running_worker
from app.settings import HOST, Settings
from tests.secured.conftest import PASSWORD, SecuredKafka
from tests.world.clock import AheadClock
from tests.world.definitions import ORG
from tests.world.live.api import Api
from tests.world.live.producer import encoded, foreign_producer, raw_event, send_in_turn
from tests.world.live.receiver import Receiver, receiving
from tests.world.live.servers import MakeSettings
from tests.world.live.webhooks import running_webhooks, write_key
from tests.world.live.worker import SESSIONS
from tests.world.waiting import PATIENCE_S, eventually, until

pytestmark = pytest.mark.servers


class On(IntEnum):
    """Kinds of resources, as Kafka's protocol numbers them."""

    TOPIC = 2
    GROUP = 3
    TRANSACTIONAL_ID = 5


class May(IntEnum):
    """Operations."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    DESCRIBE = 8
    DESCRIBE_CONFIGS = 10


class Right(NamedTuple):
    """What somebody may do with a resource, or with all whose names begin so."""

    on: On
    name: str
    operations: Iterable[May]
    prefixed: bool = False


def worker_rights(settings: Settings) -> list[Right]:
    """As the page has them."""
    used = (May.READ, May.WRITE, May.DESCRIBE, May.DESCRIBE_CONFIGS)
    return [
        Right(On.GROUP, settings.consumer_group, (May.READ, May.DESCRIBE)),
        Right(
            On.TRANSACTIONAL_ID,
            f"{settings.consumer_group}-",
            (May.WRITE, May.DESCRIBE),
            prefixed=True,
        ),
        *(Right(On.TOPIC, spec.name, used) for spec in topic_specs(settings)),
        Right(On.TOPIC, settings.topic(INDEX_CHANGELOG), (May.DELETE,)),
        Right(On.TOPIC, settings.topic(FIGURES_CHANGELOG), (May.DELETE,)),
    ]


async def _allow(settings: Settings, user: str, rights: Iterable[Right]) -> None:
    """Add ACLs; they hold once the broker has heard of them from its controller."""
    async with admin_client(settings) as admin:
        for on, name, operations, prefixed in rights:
            for operation in operations:
                request = CreateAclsRequest(
                    on, name, 4 if prefixed else 3, f"User:{user}", "*", operation, 3
                )
                answer = await admin._send_request(request)
                assert [code for code, _ in answer.creation_responses] == [0]


async def test_the_least_rights_suffice_and_reach_no_further(
    secured_kafka: SecuredKafka, make_settings: MakeSettings, local_redis: LocalRedis
) -> None:
    (port,) = free_ports(1)

    def of(user: str | None) -> Settings:
        by_password: dict[str, Any] = {
            "kafka_bootstrap_servers": secured_kafka.sasl_plaintext,
            "kafka_scram_algorithm": "PLAIN",
            "kafka_username": user,
            "kafka_password": PASSWORD,
        }
        anybody = {"kafka_bootstrap_servers": secured_kafka.broker.bootstrap_servers}
        return make_settings(
            http_port=port,
            redis_url=local_redis.url,
            raw_partitions=2,
            implicit_plan=True,
            **(anybody if user is None else by_password),
        )

    operator, worker, maker = of(None), of("least_worker"), of("least_maker")
    making = (May.CREATE, May.DESCRIBE, May.DESCRIBE_CONFIGS)
    await _allow(
        operator, "least_maker", [Right(On.TOPIC, operator.topic_prefix, making, prefixed=True)]
    )
    await _allow(operator, "least_worker", worker_rights(worker))
    raw, published = (
        operator.topic(name) for name in (operator.raw_topic, operator.usage_records_topic)
    )
    producing = [Right(On.TOPIC, raw, (May.WRITE, May.DESCRIBE))]
    await _allow(operator, "least_producer", producing)
    group = f"{operator.topic_prefix}invoices"
    consuming = [
        Right(On.TOPIC, published, (May.READ, May.DESCRIBE)),
        Right(On.GROUP, group, (May.READ,)),
    ]
    await _allow(operator, "least_consumer", consuming)
    async with admin_client(maker) as admin:
        await ensure_topics(maker, admin)
    async with running_worker(worker, **SESSIONS) as running, Api(running.url) as api:
        await api.make_metric("calls", "count_agg")
        async with foreign_producer(of("least_producer")) as producer:
            events = [raw_event("me", f"t{number}", "calls") for number in range(3)]
            await send_in_turn(producer, raw, events)
            for spec in topic_specs(operator):
                if spec.name != raw:
                    with pytest.raises(TopicAuthorizationFailedError):
                        await producer.send_and_wait(spec.name, b"{}", partition=0)
        await eventually(lambda: _units(api), "3.0")
        assert running.engine.failure is None
        assert not running.gateway.not_ready()
    await _doctor_says(worker, of("least_producer"))
    # Taken over again: what it may not restore would show.
    async with running_worker(worker, **SESSIONS) as running, Api(running.url) as api:
        await eventually(lambda: _units(api), "3.0")
    await _reads_only(of("least_consumer"), published, raw, group)


async def _doctor_says(worker: Settings, another: Settings) -> None:
    """The doctor finds nothing that a worker lacks, and names what somebody else does."""
    found = {one.check: one async for one in brokers.checked(worker)}
    assert (found["rights"].outcome, found["transactions"].outcome) == ("ok", "ok")
    assert found["brokers"].outcome == "ok"
    found = {one.check: one async for one in brokers.checked(another)}
    assert (found["rights"].outcome, found["transactions"].outcome) == ("fail", "fail")
    told = found["rights"].found
    raw, group = another.topic(another.raw_topic), another.consumer_group
    assert f"{raw}: READ, DESCRIBE_CONFIGS;" in told
    assert f"group {group}: READ, DESCRIBE;" in told
    assert (
        f"{another.topic(INDEX_CHANGELOG)}: READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS, DELETE" in told
    )
    assert "shape" not in found


def teller_rights(settings: Settings) -> list[Right]:
    """What `meter webhooks` may do, as the page has it."""
    read = (
        METER_DEFINITIONS,
        USAGE_ALERTS,
        settings.usage_records_topic,
        settings.dead_letter_topic,
        settings.raw_topic,
    )
    return [
        Right(On.GROUP, f"{settings.consumer_group}-webhooks", (May.READ,)),
        *(Right(On.TOPIC, settings.topic(name), (May.READ, May.DESCRIBE)) for name in read),
    ]


async def test_webhooks_are_told_with_the_least_rights(
    secured_kafka: SecuredKafka, make_settings: MakeSettings, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    key_file = tmp_path / "key.pem"
    write_key(key_file)
    servers: dict[str, Any] = {"kafka_bootstrap_servers": secured_kafka.broker.bootstrap_servers}
    operator = make_settings(raw_partitions=2, **servers)
    teller = make_settings(
        raw_partitions=2,
        webhooks_port=port,
        webhook_private_key_file=key_file,
        kafka_bootstrap_servers=secured_kafka.sasl_plaintext,
        kafka_scram_algorithm="PLAIN",
        kafka_username="least_teller",
        kafka_password=PASSWORD,
    )
    await _allow(operator, "least_teller", teller_rights(teller))
    async with admin_client(operator) as admin:
        await ensure_topics(operator, admin)
    definitions = operator.topic(METER_DEFINITIONS)
    async with receiving() as receiver, started(Producer(**operator.kafka_options())) as producer:
        endpoint = {"webhook_url": f"{receiver.url}/a"}
        made = [commands.create_webhook_endpoint(ORG, endpoint)]
        for number in range(2):
            body = {"name": "m", "code": f"m{number}", "aggregation_type": "count_agg"}
            made.append(commands.create_billable_metric(ORG, body))
        await producer.send_and_wait(definitions, made[0].encode(), partition=0)
        clock = AheadClock()
        for number, command in enumerate(made[1:], 1):
            # The second time it goes on where its own group has committed.
            async with running_webhooks(teller, clock, events_errors=True):
                await _is_assigned(port)
                await producer.send_and_wait(definitions, command.encode(), partition=0)
                await until(partial(_told, receiver, "billable_metric.created", number))
        unknown = {**raw_event("me", "t", "unknown"), "organization_id": ORG}
        await producer.send_and_wait(operator.topic(operator.raw_topic), encoded(unknown))
        async with running_webhooks(teller, clock, events_errors=True):
            await _is_assigned(port)
            clock.ahead_ms = 3_620_000
            await until(partial(_told, receiver, "events.errors", 1))
        assert len(receiver.requests) == 3
        options = teller.kafka_options()
        with pytest.raises(GroupAuthorizationFailedError):
            async with started(Consumer(definitions, group_id="other", **options)) as it:
                await it.getmany(timeout_ms=int(1_000 * PATIENCE_S))
        async with started(Producer(**options)) as it:
            with pytest.raises(TopicAuthorizationFailedError):
                await it.send_and_wait(definitions, b"{}", partition=0)


def _told(receiver: Receiver, kind: str, count: int) -> bool:
    return receiver.types_at("/a").count(kind) >= count


async def _is_assigned(port: int) -> None:
    async def says() -> bool:
        async with ClientSession() as session:
            try:
                async with session.get(f"http://{HOST}:{port}/metrics") as answer:
                    return "meter_webhooks_assigned 7.0" in await answer.text()
            except OSError:
                return False

    await eventually(says, True)


async def _units(api: Api) -> object:
    usage = await api.usage_if_owned("me", "me")
    return usage and usage["charges_usage"][0]["units"]


async def _reads_only(settings: Settings, published: str, raw: str, group: str) -> None:
    options = settings.kafka_options()
    async with started(Consumer(published, group_id=group, **options)) as consumer:
        async with asyncio.timeout(PATIENCE_S):
            while not consumer.assignment():
                await consumer.getmany(timeout_ms=100)
        assert {tp.topic for tp in consumer.assignment()} == {published}
    with pytest.raises(TopicAuthorizationFailedError):
        async with started(Consumer(raw, group_id=group, **options)) as it:
            await it.getmany(timeout_ms=int(1_000 * PATIENCE_S))
    with pytest.raises(GroupAuthorizationFailedError):
        async with started(Consumer(published, group_id=settings.consumer_group, **options)) as it:
            await it.getmany(timeout_ms=int(1_000 * PATIENCE_S))
    async with started(Producer(**options)) as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(published, b"{}", partition=0)
