"""What brokers tell of themselves and of a group; nothing is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.kafka.clients import Admin


class Cluster(NamedTuple):
    """The brokers that answer."""

    cluster_id: str
    brokers: list[int]


class Group(NamedTuple):
    """A consumer group as its coordinator has it."""

    state: str
    members: list[str]
    """Client id and address of each, sorted."""


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


async def group_of(admin: Admin, name: str) -> Group | None:
    """Return a consumer group; None: its coordinator does not tell."""
    for answer in await admin.describe_consumer_groups([name]):
        for group in answer.to_object()["groups"]:
            if not group["error_code"]:
                members = [f"{m['client_id']} at {m['client_host']}" for m in group["members"]]
                return Group(str(group["state"]), sorted(members))
    return None
