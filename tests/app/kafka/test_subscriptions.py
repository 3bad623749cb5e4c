"""A worker joins no group whose members read other topics: all of them would stop."""

from __future__ import annotations

import pytest

from app.errors import TopicRefused
from app.kafka.subscriptions import require_same_topics
from app.kafka.topics import EVENTS_REKEYED, admin_client, ensure_topics
from app.settings import Settings
from tests.world.live.group_member import group_member


async def test_a_group_that_reads_other_topics_is_not_joined(settings: Settings) -> None:
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
        await require_same_topics(settings, admin)
        async with group_member(settings):
            await require_same_topics(settings, admin)
            others = settings.model_copy(update={"raw_topic": "events_raw"})
            with pytest.raises(TopicRefused) as refused:
                await require_same_topics(others, admin)
        told = str(refused.value)
        assert f"read {settings.topic('events-raw')} and {settings.topic(EVENTS_REKEYED)};" in told
        assert "METER_RAW_TOPIC=events_raw" in told
        await require_same_topics(others, admin)
