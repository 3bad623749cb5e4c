"""Prove published topics: each message against a fold of both logs, in a process of its own.

A worker starts the process beside itself, so that folding from the first event on holds nobody up.
It hands it the cuts that it has taken: what belongs to later ones may be on its way.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from asyncio.subprocess import PIPE
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import chain
from typing import NamedTuple, get_args

import msgspec

from app.definitions.files import DefinitionLine
from app.definitions.log import apply_settings
from app.definitions.state import Definitions
from app.kafka.lenient_fetch import limit_after
from app.kafka.log_readers import LogRecord, RecordReader, bounds_of, scan
from app.kafka.names import TopicPartition
from app.kafka.reading import driven
from app.kafka.topics import METER_DEFINITIONS, admin_client
from app.meter.errors import Unavailable
from app.meter.evidence import Difference, TopicsReport
from app.offline.comparison import Comparison, Differing, MessagePlace
from app.offline.fold import EventLine, OfflineMeter
from app.settings import Settings
from app.wire.arrivals import SubscriptionKey
from app.wire.keys import home_partition, message_key
from app.wire.usage_records import Topic

TOPICS: tuple[Topic, ...] = get_args(Topic)
"""All that are compared: whatever a fold publishes."""

_NICER = 10


class ToProve(NamedTuple):
    """What is to be proved."""

    settings: Settings
    organization_id: str
    external_subscription_id: str | None
    """None: every subscription of the organization."""
    cuts_ms: Mapping[int, int]
    """The last cut that each partition has published."""


async def prove_topics(
    settings: Settings,
    organization_id: str,
    external_subscription_id: str | None,
    cuts_ms: Mapping[int, int],
) -> TopicsReport:
    """Compare in a process of its own, which ends when nobody waits for it any more.

    Raises:
        Unavailable: it ended without a verdict.
    """
    wanted = ToProve(settings, organization_id, external_subscription_id, cuts_ms)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=PIPE, stdout=PIPE
    )
    try:
        output, _ = await process.communicate(pickle.dumps(wanted))
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        raise Unavailable(f"published topics could not be compared: exit {process.returncode}")
    return msgspec.json.decode(output, type=TopicsReport)


class _Proof:
    """One comparison, in order: definitions, published messages, events."""

    def __init__(self, wanted: ToProve, runner: asyncio.Runner):
        self._wanted, self._settings = wanted, wanted.settings
        self._runner = runner
        self._definitions = Definitions()
        self._cuts: dict[SubscriptionKey, int | None] = {}
        self._comparison = Comparison(self._cut_of, self._home)

    def run(self) -> TopicsReport:
        """Return what differs."""
        settings = self._settings
        (defined,) = self._logs([TopicPartition(settings.topic(METER_DEFINITIONS), 0)])
        with self._read(defined) as records:
            lines = [DefinitionLine(r.timestamp_ms, r.offset, r.value) for r in records]
        for line in lines:
            apply_settings(self._definitions, line.value, line.append_time_ms, line.offset)
        raw = settings.topic(settings.raw_topic)
        limit_after(raw, self._definitions.limited_after_ms())
        self._find_all()
        logs = self._logs([TopicPartition(raw, n) for n in range(settings.raw_partitions)])
        for log in logs:
            if log.start > 0:
                told = f"{raw} partition {log.tp.partition} begins at offset {log.start}"
                return TopicsReport(unproved=told)
        with ExitStack() as stack:
            # A fold ends at its last cut, a log may go on.
            events = [_events(log, stack.enter_context(self._read(log))) for log in logs]
            self._fold(OfflineMeter(self._is_wanted), lines, events)
        comparison = self._comparison
        comparison.end()
        return TopicsReport(
            compared={topic: comparison.compared[topic] for topic in TOPICS},
            differences=tuple(self._runner.run(self._differences(comparison.differing))),
        )

    def _fold(
        self,
        meter: OfflineMeter,
        defined: Sequence[DefinitionLine],
        logs: Sequence[Iterator[EventLine]],
    ) -> None:
        parent = os.getppid()

        def take(_: int) -> None:
            if os.getppid() != parent:
                sys.exit("nobody waits for the comparison any more")
            for record in meter.records:
                self._comparison.expect(record)
            meter.records.clear()
            meter.refused.clear()
            meter.rejected.clear()

        meter.run_logs(defined, logs, max(self._wanted.cuts_ms.values(), default=-1), take)
        take(0)

    def _find_all(self) -> None:
        there = set(self._runner.run(_topics(self._settings)))
        # Nothing makes a topic before it has something to say.
        by_name = {name: topic for topic in TOPICS if (name := self._topic(topic)) in there}
        tps = [TopicPartition(name, n) for name in by_name for n in sorted(self._wanted.cuts_ms)]
        for log in self._logs(tps):
            # The first one is the oldest that retention has left.
            first_kept = log.start > 0
            with self._read(log) as records:
                for record in records:
                    place = MessagePlace(by_name[log.tp.topic], log.tp.partition, record.offset)
                    value = record.value or b""
                    self._comparison.find(place, record.headers, value, first_kept=first_kept)
                    first_kept = False
            if first_kept:
                self._comparison.keeps_nothing(by_name[log.tp.topic], log.tp.partition)

    def _topic(self, topic: Topic) -> str:
        """Return a topic's name in Kafka; settings may call that of usage records otherwise."""
        settings = self._settings
        return settings.topic(settings.usage_records_topic if topic == TOPICS[0] else topic)

    def _logs(self, tps: Sequence[TopicPartition]) -> list[_Log]:
        found = self._runner.run(bounds_of(self._settings, tps))
        return [_Log(tp, *found[tp]) for tp in tps]

    @contextmanager
    def _read(self, log: _Log) -> Iterator[Iterator[LogRecord]]:
        with driven(self._runner, scan(self._settings, *log)) as batches:
            yield chain.from_iterable(batches)

    async def _differences(self, differing: Sequence[Differing]) -> list[Difference]:
        reader, told = RecordReader(self._settings), list[Difference]()
        offsets: dict[tuple[Topic, int], list[int]] = {}
        for each in differing:
            if each.published is not None:
                topic, partition, offset = each.published
                offsets.setdefault((topic, partition), []).append(offset)
        try:
            values = {
                MessagePlace(topic, partition, offset): record.value
                for (topic, partition), some in offsets.items()
                for offset, record in (
                    await reader.read_many(self._topic(topic), partition, some)
                ).items()
            }
        finally:
            await reader.stop()
        for each in differing:
            value = None if each.published is None else values.get(each.published)
            told.append(each.difference(self._home(each.name), value))
        return told

    def _is_wanted(self, name: SubscriptionKey) -> bool:
        return self._cut_of(name) is not None

    def _cut_of(self, name: SubscriptionKey) -> int | None:
        wanted = self._wanted
        if name[0] != wanted.organization_id:
            return None
        if wanted.external_subscription_id not in (None, name[1]):
            return None
        if name not in self._cuts:
            self._cuts[name] = wanted.cuts_ms.get(self._home(name))
        return self._cuts[name]

    def _home(self, name: SubscriptionKey) -> int:
        partitioner = self._definitions.settings_at().home_partitioner
        return home_partition(message_key(*name), self._settings.raw_partitions, partitioner)


class _Log(NamedTuple):
    """One partition of a log as it is now."""

    tp: TopicPartition
    start: int
    end: int


def _events(log: _Log, records: Iterator[LogRecord]) -> Iterator[EventLine]:
    for record in records:
        place = log.tp.partition, record.offset
        yield EventLine(record.timestamp_ms, *place, record.value, record.headers)


async def _topics(settings: Settings) -> list[str]:
    async with admin_client(settings) as admin:
        return list(await admin.list_topics())


def main() -> None:
    """Prove what the standard input asks for; the report goes to the standard output."""
    os.nice(_NICER)
    wanted = pickle.load(sys.stdin.buffer)  # noqa: S301 - the worker that started us wrote it
    with asyncio.Runner() as runner:
        report = _Proof(wanted, runner).run()
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
