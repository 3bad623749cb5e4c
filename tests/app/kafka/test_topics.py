"""Topics on a real broker: created as specified, refused when they differ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.errors import TopicRefused
from app.kafka.topics import (
    CELLS_CHANGELOG,
    EVENTS_REKEYED,
    INDEX_CHANGELOG,
    METER_DEFINITIONS,
    METER_PROGRESS,
    USAGE_ALERTS,
    USAGE_CHANGED,
    USAGE_DAILY,
    admin_client,
    ensure_topics,
    topic_report,
    topic_specs,
)
from app.settings import Settings
from tests.world.live.servers import MakeSettings
from tests.world.waiting import PATIENCE_S


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    async with admin_client(settings) as client:
        yield client


async def _configs(admin: AIOKafkaAdminClient, name: str) -> dict[str, str]:
    (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


async def _create(
    admin: AIOKafkaAdminClient, name: str, partitions: int, configs: dict[str, str]
) -> None:
    await admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs)])
    await _until_partitions(admin, name, partitions)


async def _until_partitions(admin: AIOKafkaAdminClient, name: str, partitions: int) -> None:
    """The controller's answer is ahead of what the broker tells clients."""
    async with asyncio.timeout(PATIENCE_S):
        while len((await admin.describe_topics([name]))[0]["partitions"]) != partitions:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("name", "partitions", "configs"),
    [
        pytest.param(
            "events-raw",
            4,
            {
                "message.timestamp.type": "LogAppendTime",
                "retention.ms": "-1",
                "cleanup.policy": "delete",
            },
            id="raw",
        ),
        pytest.param(EVENTS_REKEYED, 4, {"message.timestamp.type": "LogAppendTime"}, id="rekeyed"),
        pytest.param(
            "events-dead-letter",
            4,
            {"cleanup.policy": "delete", "compression.type": "gzip"},
            id="dead letter",
        ),
        pytest.param(
            METER_DEFINITIONS,
            1,
            {
                "message.timestamp.type": "LogAppendTime",
                "retention.ms": "-1",
                "retention.bytes": "-1",
                "cleanup.policy": "delete",
            },
            id="definitions",
        ),
        pytest.param(METER_PROGRESS, 1, {"cleanup.policy": "compact"}, id="progress"),
        pytest.param(
            "usage-records",
            4,
            {"cleanup.policy": "delete", "retention.ms": "-1", "compression.type": "gzip"},
            id="records",
        ),
        pytest.param(
            USAGE_ALERTS, 4, {"retention.ms": "-1", "compression.type": "gzip"}, id="alerts"
        ),
        pytest.param(
            CELLS_CHANGELOG,
            4,
            {"cleanup.policy": "compact", "segment.bytes": "67108864"},
            id="cells",
        ),
        pytest.param(
            INDEX_CHANGELOG, 4, {"cleanup.policy": "delete", "retention.ms": "-1"}, id="index"
        ),
    ],
)
async def test_absent_topics_are_created_as_specified(
    settings: Settings,
    admin: AIOKafkaAdminClient,
    name: str,
    partitions: int,
    configs: dict[str, str],
) -> None:
    await ensure_topics(settings, admin)
    (topic,) = await admin.describe_topics([settings.topic(name)])
    assert len(topic["partitions"]) == partitions
    found = await _configs(admin, settings.topic(name))
    assert {key: found[key] for key in configs} == configs


