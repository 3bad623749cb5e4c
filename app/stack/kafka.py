"""A real single-node Kafka (KRaft) as a process of ours."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from app.stack.errors import StackError
from app.stack.java import find_java, kafka_jars
from app.stack.ownership import write_cluster_id
from app.stack.ports import HOST, free_ports, is_free, require_free
from app.stack.process import ServerProcess

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
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
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
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


class LocalKafka:
    """A broker whose files live under `directory`; they survive, so a second start goes on.

    `async with LocalKafka(directory) as kafka: kafka.bootstrap_servers`. Without a `port` a free
    one is taken and kept over restarts. `properties` are added to server.properties, for example
    shorter `log.cleaner.backoff.ms` for tests of compaction.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log_file: Path | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self._fixed_port = port
        self._port, self._controller_port = free_ports(2)
        if port is not None:
            self._port = port
        self._properties = dict(properties or {})
        log_file = log_file or self.directory / "kafka.log"
        self.process = ServerProcess("Kafka", self.directory / "kafka.pid", log_file.resolve())

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`."""
        return f"{HOST}:{self._port}"

    async def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            StackError: port taken, no jars, no disk, or it did not come up.
        """
        self.process.stop_leftover(STOP_TIMEOUT_S)
        if self._fixed_port is not None:
            require_free(
                self._port,
                "METER_KAFKA_PORT",
                "set METER_KAFKA_BOOTSTRAP_SERVERS to use a Kafka that already runs",
            )
        if not is_free(self._controller_port):
            (self._controller_port,) = free_ports(1)
        java = await asyncio.to_thread(self._prepare)
        self.process.start([*java, "kafka.Kafka", str(self._properties_file)])
        await self.process.wait_ready(self._answers, READY_TIMEOUT_S)

    async def stop(self) -> None:
        """Shut it down in order."""
        await self.process.stop(STOP_TIMEOUT_S)

    def kill(self) -> None:
        """SIGKILL; `start` brings it back on the same port with the same files."""
        self.process.kill()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            self.kill()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def _properties_file(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _prepare(self) -> list[str]:
        """Write the configuration, format the storage once; the command up to the main class."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._write_properties()
            java = self._java()
            if not (self._data / "meta.properties").exists():
                self._format(java)
        except OSError as error:
            raise StackError(f"Kafka's files could not be written: {error}.") from error
        return java

    def _java(self) -> list[str]:
        logging_file = self.directory / "log4j2.properties"
        logging_file.write_text(LOGGING)
        return [
            str(find_java()),
            f"-Xmx{HEAP}",
            "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={logging_file}",
            "-cp",
            os.pathsep.join(map(str, kafka_jars())),
        ]

    def _write_properties(self) -> None:
        own = {
            "listeners": f"PLAINTEXT://{HOST}:{self._port},"
            f"CONTROLLER://{HOST}:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self._port}",
            "controller.quorum.voters": f"1@{HOST}:{self._controller_port}",
            "log.dirs": str(self._data),
        }
        lines = (
            f"{key}={value}" for key, value in {**PROPERTIES, **own, **self._properties}.items()
        )
        self._properties_file.write_text("\n".join(lines) + "\n")

    def _format(self, java: list[str]) -> None:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        arguments = ["format", "-t", cluster_id, "-c", str(self._properties_file)]
        tool = subprocess.run(
            [*java, "kafka.tools.StorageTool", *arguments], capture_output=True, text=True
        )
        if tool.returncode:
            raise StackError(f"Kafka's storage could not be set up: {tool.stdout}{tool.stderr}")
        write_cluster_id(self.directory, cluster_id)

    async def _answers(self) -> bool:
        if is_free(self._port):
            return False
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.bootstrap_servers, request_timeout_ms=2_000
        )
        try:
            await admin.start()
            return bool((await admin.describe_cluster())["brokers"])
        except (KafkaError, OSError, TimeoutError):
            return False
        finally:
            await admin.close()
