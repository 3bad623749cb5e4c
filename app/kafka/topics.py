"""The topics: what each must be like, creating those that are absent, refusing those that differ.

Source: state §4 and §8, records-and-cuts §1.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidReplicationFactorError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from app.errors import TopicRefused
from app.kafka.clients import Admin, started
from app.kafka.cluster_id import own_cluster_id
from app.settings import HOST, Settings

log = logging.getLogger(__name__)

MEBIBYTE = 1024 * 1024

EVENTS_REKEYED = "events-rekeyed"
USAGE_ALERTS = "usage-alerts"
USAGE_CHANGED = "usage-changed"
USAGE_DAILY = "usage-daily"
METER_DEFINITIONS = "meter-definitions"
METER_PROGRESS = "meter-progress"
CELLS_CHANGELOG = "meter-cells-changelog"
MEMBERS_CHANGELOG = "meter-members-changelog"
INDEX_CHANGELOG = "meter-index-changelog"
FIGURES_CHANGELOG = "meter-figures-changelog"
PRESENCE_CHANGELOG = "meter-presence-changelog"
PUBLISHED_CHANGELOG = "meter-published-changelog"
CORRECTIONS_CHANGELOG = "meter-corrections-changelog"
EVALUATIONS_CHANGELOG = "meter-evaluations-changelog"
INSTANTS_CHANGELOG = "meter-instants-changelog"
DAILY_CHANGELOG = "meter-daily-changelog"
COMPACTED_CHANGELOGS = (
    CELLS_CHANGELOG,
    MEMBERS_CHANGELOG,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    EVALUATIONS_CHANGELOG,
    INSTANTS_CHANGELOG,
    DAILY_CHANGELOG,
)

# A record over the limit of 1 MB must arrive before it can be refused, and its bytes must fit
# into the dead letter beside the headers that say why.
RAW_MESSAGE_BYTES = 2 * MEBIBYTE
DEAD_LETTER_MESSAGE_BYTES = 3 * MEBIBYTE
# An event of 1 MB has as much in the headers of a CloudEvent at most, and its subscription's id
# goes before it as the key; a command has its own limit below this.
APPENDED_MESSAGE_BYTES = 4 * MEBIBYTE
# A usage record repeats up to ten texts, none of them larger than the request (0.9 MB) or the event
# (1 MB) that it came with, and has its subscription's id in key and header as well.
USAGE_RECORD_MESSAGE_BYTES = 16 * MEBIBYTE
# One packed record a flush: 40 bytes an event at several flushes' worth of full speed. Cells and
# members are named by an event's texts too, and a correction is kept with its bytes.
CHANGELOG_MESSAGE_BYTES = 16 * MEBIBYTE
# Only closed segments are compacted, and a start reads what was not.
SEGMENT_BYTES = 64 * MEBIBYTE
CHECK_TIMEOUT_S = 30.0
RECHECK_S = 0.1
TOPIC_TIMEOUT_MS = 30_000

_DELETED = {"cleanup.policy": "delete"}
_COMPACTED = {"cleanup.policy": "compact"}
_KEPT = {"retention.ms": "-1", "retention.bytes": "-1"}
_A_WEEK = {"retention.ms": str(7 * 86_400_000)}
# The broker refuses a producer whose clock is an hour ahead, unless it sets the time itself.
_STAMPED = {"message.timestamp.type": "LogAppendTime"}
# A worker compresses with zstd, which not every client reads (KafkaJS, aiokafka by itself). The
# broker stores what is read by others as every client reads it.
_READ_BY_ALL = {"compression.type": "gzip"}
_SEGMENT = {"segment.bytes": str(SEGMENT_BYTES)}
_SMALL_SEGMENTS = {
    **_STAMPED,
    **_SEGMENT,
    "segment.ms": "3600000",
    "min.cleanable.dirty.ratio": "0.2",
}
# Years pass in a test: no time is too far ahead, and no leap begins a new segment.
_ANY_TIME = {
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "segment.ms": str(2**63 - 1),
}


def _up_to(message_bytes: int) -> dict[str, str]:
    return {"max.message.bytes": str(message_bytes)}


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic. `demanded` settings are checked on a topic that exists, `advised` only set."""

    name: str
    partitions: int
    demanded: Mapping[str, str]
    advised: Mapping[str, str]

    @property
    def configs(self) -> dict[str, str]:
        """What it is created with."""
        return {**self.advised, **self.demanded}


