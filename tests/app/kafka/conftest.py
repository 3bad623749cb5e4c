"""What the suites of the transport share."""

from __future__ import annotations

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from app.kafka.topics import ensure_topics
from app.settings import Settings


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings whose topics exist, with four partitions."""
    admin = AIOKafkaAdminClient(**settings.kafka_options())
    await admin.start()
    try:
        await ensure_topics(settings, admin)
    finally:
        await admin.close()
    return settings
