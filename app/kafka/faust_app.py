"""The Faust app of a worker, and the settings of Faust it runs with.

Its transport delivers what one fetch brought, a batch of each partition, as one stream item.
Source: stream-engine §2 (what stock Faust does, and why each override is here), state §3 and §4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import faust
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from mode import CrashingSupervisor

from app.kafka.batch_consumer import REQUEST_TIMEOUT_MS, BatchConsumer, OwningApp
from app.kafka.clients import Producer
from app.kafka.placing import PartitionOwner
from app.kafka.quiet import QuietMonitor
from app.kafka.topics import EVENTS_REKEYED, RAW_MESSAGE_BYTES
from app.settings import Settings

SCHEME: Final = "kafkabatch"


class _Producer(driver.Producer):
    """Faust's own producer: it sends nothing of ours, but it has to connect."""

    app: OwningApp

    def _settings_auth(self) -> Mapping[str, Any]:
        return self.app.settings.kafka_options()

    @property
    def _producer_type(self) -> type[Producer]:
        return Producer


class Transport(driver.Transport):
    """`kafkabatch://`."""

    Consumer = BatchConsumer
    Producer = _Producer


TRANSPORTS.aliases[SCHEME] = f"{__name__}:Transport"

# The more records of a partition come at once, the longer are the runs of one route: batches of
# 5,000 cost a third more CPU an event with 1,250 routes a partition, those of 20,000 a tenth less.
MAX_POLL_RECORDS: Final = 10_000
FETCHED_BYTES: Final = 4 * RAW_MESSAGE_BYTES
# Faust gives up a seek, and so a restore within it, silently after `broker_request_timeout`; the
# requests to the broker have their own limit above.
RESTORE_TIMEOUT_S: Final = 24 * 3_600.0


class MeterApp(OwningApp):
    """The Faust app of a worker."""

    def __init__(self, settings: Settings, partition_owner: PartitionOwner, **options: Any) -> None:
        self.settings = settings
        self.partition_owner = partition_owner
        self.raw_topic = settings.topic(settings.raw_topic)
        self.rekeyed_topic = settings.topic(EVENTS_REKEYED)
        self.batch_topics = frozenset({self.raw_topic, self.rekeyed_topic})
        super().__init__(settings.consumer_group, **options)

    def _create_directories(self) -> None:
        """Make none: Faust keeps nothing on disk here, as it has no tables."""

    def batch_topic(self) -> faust.TopicT:
        """Return the raw and the rekeyed topic, for the one agent that reads both."""
        return self.topic(
            self.raw_topic,
            self.rekeyed_topic,
            key_serializer="raw",
            value_serializer="raw",
            acks=False,
        )

    @property
    def batches(self) -> BatchConsumer:
        """What delivers batches, and is told which of them are durable."""
        return cast(BatchConsumer, self.consumer)


def make_app(settings: Settings, partition_owner: PartitionOwner, **overrides: Any) -> MeterApp:
    """Make the app as a worker runs it; `overrides` are Faust settings, as session timeouts."""
    servers = settings.kafka_options()["bootstrap_servers"]
    options: dict[str, Any] = {
        "broker": ";".join(f"{SCHEME}://{server}" for server in servers),
        "datadir": settings.state_dir / "faust",
        "key_serializer": "raw",
        "value_serializer": "raw",
        "topic_partitions": settings.raw_partitions,
        "topic_replication_factor": settings.replication_factor,
        "topic_disable_leader": True,
        "topic_allow_declare": False,
        "table_standby_replicas": 0,
        "web_enabled": False,
        "worker_redirect_stdouts": False,
        "agent_supervisor": CrashingSupervisor,
        "Monitor": QuietMonitor,
        "broker_request_timeout": RESTORE_TIMEOUT_S,
        "broker_max_poll_interval": RESTORE_TIMEOUT_S,
        "broker_max_poll_records": MAX_POLL_RECORDS,
        "consumer_group_instance_id": settings.group_instance_id or None,
        "broker_commit_interval": 1.0,
        "broker_session_timeout": settings.group_session_timeout_s,
        # For so long the first to let go in a rebalance may stand, until the last one hears of it.
        "broker_heartbeat_interval": 0.5,
        # Who does not let go is left out: well before the requests of those who wait time out.
        "broker_rebalance_timeout": 30.0,
        # A batch of one partition has at most this, or one record.
        "consumer_max_fetch_size": FETCHED_BYTES,
        "producer_request_timeout": REQUEST_TIMEOUT_MS / 1_000,
    }
    return MeterApp(settings, partition_owner, **(options | overrides))