@dataclass(frozen=True, slots=True)
class _KnownTopic:
    """A topic as the broker has it."""

    partitions: int
    configs: Mapping[str, str]


def output_tp(settings: Settings, number: int) -> TopicPartition:
    """Return the topic partition to which a partition publishes its usage records."""
    return TopicPartition(settings.topic(settings.usage_records_topic), number)


def topic_specs(settings: Settings) -> list[TopicSpec]:
    """Return every topic with its full name, in the order they are created.

    What settings of the log switch off has none: whoever switches it on makes the topic first.
    """
    partitions = settings.raw_partitions
    timed = {"cleanup.policy": "delete", "message.timestamp.type": _time_type(settings)}
    any_time = _ANY_TIME if settings.test_clock else {}
    events = {**_KEPT, **any_time}
    appended = {**timed, **_up_to(APPENDED_MESSAGE_BYTES)}
    refused = {**_DELETED, **_up_to(DEAD_LETTER_MESSAGE_BYTES)}
    published = {**_DELETED, **_up_to(USAGE_RECORD_MESSAGE_BYTES)}
    for_others = {**_STAMPED, **_READ_BY_ALL}
    changelog = {**_COMPACTED, **_up_to(CHANGELOG_MESSAGE_BYTES)}
    index = {**_DELETED, **_KEPT, **_up_to(CHANGELOG_MESSAGE_BYTES)}
    specs = [
        TopicSpec(settings.raw_topic, partitions, timed, {**events, **_up_to(RAW_MESSAGE_BYTES)}),
        TopicSpec(EVENTS_REKEYED, partitions, appended, events),
        TopicSpec(settings.dead_letter_topic, partitions, refused, {**_KEPT, **for_others}),
        TopicSpec(METER_DEFINITIONS, 1, {**appended, **_KEPT}, any_time),
        TopicSpec(METER_PROGRESS, 1, _COMPACTED, _SMALL_SEGMENTS),
        TopicSpec(settings.usage_records_topic, partitions, published, {**_KEPT, **for_others}),
        TopicSpec(USAGE_ALERTS, partitions, published, {**_KEPT, **for_others}),
        *(TopicSpec(name, partitions, changelog, _SMALL_SEGMENTS) for name in COMPACTED_CHANGELOGS),
        TopicSpec(INDEX_CHANGELOG, partitions, index, {**_STAMPED, **_SEGMENT}),
        TopicSpec(FIGURES_CHANGELOG, partitions, index, {**_STAMPED, **_SEGMENT}),
    ]
    if settings.usage_changed:
        specs.append(TopicSpec(USAGE_CHANGED, partitions, published, {**_A_WEEK, **for_others}))
    if settings.daily_records:
        specs.append(TopicSpec(USAGE_DAILY, partitions, published, {**_KEPT, **for_others}))
    return [
        TopicSpec(
            settings.topic(spec.name),
            spec.partitions,
            spec.demanded,
            {**spec.advised, **_durability(settings)},
        )
        for spec in specs
    ]


@asynccontextmanager
async def admin_client(settings: Settings) -> AsyncIterator[Admin]:
    """Start an admin client of the settings' brokers; close it on leaving."""
    async with started(Admin(**settings.kafka_options())) as admin:
        yield admin