async def test_topics_of_what_is_switched_off_are_made_with_it(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    await ensure_topics(settings, admin)
    optional = {USAGE_CHANGED: "604800000", USAGE_DAILY: "-1"}
    assert not {settings.topic(name) for name in optional} & set(await admin.list_topics())
    switched_on = settings.model_copy(update={"usage_changed": True, "daily_records": True})
    await ensure_topics(switched_on, admin)
    for name, retention_ms in optional.items():
        found = await _configs(admin, settings.topic(name))
        assert found["retention.ms"] == retention_ms
        assert found["compression.type"] == "gzip"


async def test_a_second_start_finds_everything_in_order(
    settings: Settings, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    await ensure_topics(settings, admin)
    await ensure_topics(settings, admin)
    assert [each.message for each in caplog.records if each.name.startswith("app.")] == []


async def test_a_broker_that_has_not_heard_of_a_topic_yet_is_asked_again(
    settings: Settings, admin: AIOKafkaAdminClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cluster another node may answer than the one that told of the partitions."""
    describe, asked = admin.describe_configs, 0

    async def behind(resources: list[ConfigResource]) -> Any:
        nonlocal asked
        asked += 1
        unheard = [ConfigResource(each.resource_type, f"{each.name}-new") for each in resources]
        return await describe(unheard if asked == 1 else resources)

    monkeypatch.setattr(admin, "describe_configs", behind)
    await ensure_topics(settings, admin)
    assert asked == 2


async def test_no_topic_is_created_beside_a_refused_one(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    raw = settings.topic("events-raw")
    await _create(admin, raw, 6, {"message.timestamp.type": "LogAppendTime"})
    with pytest.raises(TopicRefused, match="Set METER_RAW_PARTITIONS=6"):
        await ensure_topics(settings, admin)
    ours = [name for name in await admin.list_topics() if name.startswith(settings.topic_prefix)]
    assert ours == [raw]


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("raw_topic", "usage-records"),
        ("dead_letter_topic", "events-raw"),
        ("usage_records_topic", USAGE_DAILY),
    ],
)
async def test_no_topic_serves_for_two_things(
    settings: Settings, admin: AIOKafkaAdminClient, variable: str, name: str
) -> None:
    twice = settings.model_copy(update={variable: name})
    with pytest.raises(TopicRefused, match="cannot serve for 2 things") as refused:
        await ensure_topics(twice, admin)
    assert settings.topic(name) in str(refused.value)
    assert settings.topic(name) not in await admin.list_topics()
    assert (await topic_report(twice, admin)).complaints == [str(refused.value)]


async def test_more_copies_than_brokers_says_what_to_set(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    with pytest.raises(TopicRefused, match="Set METER_REPLICATION_FACTOR"):
        await ensure_topics(settings.model_copy(update={"replication_factor": 3}), admin)


async def test_a_producers_raw_topic_with_short_retention_is_accepted_with_a_warning(
    settings: Settings, admin: AIOKafkaAdminClient, caplog: pytest.LogCaptureFixture
) -> None:
    configs = {"message.timestamp.type": "LogAppendTime", "retention.ms": "604800000"}
    await _create(admin, settings.topic("events-raw"), 4, configs)
    await ensure_topics(settings, admin)
    (warning,) = caplog.messages
    assert f"{settings.topic('events-raw')} deletes records: retention.ms is 604800000" in warning


async def test_a_setting_that_disagrees_names_itself(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    await ensure_topics(settings, admin)
    with pytest.raises(TopicRefused) as refused:
        await ensure_topics(settings.model_copy(update={"raw_partitions": 5}), admin)
    assert "Set METER_RAW_PARTITIONS=4" in str(refused.value)
    assert "migrate" not in str(refused.value)


async def test_raised_partition_count_says_how_to_migrate(
    settings: Settings, admin: AIOKafkaAdminClient
) -> None:
    """faults F16: it says what to do, too."""
    await ensure_topics(settings, admin)
    raw = settings.topic("events-raw")
    await admin.create_partitions({raw: NewPartitions(8)})
    await _until_partitions(admin, raw, 8)
    with pytest.raises(TopicRefused) as refused:
        await ensure_topics(settings, admin)
    message = str(refused.value)
    assert f"Topic {raw} has 8 partitions, METER_RAW_PARTITIONS is 4" in message
    assert "To migrate" in message
    assert "Set METER_RAW_PARTITIONS=8" not in message


@pytest.mark.parametrize(
    ("name", "partitions", "configs", "said"),
    [
        pytest.param(
            "events-raw",
            4,
            {"message.timestamp.type": "CreateTime"},
            "message.timestamp.type=LogAppendTime",
            id="producer's time on raw",
        ),
        pytest.param(
            "events-raw",
            4,
            {"message.timestamp.type": "LogAppendTime", "cleanup.policy": "compact"},
            "cleanup.policy=delete",
            id="compacted raw",
        ),
        pytest.param(
            METER_DEFINITIONS,
            1,
            {"message.timestamp.type": "LogAppendTime", "retention.ms": "1000000"},
            "retention.ms=-1",
            id="definitions that expire",
        ),
        pytest.param(
            CELLS_CHANGELOG,
            4,
            {"max.message.bytes": "16777216"},
            "cleanup.policy=compact",
            id="deleted changelog",
        ),
        pytest.param(
            INDEX_CHANGELOG,
            4,
            {"retention.ms": "-1"},
            "max.message.bytes=",
            id="small index records",
        ),
        pytest.param(
            "usage-records",
            4,
            {"cleanup.policy": "delete"},
            "max.message.bytes=16777216",
            id="small usage records",
        ),
        pytest.param(
            "events-dead-letter",
            4,
            {"max.message.bytes": "2097152"},
            "max.message.bytes=3145728",
            id="small dead letters",
        ),
        pytest.param(
            METER_PROGRESS, 3, {"cleanup.policy": "compact"}, "must have 1", id="progress"
        ),
    ],
)
async def test_a_topic_that_differs_is_refused_with_the_remedy(
    settings: Settings,
    admin: AIOKafkaAdminClient,
    name: str,
    partitions: int,
    configs: dict[str, str],
    said: str,
) -> None:
    await _create(admin, settings.topic(name), partitions, configs)
    with pytest.raises(TopicRefused) as refused:
        await ensure_topics(settings, admin)
    assert settings.topic(name) in str(refused.value)
    assert said in str(refused.value)


async def test_producers_time_is_for_our_own_broker(
    settings: Settings, admin: AIOKafkaAdminClient, tmp_path: Path
) -> None:
    clocked = settings.model_copy(update={"test_clock": True})
    await ensure_topics(clocked, admin)
    found = await _configs(admin, settings.topic("events-raw"))
    assert found["message.timestamp.type"] == "CreateTime"

    (tmp_path / "cluster-id").write_text("another")
    for foreign in (
        {"kafka_dir": tmp_path},
        {"kafka_dir": tmp_path / "absent"},
        {"kafka_bootstrap_servers": ("broker.example:9092",)},
    ):
        with pytest.raises(TopicRefused, match="METER_TEST_CLOCK"):
            await ensure_topics(clocked.model_copy(update=foreign), admin)


def test_production_topics_lose_nothing_with_one_broker(make_settings: MakeSettings) -> None:
    settings = make_settings(profile="production", topic_prefix="")
    assert settings.replication_factor == 3
    specs = topic_specs(settings)
    assert {spec.configs["min.insync.replicas"] for spec in specs} == {"2"}
    assert len({spec.name for spec in specs}) == len(specs)
    assert {spec.partitions for spec in specs} == {1, 64}


def test_prefix_stands_before_every_name(make_settings: MakeSettings) -> None:
    settings = make_settings(topic_prefix="acme.", raw_topic="events_raw")
    names = [spec.name for spec in topic_specs(settings)]
    assert "acme.events_raw" in names
    assert all(name.startswith("acme.") for name in names)
