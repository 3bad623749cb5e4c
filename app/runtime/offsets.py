"""Offsets: where the logs begin and end now, as the brokers tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from app.definitions.periods import NEVER_MS
from app.kafka.clients import Consumer
from app.kafka.joined import Joined
from app.kafka.log_readers import first_appended, first_from
from app.kafka.names import OffsetOutOfRangeError, TopicPartition
from app.kafka.topics import EVENTS_REKEYED, output_tp
from app.settings import Settings
from tables.changelogged.presence import LogsKept

LEADER_AWAITED_S: Final = 40.0
"""Seconds that a partition without a leader is waited for, before whoever asks is told so."""
_ANSWERED_WITHIN_MS: Final = 10_000
"""A broker that is silent for longer has no leadership any more: the others are asked instead."""


class Offsets:
    """Asks the brokers, by one consumer for what is committed and one for all that is written."""

    def __init__(self, settings: Settings):
        self._settings = settings
        options = settings.kafka_options() | {"request_timeout_ms": _ANSWERED_WITHIN_MS}
        self._committed = Consumer(
            enable_auto_commit=False, isolation_level="read_committed", **options
        )
        self._written = Consumer(enable_auto_commit=False, **options)
        self._starts = Joined(self._committed.led_starts)
        self._ends = Joined(self._committed.led_ends)
        self._kept: dict[int, LogsKept] = {}
        """By partition, what its logs had when somebody asked last."""

    async def start(self) -> None:
        """Connect."""
        await self._committed.start()
        await self._written.start()

    async def stop(self) -> None:
        """Close the connections."""
        await self._written.stop()
        await self._committed.stop()

    def logs_of(self, number: int) -> tuple[TopicPartition, TopicPartition]:
        """Return a partition of events-raw and of events-rekeyed."""
        settings = self._settings
        raw = TopicPartition(settings.topic(settings.raw_topic), number)
        return raw, TopicPartition(settings.topic(EVENTS_REKEYED), number)

    async def starts(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the first offsets that partitions still have."""
        return await self._starts.all_answers(tps, LEADER_AWAITED_S)

    async def ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where readers of what is committed come to an end now."""
        return await self._ends.all_answers(tps, LEADER_AWAITED_S)

    async def led_ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return `ends` of those partitions whose leader answers now."""
        return await self._committed.led_ends(tps)

    async def written_ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions end, with what open transactions have written.

        Of those whose leader answers now.
        """
        return await self._written.led_ends(tps)

    async def rekeyed_end(self, number: int) -> int:
        """Return the end of a partition of events-rekeyed: partitions ask before the same cut."""
        tp = self.logs_of(number)[1]
        return (await self.ends([tp]))[tp]

    async def output_ends(self, numbers: Iterable[int]) -> dict[int, int]:
        """Return the ends of partitions of usage-records; 0 if there is no such topic any more.

        Those whose leader does not answer now are left out. It is not where readers of what is
        committed end: before a transaction whose markers are not written yet, which may take as
        long as a partition has no leader.
        """
        tps = [output_tp(self._settings, number) for number in numbers]
        known = await self._written.topics()
        there = [tp for tp in tps if tp.topic in known]
        ends = await self._written.led_ends(there)
        return {tp.partition: ends.get(tp, 0) for tp in tps if tp in ends or tp.topic not in known}

    async def log_starts(self, number: int) -> tuple[int, int]:
        """Return the first offsets that a partition of events-raw and events-rekeyed still has."""
        return (await self.log_starts_of([number]))[number]

    async def logs_since(self, number: int, at_ms: int) -> tuple[int, int]:
        """Return the first offsets of both logs that were appended at or after a time.

        The end of a log if it has no such yet. 0 of a log that may have had more such: what it has
        begins with them, or there is nothing, and whoever reads from 0 is told what is deleted.
        """
        if self._settings.test_clock:
            # What is forwarded has the time of another clock.
            return 0, 0
        raw, rekeyed = self.logs_of(number)
        firsts = await first_from(self._written, [raw, rekeyed], at_ms)
        # Asked for last: what is deleted meanwhile counts as deleted.
        starts = await self.starts([raw, rekeyed])
        since_raw, since_rekeyed = (
            firsts[tp] if firsts[tp] > starts[tp] else 0 for tp in (raw, rekeyed)
        )
        return since_raw, since_rekeyed

    async def kept(self, number: int) -> LogsKept:
        """Return what both logs of a partition still have."""
        return (await self.kept_of([number]))[number]

    async def kept_of(self, numbers: Iterable[int]) -> dict[int, LogsKept]:
        """Return `kept` of several partitions, asked for together."""
        starts = await self.log_starts_of(numbers)
        changed = {n: each for n, each in starts.items() if self._kept_of(n)[:2] != each}
        if changed:
            await self._look_at(changed)
        return {number: self._kept_of(number) for number in starts}

    def _kept_of(self, number: int) -> LogsKept:
        return self._kept.get(number, LogsKept())

    async def _look_at(self, starts: Mapping[int, tuple[int, int]]) -> None:
        """Note what logs have that begin elsewhere than before."""
        logs = (zip(self.logs_of(number), both, strict=True) for number, both in starts.items())
        begun = {tp: at for of in logs for tp, at in of if at}
        since_ms: dict[TopicPartition, int] = {}
        # What is forwarded has the time of another clock where a test sets that.
        if begun and not self._settings.test_clock:
            # While retention goes on nothing is known of when.
            with suppress(OffsetOutOfRangeError):
                since_ms = await first_appended(self._settings, begun)
        for number, (raw_start, rekeyed_start) in starts.items():
            raw, rekeyed = (since_ms.get(tp, NEVER_MS) for tp in self.logs_of(number))
            self._kept[number] = LogsKept(raw_start, rekeyed_start, raw, rekeyed)

    async def log_starts_of(self, numbers: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Return `log_starts` of several partitions, asked for together."""
        tps = {number: self.logs_of(number) for number in numbers}
        starts = await self.starts([tp for both in tps.values() for tp in both])
        return {n: (int(starts[raw]), int(starts[rekeyed])) for n, (raw, rekeyed) in tps.items()}