async def partition_count(settings: Settings, topic: str) -> int:
    """Return how many partitions the broker has of a topic, whatever the settings say.

    Raises:
        TopicRefused: there is no such topic.
    """
    async with admin_client(settings) as admin:
        if topic not in await admin.list_topics():
            raise TopicRefused(
                f"Kafka at {','.join(settings.kafka_bootstrap_servers)} has no topic {topic}. A "
                "worker makes it when it starts; another prefix is set by METER_TOPIC_PREFIX."
            )
        (found,) = await admin.describe_topics([topic])
    return len(found["partitions"])


async def ensure_topics(settings: Settings, admin: Admin) -> list[str]:
    """Create the absent topics and check the others. Safe when several workers start at once.

    Return the names of those that were created here.

    Raises:
        TopicRefused: two topics have one name, one has another partition count, time type or
            clean-up than it must have, or `test_clock` is set for a broker that is not our own.
    """
    if settings.test_clock:
        await _require_own_broker(settings, admin)
    if complaints := _name_complaints(settings):
        raise TopicRefused("\n".join(complaints))
    specs = topic_specs(settings)
    listed = set(await admin.list_topics())
    present = [spec for spec in specs if spec.name in listed]
    absent = [spec for spec in specs if spec.name not in listed]
    # Before anything is created: beside a topic that is refused no other belongs.
    await _check(present, settings, admin)
    made = await _create(absent, settings, admin)
    # Another worker, with other settings, may have been first.
    await _check(absent, settings, admin, made=True)
    return made


async def require_partitions(settings: Settings, admin: Admin) -> list[str]:
    """Refuse topics with other partition counts than the settings give; return those there are.

    Raises:
        TopicRefused: says which setting differs.
    """
    listed = set(await admin.list_topics())
    present = [spec for spec in topic_specs(settings) if spec.name in listed]
    names = [spec.name for spec in present]
    if present:
        found = await _describe(names, admin)
        if complaints := _partition_complaints(present, found, settings):
            raise TopicRefused("\n".join(complaints))
    return names


def _time_type(settings: Settings) -> str:
    return "CreateTime" if settings.test_clock else "LogAppendTime"


def _durability(settings: Settings) -> dict[str, str]:
    """Demand two copies in sync of three: one broker may fail, and no write is lost or refused."""
    return {"min.insync.replicas": "2"} if settings.replication_factor >= 3 else {}


async def _create(specs: Sequence[TopicSpec], settings: Settings, admin: Admin) -> list[str]:
    if not specs:
        return []
    new = [
        NewTopic(
            name=spec.name,
            num_partitions=spec.partitions,
            replication_factor=settings.replication_factor,
            topic_configs=spec.configs,
        )
        for spec in specs
    ]
    answer = await admin.create_topics(new, timeout_ms=TOPIC_TIMEOUT_MS)
    for name, code, message in answer.topic_errors:
        if code and code != TopicAlreadyExistsError.errno:
            reason = message or for_code(code).__name__
            told = f"Topic {name} could not be created: {reason}"
            if code == InvalidReplicationFactorError.errno:
                told += (
                    " Set METER_REPLICATION_FACTOR to the number of brokers; METER_PROFILE=local "
                    "makes it 1."
                )
            raise TopicRefused(told)
    return [name for name, code, _ in answer.topic_errors if not code]


async def _check(
    specs: Sequence[TopicSpec], settings: Settings, admin: Admin, *, made: bool = False
) -> None:
    if not specs:
        return
    found = await _describe([spec.name for spec in specs], admin, made=made)
    if complaints := _complaints(specs, found, settings):
        raise TopicRefused("\n".join(complaints))
    for spec in specs:
        # Nothing is refused, for whoever made the topic may want it so.
        if deletion := _deletion(spec, found[spec.name]):
            log.warning("%s", deletion)


class TopicReport(NamedTuple):
    """How the brokers' topics differ from those that a worker wants."""

    absent: list[str]
    complaints: list[str]
    """Why a worker refuses to start, each with what to change."""
    deletions: list[str]
    """What deletes records that may be needed for a proof."""
    copies: dict[str, int]
    """Fewest copies in sync of a partition, by topic."""
    weak: list[str]
    """What has fewer copies than the settings ask for, or takes writes with too few in sync."""


