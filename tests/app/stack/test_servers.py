"""The embedded servers are real: data survives a stop and a SIGKILL, errors are plain."""

from __future__ import annotations

from redis.asyncio import Redis

from app.settings import Settings


async def test_session_servers_answer(settings: Settings) -> None:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(**settings.kafka_options())
    await admin.start()
    try:
        assert len((await admin.describe_cluster())["brokers"]) == 1
    finally:
        await admin.close()
    assert settings.redis_url
    async with Redis.from_url(settings.redis_url) as client:
        assert await client.ping()
