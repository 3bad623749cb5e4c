"""Three real brokers, each its own controller as well: what survives the loss of one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from app.kafka.cluster_id import write_cluster_id
from app.local_servers.kafka import LocalKafka, new_cluster_id
from app.local_servers.ports import free_ports
from app.settings import HOST

BROKERS = 3
PROPERTIES = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
    # Who is gone leaves the replicas in sync after this: 30 s by default.
    "replica.lag.time.max.ms": "3000",
    # Who is back leads again what it led before, at once.
    "leader.imbalance.check.interval.seconds": "1",
    "leader.imbalance.per.broker.percentage": "0",
    # Who names its rack is sent to the replica there.
    "replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector",
}


def rack_of(node: int) -> str:
    """Return the rack of a broker: each has its own."""
    return f"zone-{node}"


@asynccontextmanager
async def cluster(directory: Path) -> AsyncIterator[dict[int, LocalKafka]]:
    """Brokers by node id, all of them up."""
    ports = free_ports(2 * BROKERS)
    nodes = dict(zip(range(1, BROKERS + 1), zip(ports[::2], ports[1::2], strict=True), strict=True))
    voters = ",".join(f"{node}@{HOST}:{controller}" for node, (_, controller) in nodes.items())
    cluster_id = new_cluster_id()
    brokers: dict[int, LocalKafka] = {}
    for node, (port, controller) in nodes.items():
        own = {
            "node.id": str(node),
            "broker.rack": rack_of(node),
            "controller.quorum.voters": voters,
            "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        }
        place = directory / f"broker-{node}"
        place.mkdir(parents=True)
        write_cluster_id(place, cluster_id)
        brokers[node] = LocalKafka(place, port=port, properties={**PROPERTIES, **own})
    async with AsyncExitStack() as servers:
        for broker in brokers.values():
            servers.callback(broker.kill)
        # None of them answers before two are there.
        await asyncio.gather(*(broker.start() for broker in brokers.values()))
        yield brokers