async def topic_report(settings: Settings, admin: Admin) -> TopicReport:
    """Return how the topics are; nothing is created or changed."""
    specs = topic_specs(settings)
    listed = set(await admin.list_topics())
    present = [spec for spec in specs if spec.name in listed]
    absent = [spec.name for spec in specs if spec.name not in listed]
    if not present:
        return TopicReport(absent, _name_complaints(settings), [], {}, [])
    names = [spec.name for spec in present]
    found = await _describe(names, admin)
    deletions = [_deletion(spec, found[spec.name]) for spec in present]
    weak = [
        f"Topic {spec.name}: {key} is {found[spec.name].configs.get(key)}, not {wanted}"
        for spec in present
        for key, wanted in _durability(settings).items()
        if int(found[spec.name].configs.get(key) or 0) < int(wanted)
    ]
    copies: dict[str, int] = {}
    for topic in await admin.describe_topics(names):
        name, partitions = topic["topic"], topic["partitions"]
        copies[name] = min(len(partition["isr"]) for partition in partitions)
        made = min(len(partition["replicas"]) for partition in partitions)
        if made < settings.replication_factor:
            weak.append(f"Topic {name} has {made} copies, not {settings.replication_factor}")
    return TopicReport(
        absent,
        _name_complaints(settings) + _complaints(present, found, settings),
        [deletion for deletion in deletions if deletion is not None],
        copies,
        weak,
    )


def _complaints(
    specs: Sequence[TopicSpec], found: Mapping[str, _KnownTopic], settings: Settings
) -> list[str]:
    wrong_configs = [
        complaint for spec in specs for complaint in _config_complaints(spec, found[spec.name])
    ]
    return _partition_complaints(specs, found, settings) + wrong_configs


def _name_complaints(settings: Settings) -> list[str]:
    """Name what would be two topics: what is published would come back as events."""
    everything = settings.model_copy(update={"usage_changed": True, "daily_records": True})
    names = Counter(spec.name for spec in topic_specs(everything))
    return [
        f"Topic {name} cannot serve for {count} things at once. Set METER_RAW_TOPIC, "
        "METER_DEAD_LETTER_TOPIC and METER_USAGE_RECORDS_TOPIC to names that differ from each "
        "other and from the topics that the product names itself."
        for name, count in names.items()
        if count > 1
    ]


async def _describe(
    names: Sequence[str], admin: Admin, *, made: bool = False
) -> dict[str, _KnownTopic]:
    """Return what the brokers have, once all that are asked know every topic.

    `made`: they were made just now, and get their leaders yet.
    """
    async with asyncio.timeout(CHECK_TIMEOUT_S):
        while True:
            topics = await admin.describe_topics(list(names))
            leaderless = [each for topic in topics for each in _leaderless(topic)]
            if not any(topic["error_code"] for topic in topics) and not (made and leaderless):
                break
            await asyncio.sleep(RECHECK_S)
        if leaderless:
            # It may be away for long: all others go on meanwhile.
            log.warning("No broker leads %s", ", ".join(leaderless))
        while (configs := await _configs(names, admin)) is None:
            await asyncio.sleep(RECHECK_S)
    return {
        topic["topic"]: _KnownTopic(len(topic["partitions"]), configs[topic["topic"]])
        for topic in topics
    }


