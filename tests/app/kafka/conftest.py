"""What the suites of the transport share."""

from __future__ import annotations

import pytest

from app.kafka.topics import admin_client, ensure_topics
from app.settings import Settings


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings whose topics exist, with four partitions."""
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    return settings
