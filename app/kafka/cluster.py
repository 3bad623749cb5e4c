"""What brokers tell of themselves; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.kafka.clients import Admin


class Cluster(NamedTuple):
    """The brokers that answer."""

    cluster_id: str
    brokers: list[int]


async def cluster_of(admin: Admin) -> Cluster:
    """Return the brokers of the cluster."""
    told = await admin.describe_cluster()
    brokers = sorted(int(broker["node_id"]) for broker in told["brokers"])
    return Cluster(str(told["cluster_id"]), brokers)


async def broker_settings(admin: Admin, broker: int) -> Mapping[str, str] | None:
    """Return the settings of a broker; None: it does not tell them to this user."""
    resource = ConfigResource(ConfigResourceType.BROKER, str(broker))
    for answer in await admin.describe_configs([resource]):
        for code, _, _, _, entries in answer.resources:
            if not code:
                return {entry[0]: entry[1] for entry in entries}
    return None
