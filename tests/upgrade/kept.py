"""What a version left in Kafka and on its disks, kept as a file, and what came afterwards."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.simulation.kafka import Broker, Log, LogEntry

STATES = Path(__file__).parent / "states"


class KeptEntry(msgspec.Struct, array_like=True):
    """A record of a log."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]

    @classmethod
    def of(cls, entry: LogEntry) -> KeptEntry:
        """Return what is kept of a record."""
        place = entry.topic, entry.partition, entry.offset, entry.timestamp
        return cls(*place, entry.key, entry.value, list(entry.headers))

    def entry(self) -> LogEntry:
        """Return the record."""
        place = self.topic, self.partition, self.offset, self.timestamp
        return LogEntry(*place, 1, self.key, self.value, tuple(self.headers))


class KeptLog(msgspec.Struct, array_like=True):
    """A partition of a topic."""

    topic: str
    partition: int
    start: int
    end: int
    entries: list[KeptEntry]


class Kept(msgspec.Struct):
    """All that a version left behind, and what it made of the rest."""

    version: str
    seed: int
    partitions: int
    at_ms: int
    """The brokers' time when its workers had ended."""
    end_ms: int
    logs: list[KeptLog]
    disks: dict[str, bytes]
    """Files of its workers' state directories."""
    later: list[KeptEntry]
    """What then came to the logs of events and definitions, in order of time."""
    published: dict[str, list[bytes]]
    """All that the version published until `end_ms`, by topic."""

    def write(self) -> None:
        """Write the file."""
        packed = lzma.compress(msgspec.msgpack.encode(self), preset=9)
        (STATES / f"{self.seed}.msgpack.xz").write_bytes(packed)

    def into(self, broker: Broker) -> None:
        """Let a broker have the logs as they were left."""
        for kept in self.logs:
            log = Log()
            log.start, log.end = kept.start, kept.end
            log.entries = [each.entry() for each in kept.entries]
            broker.logs[kept.topic, kept.partition] = log

    def append_later(self, broker: Broker) -> None:
        """Let it also have what came afterwards, each record in its place."""
        for each in self.later:
            log = broker.log(each.topic, each.partition)
            log.entries.append(each.entry())
            log.end = each.offset + 1

    def onto(self, directory: Path) -> None:
        """Write the disks."""
        for name, content in self.disks.items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def read(path: Path) -> Kept:
    """Return what a file keeps."""
    return msgspec.msgpack.decode(lzma.decompress(path.read_bytes()), type=Kept)


def logs_of(broker: Broker) -> Iterator[KeptLog]:
    """Yield all logs as they are now."""
    for (topic, partition), log in sorted(broker.logs.items()):
        entries = [KeptEntry.of(each) for each in log.entries]
        yield KeptLog(topic, partition, log.start, log.end, entries)


def files_of(directory: Path) -> dict[str, bytes]:
    """Return all files below a directory."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
