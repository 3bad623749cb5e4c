"""A real single-node Kafka (KRaft) as a process of ours."""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from app.bounds.limits import TRANSACTION_TIMEOUT_MS
from app.errors import StackError
from app.kafka.clients import Admin, started
from app.kafka.cluster_id import own_cluster_id, write_cluster_id
from app.kafka.names import KafkaError
from app.local_servers.java import find_java, kafka_jars
from app.local_servers.ports import free_ports, is_free
from app.local_servers.process import without_stack_frames
from app.local_servers.server import LocalServer
from app.settings import HOST

HEAP = "512m"

# One node must be its own replica for every internal topic, else transactions never start.
PROPERTIES: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    # Whoever leaves one open holds back what lies behind it; our own flushes want so much.
    "transaction.max.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # After a SIGKILL the node waits until it takes its former self for dead: 9 s by default.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # The default takes a quarter of the heap for compaction.
    "log.cleaner.dedupe.buffer.size": str(32 * 1024 * 1024),
}
LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%n%throwable
rootLogger.level = info
rootLogger.appenderRef.out.ref = out
"""


class LocalKafka(LocalServer):
    """A broker, and its own controller.

    `properties` are added to server.properties, for example a shorter `log.cleaner.backoff.ms`
    for tests of compaction; `format_options` to the words that its storage is formatted with.
    """

    name: ClassVar[str] = "Kafka"
    port_setting: ClassVar[str] = "METER_KAFKA_PORT"
    address_setting: ClassVar[str] = "METER_KAFKA_BOOTSTRAP_SERVERS"
    directory_setting: ClassVar[str] = "METER_KAFKA_DIR"

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log_file: Path | None = None,
        properties: Mapping[str, str] | None = None,
        format_options: Sequence[str] = (),
        maven_url: str | None = None,
    ) -> None:
        super().__init__(directory, port=port, log_file=log_file)
        self._format_options = format_options
        self._maven_url = maven_url
        self._properties = dict(properties or {})

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`."""
        return self.address

    @property
    def _properties_file(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _prepare(self) -> list[str]:
        self._write_properties()
        java = self._java()
        if not (self._data / "meta.properties").exists():
            self._format(java)
        return [*java, "kafka.Kafka", str(self._properties_file)]

    def _java(self) -> list[str]:
        """Return the command up to the main class."""
        logging_file = self.directory / "log4j2.properties"
        logging_file.write_text(LOGGING)
        return [
            str(find_java()),
            f"-Xmx{HEAP}",
            "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={logging_file}",
            "-cp",
            os.pathsep.join(map(str, kafka_jars(self._maven_url))),
        ]

    def _write_properties(self) -> None:
        (controller_port,) = free_ports(1)
        own = {
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{HOST}:{controller_port}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "controller.quorum.voters": f"1@{HOST}:{controller_port}",
            "log.dirs": str(self._data),
        }
        properties = {**PROPERTIES, **own, **self._properties}
        self._properties_file.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))

    def _format(self, java: list[str]) -> None:
        cluster_id = own_cluster_id(self.directory) or new_cluster_id()
        # Before it is used: an interrupted format is done again under the same id.
        write_cluster_id(self.directory, cluster_id)
        arguments = ["format", "--ignore-formatted", "-t", cluster_id]
        arguments += ["-c", str(self._properties_file), *self._format_options]
        tool = subprocess.run(
            [*java, "kafka.tools.StorageTool", *arguments], capture_output=True, text=True
        )
        if tool.returncode:
            said = "\n".join(without_stack_frames(tool.stdout + tool.stderr))
            raise StackError(f"Kafka's storage could not be set up with {java[0]}:\n{said}")

    async def _answers(self) -> bool:
        if is_free(self.port):
            return False
        asking = Admin(bootstrap_servers=self.bootstrap_servers, request_timeout_ms=2_000)
        try:
            async with started(asking) as admin:
                return bool((await admin.describe_cluster())["brokers"])
        except (KafkaError, OSError, TimeoutError):
            return False


def new_cluster_id() -> str:
    """Make a random id as Kafka writes them; none begins with a dash, as an option does."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
