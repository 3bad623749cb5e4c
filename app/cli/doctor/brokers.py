"""Checks of Kafka: brokers, topics and the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from typing import Final

from app.cli.doctor.environment import agreed
from app.cli.doctor.finding import Finding, judged
from app.cli.doctor.rights import rights, transactions
from app.cli.settings_apply import definitions_of
from app.definitions.judging import Judging
from app.definitions.state import Definitions
from app.errors import StackError
from app.kafka.broker_facts import (
    Batch,
    Group,
    group_once_coordinated,
    newest_batches,
    release_of,
)
from app.kafka.claim import claiming_application
from app.kafka.clients import NOT_TAKEN, Admin
from app.kafka.cluster import Cluster, broker_settings, cluster_of
from app.kafka.log_readers import LogRecord, bounds_of, scan_many
from app.kafka.names import KafkaError, TopicPartition
from app.kafka.subscriptions import other_topics
from app.kafka.topics import (
    METER_DEFINITIONS,
    METER_PROGRESS,
    TopicReport,
    admin_client,
    partition_count,
    topic_report,
)
from app.settings import Settings
from app.tokens import NotLetIn
from app.wire.arrivals import Arrival, arrivals_of
from app.wire.keys import home_partition, message_key

AREA = "kafka"
TOPICS = "topics"
PRODUCERS = "producers"
CHECKS: Final = (
    *((AREA, name) for name in ("brokers", "version", "auto-creation", "transactions", "rights")),
    *((TOPICS, name) for name in ("present", "shape", "retention", "copies", "durability")),
    *(("group", name) for name in ("members", "application")),
    *((PRODUCERS, name) for name in ("partitions", "forwarded", "compression")),
)
TRIED: Final = (26, "4.1")
"""The release that the tests run: its least level of `metadata.version`, and its name."""
WORTH_PACKING_BYTES: Final = 1_000
FORWARDED_SHARE: Final = 0.1
PLACED_EACH: Final = 50
"""Newest records of a partition that are looked at for where their events lie."""
ENOUGH: Final = 100
"""Records from which on something is told of how they are spread."""
BROKER_WITHIN_S: Final = 5.0
ASKED_WITHIN_S: Final = 15.0
LEAST_COPIES: Final = 3
LEAST_IN_SYNC: Final = 2


async def checked(settings: Settings) -> AsyncIterator[Finding]:
    """Yield what the brokers say; nothing is created."""
    servers = ",".join(settings.kafka_bootstrap_servers)
    try:
        async with asyncio.timeout(ASKED_WITHIN_S), admin_client(settings) as admin:
            async for finding in _asked(settings, admin, servers):
                yield finding
    except StackError as error:
        mend = "Correct the setting that it names."
        yield Finding(AREA, "brokers", "fail", str(error), mend)
    except NotLetIn as error:
        mend = "Set METER_KAFKA_USERNAME and METER_KAFKA_PASSWORD, or the certificates."
        yield Finding(AREA, "login", "fail", f"{error}.", mend)
    except TimeoutError:
        found = f"{servers} did not answer within {ASKED_WITHIN_S:.0f} s."
        mend = (
            "See whether a broker hangs (docs/runbook.md, KafkaLost), or set "
            "METER_KAFKA_BOOTSTRAP_SERVERS."
        )
        yield Finding(AREA, "brokers", "fail", found, mend)
    except (*NOT_TAKEN, KafkaError) as error:
        found = f"No broker answers at {servers} ({type(error).__name__}: {error})."
        yield Finding(AREA, "brokers", "fail", found, "Set METER_KAFKA_BOOTSTRAP_SERVERS.")


async def _asked(settings: Settings, admin: Admin, servers: str) -> AsyncIterator[Finding]:
    cluster = await cluster_of(admin)
    told = {broker: await _told(admin, broker) for broker in cluster.brokers}
    yield _brokers(settings, cluster, servers, told)
    yield _auto_creation(told)
    yield await _version(admin, told)
    yield await transactions(settings)
    group = await group_once_coordinated(admin, settings.consumer_group)
    allowed = await rights(settings, admin, group)
    yield allowed
    if allowed.outcome != "ok":
        # What it may not see would look as if it were not there.
        return
    report = await topic_report(settings, admin)
    for finding in _topics(settings, report):
        yield finding
    there = settings.topic(METER_DEFINITIONS) not in report.absent
    yield agreed(settings, await definitions_of(settings) if there else Definitions())
    yield _group(settings, group)
    if settings.topic(METER_PROGRESS) not in report.absent:
        yield await _application(settings)
    if settings.topic(settings.raw_topic) not in report.absent:
        for finding in await _producers(settings, admin):
            yield finding


async def _told(admin: Admin, broker: int) -> Mapping[str, str] | KafkaError | TimeoutError | None:
    """Return the settings of a broker; None: it keeps them to itself; an error: it is silent."""
    try:
        async with asyncio.timeout(BROKER_WITHIN_S):
            return await broker_settings(admin, broker)
    except (KafkaError, TimeoutError) as error:
        return error


def _brokers(
    settings: Settings, cluster: Cluster, servers: str, told: Mapping[int, object]
) -> Finding:
    known, needed = len(cluster.brokers), settings.replication_factor
    found = f"Cluster {cluster.cluster_id} by {servers}: {known} broker(s)."
    silent = [str(one) for one, answer in told.items() if isinstance(answer, Exception)]
    if silent:
        found = f"{found} These do not answer: {', '.join(silent)}."
        mend = "See whether they run, and whether this machine reaches what they advertise."
        return Finding(AREA, "brokers", "fail", found, mend)
    if known < needed:
        mend = f"METER_REPLICATION_FACTOR={needed} needs {needed} of them."
        return Finding(AREA, "brokers", "fail", found, mend)
    if settings.profile == "production" and needed < LEAST_COPIES:
        mend = f"A lost broker takes records along: METER_REPLICATION_FACTOR={LEAST_COPIES}."
        return Finding(AREA, "brokers", "warn", found, mend)
    return Finding(AREA, "brokers", "ok", found)


def _auto_creation(told: Mapping[int, object]) -> Finding:
    for broker, answer in told.items():
        if isinstance(answer, Mapping) and answer.get("auto.create.topics.enable") == "true":
            found = f"Broker {broker} makes topics that anybody names."
            mend = "Set auto.create.topics.enable=false, so that a misspelt topic is refused."
            return Finding(AREA, "auto-creation", "warn", found, mend)
    for broker, answer in told.items():
        if not isinstance(answer, Mapping):
            found = f"Broker {broker} does not tell its settings to this user."
            return Finding(AREA, "auto-creation", "unknown", found, "Allow DESCRIBE_CONFIGS.")
    return Finding(AREA, "auto-creation", "ok", "A misspelt topic is refused.")


async def _version(admin: Admin, told: Mapping[int, object]) -> Finding:
    """Return how old the oldest broker is; silent ones are told of elsewhere."""
    there = [broker for broker, answer in told.items() if not isinstance(answer, Exception)]
    known = [release for one in there if (release := await release_of(admin, one)) is not None]
    if len(known) < len(there) or not known:
        found = "A broker does not tell its release."
        return Finding(AREA, "version", "unknown", found, f"The tests run Kafka {TRIED[1]}.")
    level, name = min(known)
    found, mend = f"The oldest of {len(known)} is Kafka {name}.", f"The tests run {TRIED[1]}."
    return judged(AREA, "version", level < TRIED[0], found, mend)


def _topics(settings: Settings, report: TopicReport) -> Iterator[Finding]:
    for complaint in report.complaints:
        found, _, mend = complaint.partition(". ")
        yield Finding(TOPICS, "shape", "fail", f"{found}.", mend)
    if not report.complaints and report.copies:
        yield Finding(TOPICS, "shape", "ok", f"{len(report.copies)} topics are as they must be.")
    absent = f"Not there: {', '.join(report.absent)}."
    found = absent if report.absent else f"All {len(report.copies)} are there."
    mend = "A worker makes them when it starts."
    yield judged(TOPICS, "present", bool(report.absent), found, mend)
    if not report.copies:
        # Of none there is nothing to say: the rest is looked at once a worker has made them.
        return
    for complaints, check, well, mend in (
        (
            report.deletions,
            "retention",
            "keep what a proof may need",
            "Set retention.ms and retention.bytes to -1, or keep a copy elsewhere.",
        ),
        (
            report.weak,
            "durability",
            "have as many copies as is set",
            "Make them as METER_REPLICATION_FACTOR says: a lost broker takes records along.",
        ),
    ):
        for found in complaints or (f"{len(report.copies)} topics {well}",):
            yield judged(TOPICS, check, bool(complaints), f"{found}.", mend)
    needed = min(settings.replication_factor, LEAST_IN_SYNC)
    short = [name for name, copies in report.copies.items() if copies < needed]
    found = f"Every partition of {len(report.copies)} topics has {needed} or more in sync."
    if short:
        found = f"Fewer than {needed} copies in sync: {', '.join(short)}."
    yield judged(TOPICS, "copies", bool(short), found, "Look after the brokers that lag.")


async def _producers(settings: Settings, admin: Admin) -> list[Finding]:
    """Return whether events come packed, to every partition, and to that of their subscription."""
    bounds = await _bounds(settings, settings.raw_topic)
    raw = [end - start for start, end in bounds.values()]
    total, empty = sum(raw), raw.count(0)
    mend = "Key and partition as docs/sending.md says; few subscriptions fill few partitions."
    found = f"{empty} of {len(raw)} partitions have nothing, the others {total:,} records."
    is_odd = empty > 0 and total > ENOUGH * len(raw)
    spread = judged(PRODUCERS, "partitions", is_odd, found, mend)
    alone, away = await _placed(settings, bounds)
    found = f"{away:,} of the newest {alone:,} events that came alone lie elsewhere than at home."
    is_odd = away > FORWARDED_SHARE * alone and alone > ENOUGH
    home = judged(PRODUCERS, "forwarded", is_odd, found, mend)
    batches = await newest_batches(admin, settings.topic(settings.raw_topic), bounds)
    return [spread, home, _compression(batches)]


async def _placed(settings: Settings, bounds: Mapping[int, tuple[int, int]]) -> tuple[int, int]:
    """Return how many of the newest events came alone, and how many of them not to their home.

    Those of an array lie together, wherever their homes are: as a batch over REST does.
    """
    topic, alone, away = settings.topic(settings.raw_topic), 0, 0
    newest = {
        TopicPartition(topic, number): (max(start, end - PLACED_EACH), end)
        for number, (start, end) in bounds.items()
    }
    judging = Judging(settings.default_organization_id)
    async with scan_many(settings, newest) as batches:
        async for tp, records in batches:
            for event in _alone(records, tp.partition, judging):
                key = message_key(*event.name)
                home = home_partition(key, len(bounds), settings.home_partitioner)
                alone, away = alone + 1, away + (home != tp.partition)
    return alone, away


def _alone(records: Iterable[LogRecord], partition: int, judging: Judging) -> Iterator[Arrival]:
    """Yield the events that have a record of their own."""
    for one in records:
        if (one.value or b"").lstrip()[:1] != b"[":
            place = (one.timestamp_ms, partition, one.offset)
            for each in arrivals_of(one.value, one.headers, *place, judging):
                if isinstance(each, Arrival):
                    yield each


def _compression(batches: Iterable[Batch]) -> Finding:
    """Return whether batches that are worth it are packed; a tick or a single event is not."""
    told = [b for b in batches if b.is_compressed or b.nbytes >= WORTH_PACKING_BYTES]
    plain = sum(not batch.is_compressed for batch in told)
    found = f"{plain} of {len(told)} of the newest batches are large and not compressed."
    mend = "Set compression.type of the producers: zstd, lz4 or gzip."
    return judged(PRODUCERS, "compression", 2 * plain > len(told), found, mend)


async def _bounds(settings: Settings, name: str) -> dict[int, tuple[int, int]]:
    topic = settings.topic(name)
    tps = [TopicPartition(topic, n) for n in range(await partition_count(settings, topic))]
    return {tp.partition: bounds for tp, bounds in (await bounds_of(settings, tps)).items()}


async def _application(settings: Settings) -> Finding:
    """Return whether the topics are those of this application."""
    application, ours = await claiming_application(settings), settings.application_id
    if application is None:
        found = "No application has claimed the topics yet; a worker does."
        return Finding("group", "application", "ok", found)
    found = f"The topics are those of application {application}."
    if application == ours:
        return Finding("group", "application", "ok", found)
    mend = f"Set METER_APPLICATION_ID={application}, or stop its workers to go on as {ours}."
    return Finding("group", "application", "fail", found, mend)


def _group(settings: Settings, group: Group | None) -> Finding:
    name = settings.consumer_group
    if group is None:
        mend = "Allow DESCRIBE of the group to this user."
        return Finding("group", "members", "unknown", f"Nothing is told of group {name}.", mend)
    found = f"Group {name} is {group.state or 'empty'}: {len(group.members)} worker(s)."
    if not group.members:
        return Finding("group", "members", "warn", found, "Start a worker: `meter worker`.")
    if complaint := other_topics(settings, group):
        return Finding("group", "members", "fail", found, complaint)
    if len(group.members) > settings.raw_partitions:
        mend = f"{settings.raw_partitions} partitions keep no more workers busy."
        return Finding("group", "members", "warn", found, mend)
    return Finding("group", "members", "ok", f"{found} {'; '.join(group.members)}")
