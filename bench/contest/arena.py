"""Where a load is run: one broker, one topic with its records, one file of them, one recount."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from app.local_servers.kafka import LocalKafka
from bench.contest.loads import Load, Written, records
from bench.contest.recount import Recount, recount
from bench.contest.task import RESULT, Result, Task
from bench.contest.tools import ROOT
from bench.world import send_in_batches

PARTITIONS = 4
JOINED_WITHIN_MS = 4_000
"""So long the broker waits for a second member, so that two workers begin with two halves."""
RUN_WITHIN_S = 600.0
RSS_EVERY_S = 0.1


class Wrong(Exception):
    """A contestant failed, or its output is another one than the recount; the message says how."""


class Arena(NamedTuple):
    """One load, ready for contestants."""

    load: Load
    servers: str
    kafka_dir: Path
    room: Path
    topic: str
    records: int
    ends: list[int]
    """How many of them each partition has."""
    file: Path
    recount: Recount
    profile: bool = False
    """Whether ours tells where its CPU goes, which slows it down."""

    def task(self, name: str, **options: Any) -> Task:
        """Return a task with a directory of its own."""
        directory = self.room / name
        directory.mkdir(parents=True)
        return Task(
            self.servers,
            self.topic,
            PARTITIONS,
            self.records,
            self.ends,
            name,
            str(directory),
            str(self.file),
            options,
        )

    async def newest(self, topic: str) -> dict[tuple[int, bytes], bytes]:
        """Return the newest value of each key of each partition; deleted ones are left out."""
        found: dict[tuple[int, bytes], bytes | None] = {}
        async for partition, key, value in self._committed(topic):
            found[partition, key] = value
        return {key: value for key, value in found.items() if value is not None}

    async def values(self, topic: str) -> list[bytes]:
        """Return all values of a topic."""
        return [value async for _, _, value in self._committed(topic) if value is not None]

    async def _committed(self, topic: str) -> AsyncIterator[tuple[int, bytes, bytes | None]]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.servers,
            isolation_level="read_committed",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            tps = [TopicPartition(topic, n) for n in range(PARTITIONS)]
            consumer.assign(tps)
            ends = await consumer.end_offsets(tps)
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for tp, batch in (await consumer.getmany(timeout_ms=500)).items():
                    for record in batch:
                        yield tp.partition, record.key or b"", record.value
        finally:
            await consumer.stop()

    async def sweep(self, name: str) -> None:
        """Delete the topics of a run: they would cost the next one CPU of the broker."""
        async with _admin(self.servers) as admin:
            own = [topic for topic in await admin.list_topics() if f"{name}-" in topic]
            if own:
                await admin.delete_topics(own)


@asynccontextmanager
async def broker(directory: Path) -> AsyncIterator[LocalKafka]:
    """Start the one broker of a contest."""
    properties = {"group.initial.rebalance.delay.ms": str(JOINED_WITHIN_MS)}
    async with LocalKafka(directory, properties=properties) as kafka:
        yield kafka


@asynccontextmanager
async def arena(
    kafka: LocalKafka, load: Load, events: int, profile: bool = False
) -> AsyncIterator[Arena]:
    """Write the topic and the file of a load, and recount it; all goes afterwards."""
    topic = f"{load.name}-events"
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        room = Path(directory)
        file = room / "events.jsonl"
        ends = await _write(kafka.bootstrap_servers, load, topic, events, file)
        with file.open("rb") as lines:
            expected = await asyncio.to_thread(recount, lines, PARTITIONS)
        yield Arena(
            load,
            kafka.bootstrap_servers,
            kafka.directory,
            room,
            topic,
            events,
            ends,
            file,
            expected,
            profile,
        )
    async with _admin(kafka.bootstrap_servers) as admin:
        await admin.delete_topics([topic])


@asynccontextmanager
async def _admin(servers: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def _write(servers: str, load: Load, topic: str, events: int, file: Path) -> list[int]:
    async with _admin(servers) as admin:
        configs = {
            "message.timestamp.type": "CreateTime",
            "retention.ms": "-1",
            "message.timestamp.after.max.ms": "9223372036854775807",
        }
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1, topic_configs=configs)])
    await asyncio.sleep(1)
    # One request at a time: appended in the order of the records.
    async with AIOKafkaProducer(
        bootstrap_servers=servers, max_batch_size=1 << 19, max_request_size=1 << 20
    ) as producer:
        ends = [0] * PARTITIONS

        def noted(lines: IO[bytes]) -> Iterator[Written]:
            for record in records(load, events, PARTITIONS):
                lines.write(record.value + b"\n")
                ends[record.partition] += 1
                yield record

        with file.open("wb") as lines:
            await send_in_batches(producer, topic, noted(lines))
    return ends


class Run(NamedTuple):
    """What one run of a contestant needed."""

    events_per_s: float
    cpu_us: float
    """CPU of its processes for an event."""
    rss_mb: float
    """The most that its processes had at once."""


def measured(count: int, results: Sequence[Result], rss_bytes: int) -> Run:
    """Return the figures of the processes of one contestant."""
    # So few events as a test has may all be taken at one look.
    took = max(1, count - sum(each.before for each in results))
    began_s = min(each.first_s for each in results)
    seconds = max(0.001, max(each.last_s for each in results) - began_s)
    cpu_s = sum(each.cpu_s for each in results)
    return Run(took / seconds, cpu_s / took * 1e6, rss_bytes / 1e6)


class Runner:
    """A process of a contestant: it is started, watched and ended."""

    def __init__(self, task: Task, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._task, self._command, self._environment = task, command, environment
        self._log = task.room / "log.txt"
        self._file: IO[bytes] = self._log.open("wb")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it; what it says goes to a file."""
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            str(self._task.write()),
            cwd=ROOT,
            env={**os.environ, **self._environment},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._file,
        )

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("it is not started")
        return self._process

    def rss_bytes(self) -> int:
        """Return what it has now; 0 once it has ended."""
        if self._process is not None:
            with suppress(psutil.NoSuchProcess):
                return int(psutil.Process(self._process.pid).memory_info().rss)
        return 0

    async def said(self, line: bytes) -> None:
        """Wait until it says a line, or ends."""
        stdout = self._running.stdout
        while stdout is not None and (read := await stdout.readline()):
            if read.strip() == line:
                return

    async def end(self) -> Result:
        """Close its input, wait until it ends, and return its result.

        Raises:
            Wrong: it failed.
        """
        process = self._running
        if process.stdin is not None:
            process.stdin.close()
        status = await process.wait()
        self._file.close()
        told = self._task.room / RESULT
        if status or not told.exists():
            # Lines that are indented are a place in a stack.
            lines = [
                line
                for line in self._log.read_text(errors="replace").splitlines()
                if line.strip() and not line[0].isspace()
            ]
            raise Wrong(f"it ended with {status} and said: {(lines or ['nothing'])[-1]}")
        return Result(**json.loads(told.read_text()))

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)


async def run_all(runners: Sequence[Runner]) -> tuple[list[Result], int]:
    """Run the processes of one contestant; return their results and the most memory they had."""
    most_bytes = 0

    async def look() -> None:
        nonlocal most_bytes
        while True:
            most_bytes = max(most_bytes, sum(each.rss_bytes() for each in runners))
            await asyncio.sleep(RSS_EVERY_S)

    looking = asyncio.create_task(look())
    try:
        for each in runners:
            await each.start()
        async with asyncio.timeout(RUN_WITHIN_S):
            # Who is done first stays until all are: another would take its partitions.
            await asyncio.gather(*(each.said(b"done") for each in runners))
            return await asyncio.gather(*(each.end() for each in runners)), most_bytes
    except TimeoutError as error:
        raise Wrong(f"it was not done after {RUN_WITHIN_S:,.0f} s") from error
    finally:
        looking.cancel()
        for each in runners:
            each.kill()