async def _configs(names: Sequence[str], admin: Admin) -> dict[str, dict[str, str]] | None:
    """Return settings by topic; None while the broker that answers has not heard of one yet."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            if code == UnknownTopicOrPartitionError.errno:
                return None
            if code:
                reason = message or for_code(code).__name__
                raise TopicRefused(f"Topic {name} could not be described: {reason}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


def _leaderless(topic: Mapping[str, Any]) -> list[str]:
    """Return the partitions of a topic that have no leader."""
    name, partitions = topic["topic"], topic["partitions"]
    return [f"{name}/{each['partition']}" for each in partitions if each["leader"] < 0]


def _partition_complaints(
    specs: Sequence[TopicSpec], found: Mapping[str, _KnownTopic], settings: Settings
) -> list[str]:
    wrong = {
        spec.name: found[spec.name].partitions
        for spec in specs
        if spec.partitions != found[spec.name].partitions
    }
    raw, cells = settings.topic(settings.raw_topic), settings.topic(CELLS_CHANGELOG)
    if raw in wrong:
        was_raised = cells in found and cells not in wrong
        return [_wrong_raw(raw, wrong[raw], settings, was_raised=was_raised)]
    expected = {spec.name: spec.partitions for spec in specs}
    return [
        f"Topic {name} has {count} partitions, it must have {expected[name]}. Delete it if "
        "nothing was written to it, else set METER_TOPIC_PREFIX to begin a new set of topics."
        for name, count in wrong.items()
    ]


def _wrong_raw(raw: str, partitions: int, settings: Settings, *, was_raised: bool) -> str:
    """Return what to do about a wrong partition count.

    `was_raised`: our changelogs show that the topic got more partitions after the first fold.
    """
    expected = settings.raw_partitions
    differs = f"Topic {raw} has {partitions} partitions, METER_RAW_PARTITIONS is {expected}."
    if not was_raised:
        return f"{differs} Set METER_RAW_PARTITIONS={partitions}."
    return (
        f"{differs} The count was changed after events had been folded, so subscriptions have "
        "moved to other partitions, and Kafka cannot take partitions away again. To migrate: stop "
        "the producers; set METER_TOPIC_PREFIX to a new prefix and METER_RAW_PARTITIONS to "
        f"{partitions}; start a worker once, so that the new topics exist; copy "
        f"{settings.topic(METER_DEFINITIONS)} and then {raw} into the new topics by key, in the "
        "order of their append times; let the producers write to the new raw topic. The copies "
        "have new append times, so periods that are closed here are published anew there."
    )


def _config_complaints(spec: TopicSpec, found: _KnownTopic) -> list[str]:
    return [
        f"Topic {spec.name}: {key} is {found.configs.get(key)}, it must be {wanted}. Change it: "
        "kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics "
        f"--entity-name {spec.name} --add-config {key}={wanted}.{_EFFECT.get(key, '')}"
        for key, wanted in spec.demanded.items()
        if not _is_met(key, wanted, found.configs.get(key))
    ]


def _deletion(spec: TopicSpec, found: _KnownTopic) -> str | None:
    """Return what a topic deletes: what is gone can be proved no more. None: it keeps all."""
    short = [
        f"{key} is {found.configs.get(key)}"
        for key, wanted in spec.advised.items()
        if key in _KEPT and found.configs.get(key) != wanted
    ]
    if not short:
        return None
    return (
        f"Topic {spec.name} deletes records: {', '.join(short)}. What is gone can be neither "
        "recounted nor proved; -1 keeps everything"
    )


_EFFECT = {
    "message.timestamp.type": " Records that are in it keep the time their producer gave them. But "
    "if `meter import` broke off, not all of them are in it: give it again with --go-on.",
}


def _is_met(key: str, wanted: str, value: str | None) -> bool:
    if key == "max.message.bytes":
        return value is not None and int(value) >= int(wanted)
    return value == wanted


async def _require_own_broker(settings: Settings, admin: Admin) -> None:
    """Refuse METER_TEST_CLOCK on foreign brokers: any producer could move the clock there.

    Raises:
        TopicRefused: the broker is not the one that was started for tests.
    """
    refusal = TopicRefused(
        "METER_TEST_CLOCK is set, but this Kafka is not the one that was started for tests. "
        "Unset METER_TEST_CLOCK."
    )
    if any(not server.startswith(f"{HOST}:") for server in settings.kafka_bootstrap_servers):
        raise refusal
    if own_cluster_id(settings.kafka_dir) != (await admin.describe_cluster())["cluster_id"]:
        raise refusal
