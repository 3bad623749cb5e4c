"""`meter webhooks` on a real broker: topics, what is appended to them, and who is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from app.definitions import commands
from app.definitions.command import Command
from app.kafka.topics import METER_DEFINITIONS, admin_client, ensure_topics
from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.settings import Settings
from tests.world.live.receiver import Receiver, receiving
from tests.world.live.servers import MakeSettings
from tests.world.live.webhooks import write_key
from tests.world.waiting import PATIENCE_S

ORG = "acme"
HMAC_KEY = "hmac-secret"
ISSUER = "https://meter.example"


@dataclass
class Topics:
    """The topics of one test, and a producer to them."""

    settings: Settings
    producer: AIOKafkaProducer

    async def define(self, *made: Command) -> None:
        """Append definitions."""
        for command in made:
            await self.append(METER_DEFINITIONS, command.encode())

    async def append(
        self,
        topic: str,
        value: bytes,
        headers: list[tuple[str, bytes]] | None = None,
        partition: int = 0,
    ) -> int:
        """Append a record; its offset."""
        sent = await self.producer.send_and_wait(
            self.settings.topic(topic), value, headers=headers or [], partition=partition
        )
        return int(sent.offset)

    async def endpoint(self, url: str, **changes: object) -> str:
        """Define an endpoint; its id."""
        command = commands.create_webhook_endpoint(ORG, {"webhook_url": url, **changes})
        await self.define(command)
        return str(command.payload["id"])


@asynccontextmanager
async def producing(settings: Settings) -> AsyncIterator[Topics]:
    """Append to the topics as they are."""
    producer = AIOKafkaProducer(**settings.kafka_options())
    await producer.start()
    try:
        yield Topics(settings, producer)
    finally:
        await producer.stop()


@pytest.fixture
def webhook_settings(
    make_settings: MakeSettings, local_kafka: LocalKafka, tmp_path: Path
) -> Settings:
    (port,) = free_ports(1)
    path = tmp_path / "key.pem"
    write_key(path)
    return make_settings(
        kafka_bootstrap_servers=local_kafka.bootstrap_servers,
        kafka_dir=local_kafka.directory,
        raw_partitions=2,
        webhooks_port=port,
        webhook_private_key_file=path,
        webhook_hmac_keys=f"{ORG}:{HMAC_KEY}",
        advertised_url=ISSUER,
    )


@pytest.fixture
async def topics(webhook_settings: Settings) -> AsyncIterator[Topics]:
    async with admin_client(webhook_settings) as admin:
        await ensure_topics(webhook_settings, admin)
    async with producing(webhook_settings) as found:
        yield found


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as found:
        yield found


async def page(settings: Settings) -> str:
    """The metrics; empty while nothing answers."""
    url = f"http://127.0.0.1:{settings.webhooks_port}/metrics"
    async with ClientSession() as session:
        try:
            async with session.get(url) as answer:
                return await answer.text()
        except OSError:
            return ""


async def figure(settings: Settings, name: str) -> float:
    """What a metric without labels says; 0 while nothing answers."""
    lines = [line for line in (await page(settings)).splitlines() if line.startswith(f"{name} ")]
    return float(lines[-1].split()[-1]) if lines else 0.0


async def says(settings: Settings, line: str) -> None:
    """Wait until the metrics have a line."""
    async with asyncio.timeout(PATIENCE_S):
        while f"\n{line}\n" not in await page(settings):
            await asyncio.sleep(0.1)


async def assigned(settings: Settings) -> None:
    """Wait until the process reads its partitions."""
    await says(settings, f"meter_webhooks_assigned {3 * settings.raw_partitions + 1}.0")


async def committed(settings: Settings, topic: str, offset: int, partition: int = 0) -> None:
    """Wait until the group is done up to an offset."""
    tp = TopicPartition(settings.topic(topic), partition)
    group = f"{settings.consumer_group}-webhooks"
    async with AIOKafkaConsumer(group_id=group, **settings.kafka_options()) as consumer:
        async with asyncio.timeout(PATIENCE_S):
            while await consumer.committed(tp) != offset:
                await asyncio.sleep(0.1)


def alert(subscription: str, number: int = 0, organization_id: str = ORG) -> bytes:
    """The value of a record that tells of an alert."""
    triggered = {"lago_id": f"alert-{number}", "external_subscription_id": subscription}
    told = {"webhook_type": "alert.triggered", "object_type": "triggered_alert"}
    return json.dumps(
        {**told, "organization_id": organization_id, "triggered_alert": triggered},
        separators=(",", ":"),
    ).encode()
