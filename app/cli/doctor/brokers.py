"""Checks of Kafka: brokers, topics and the group."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Final

from app.cli.doctor.environment import agreed
from app.cli.doctor.finding import Finding
from app.cli.settings_apply import definitions_of
from app.kafka.clients import NOT_TAKEN, Admin
from app.kafka.cluster import Cluster, broker_settings, cluster_of, group_of
from app.kafka.names import KafkaError
from app.kafka.topics import METER_DEFINITIONS, TopicReport, admin_client, topic_report
from app.kafka.transactions import TransactionTooLong, require_long_transactions
from app.settings import Settings
from app.tokens import NotLetIn

AREA = "kafka"
TOPICS = "topics"
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
    yield _brokers(settings, cluster, servers)
    yield await _auto_creation(admin, cluster)
    yield await _transactions(settings)
    report = await topic_report(settings, admin)
    for finding in _topics(settings, report):
        yield finding
    if settings.topic(METER_DEFINITIONS) not in report.absent:
        yield agreed(settings, await definitions_of(settings))
    yield await _group(settings, admin)


def _brokers(settings: Settings, cluster: Cluster, servers: str) -> Finding:
    known, needed = len(cluster.brokers), settings.replication_factor
    found = f"Cluster {cluster.cluster_id} by {servers}: {known} broker(s)."
    if known < needed:
        mend = f"METER_REPLICATION_FACTOR={needed} needs {needed} of them."
        return Finding(AREA, "brokers", "fail", found, mend)
    if settings.profile == "production" and needed < LEAST_COPIES:
        mend = f"A lost broker takes records along: METER_REPLICATION_FACTOR={LEAST_COPIES}."
        return Finding(AREA, "brokers", "warn", found, mend)
    return Finding(AREA, "brokers", "ok", found)


async def _auto_creation(admin: Admin, cluster: Cluster) -> Finding:
    for broker in cluster.brokers:
        told = await broker_settings(admin, broker)
        if told is None:
            found = f"Broker {broker} does not tell its settings to this user."
            return Finding(AREA, "auto-creation", "unknown", found, "Allow DESCRIBE_CONFIGS.")
        if told.get("auto.create.topics.enable") == "true":
            found = f"Broker {broker} makes topics that anybody names."
            mend = "Set auto.create.topics.enable=false, so that a misspelt topic is refused."
            return Finding(AREA, "auto-creation", "warn", found, mend)
    return Finding(AREA, "auto-creation", "ok", "A misspelt topic is refused.")


async def _transactions(settings: Settings) -> Finding:
    try:
        await require_long_transactions(settings)
    except TransactionTooLong as error:
        found, _, mend = str(error).partition(". ")
        return Finding(AREA, "transactions", "fail", f"{found}.", mend)
    return Finding(AREA, "transactions", "ok", "They may last as long as a flush needs.")


def _topics(settings: Settings, report: TopicReport) -> Iterator[Finding]:
    for complaint in report.complaints:
        found, _, mend = complaint.partition(". ")
        yield Finding(TOPICS, "shape", "fail", f"{found}.", mend)
    if not report.complaints and report.copies:
        yield Finding(TOPICS, "shape", "ok", f"{len(report.copies)} topics are as they must be.")
    if report.absent:
        found = f"Not there: {', '.join(report.absent)}."
        yield Finding(TOPICS, "present", "warn", found, "A worker makes them when it starts.")
    for deletion in report.deletions:
        mend = "Set retention.ms and retention.bytes to -1, or keep a copy elsewhere."
        yield Finding(TOPICS, "retention", "warn", f"{deletion}.", mend)
    needed = min(settings.replication_factor, LEAST_IN_SYNC)
    short = [name for name, copies in report.copies.items() if copies < needed]
    if short:
        found = f"Fewer than {needed} copies in sync: {', '.join(short)}."
        yield Finding(TOPICS, "copies", "warn", found, "Look after the brokers that lag.")


async def _group(settings: Settings, admin: Admin) -> Finding:
    name = settings.consumer_group
    group = await group_of(admin, name)
    if group is None:
        mend = "Allow DESCRIBE of the group to this user."
        return Finding("group", "members", "unknown", f"Nothing is told of group {name}.", mend)
    found = f"Group {name} is {group.state or 'empty'}: {len(group.members)} worker(s)."
    if not group.members:
        return Finding("group", "members", "warn", found, "Start a worker: `meter worker`.")
    if len(group.members) > settings.raw_partitions:
        mend = f"{settings.raw_partitions} partitions keep no more workers busy."
        return Finding("group", "members", "warn", found, mend)
    return Finding("group", "members", "ok", f"{found} {'; '.join(group.members)}")
