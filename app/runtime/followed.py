"""Followed logs: definitions and progress, which every worker reads to the end and goes on with."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from app.bounds.turns import Steps, Turns, Work
from app.definitions.log import applying
from app.definitions.model import SetAside
from app.definitions.outcome import Applied, Impact, Rejected
from app.definitions.set_asides import LIFT
from app.definitions.state import Definitions
from app.errors import StackError
from app.kafka.claim import CLAIM_KEY
from app.kafka.lenient_fetch import limit_after
from app.kafka.log_readers import LogReader, LogRecord
from app.kafka.names import TopicPartition
from app.kafka.topics import CELLS_CHANGELOG, METER_DEFINITIONS, METER_PROGRESS
from app.log import Event, facts
from app.runtime.claims import Claims
from app.runtime.homes import HomePartitions
from app.runtime.offsets import Offsets
from app.runtime.progress import Progress, ProgressTable, Seal
from app.settings import Settings

log = logging.getLogger(__name__)

_DEFINING = Work("define", "definitions log")
_NOTING = Work("other", "progress log")
_STEP_RECORDS = 64
_STEP_BYTES = 64 * 1024
_REMEMBERED_IMPACTS = 100_000
"""Touches kept, 20 MB. A partition that missed more of them checks everything."""
_POLL_S = 0.02


class DefinitionsLost(StackError):
    """The definitions log has lost definitions that events were counted by."""

    def __init__(self, topic: str, found: str):
        super().__init__(
            f"{topic} {found}: definitions were deleted, or the topic was created anew. Without "
            "them nothing can be counted as it was, so nothing is. Put the topic back from a copy, "
            "every record at its offset; its cleanup.policy must be delete and its retention.ms -1."
        )


class Told(Protocol):
    """The definitions that a partition is told of."""

    @property
    def seen(self) -> int:
        """Offset of the first one that it was not told of."""
        ...

    def define(self, impact: Impact, offset: int, append_time_ms: int) -> None:
        """Take note of one definition that was applied, and may concern it."""
        ...

    def pass_over(self, next_offset: int, append_time_ms: int) -> None:
        """Take note of how far the definitions are applied: none before is left to be told."""
        ...


class Follower(Protocol):
    """A partition that is told of definitions and progress."""

    @property
    def number(self) -> int: ...

    @property
    def renewal(self) -> Told: ...

    def look_again(self) -> None:
        """Have its closer look again if it waits for other logs."""
        ...


class FollowedDefinitions:
    """Applies the definitions log, and tells the owned partitions what it changes."""

    def __init__(
        self,
        settings: Settings,
        definitions: Definitions,
        homes: HomePartitions,
        offsets: Offsets,
        owned: Callable[[], Mapping[int, Follower]],
    ):
        self._settings = settings
        self._definitions = definitions
        self._homes = homes
        self._offsets = offsets
        self._owned = owned
        self.log = LogReader(settings, settings.topic(METER_DEFINITIONS))
        self.last = (0, -1)
        """(next offset, append time) after the last record of the log that is no tick."""
        self.changed = asyncio.Condition()
        """Notified when more of the log is applied."""
        self.wanted_ms = -1
        """Latest append time that somebody waits to be passed, in ms; -1: nobody waits."""
        self.awaited: dict[bytes, asyncio.Future[Applied | Rejected]] = {}
        """Futures of the outcomes of records that this worker appended, by the record's value."""
        self._impacts: deque[tuple[int, int, Impact]] = deque(maxlen=_REMEMBERED_IMPACTS)
        """(offset, append time, impact) of the last definitions that may change usage."""
        self._limit_batches()

    async def require_whole(self) -> None:
        """Raise DefinitionsLost if the log lacks what events were counted by."""
        settings, tp = self._settings, self.log.tp
        cells = [
            TopicPartition(settings.topic(CELLS_CHANGELOG), number)
            for number in range(settings.raw_partitions)
        ]
        start = (await self._offsets.starts([tp]))[tp]
        end = (await self._offsets.ends([tp]))[tp]
        if start > 0:
            raise DefinitionsLost(tp.topic, f"begins at offset {start}")
        # One that has no leader keeps nobody from starting.
        if end == 0 and any((await self._offsets.ends(cells)).values()):
            raise DefinitionsLost(tp.topic, f"is empty, but {cells[0].topic} is not")

    async def follow(self, turns: Turns) -> None:
        """Apply the log as it grows, until cancelled."""
        async for batch in self.log.batches():
            await turns.run(_DEFINING, self.defining(batch))
            async with self.changed:
                self.changed.notify_all()

    async def caught_up(self) -> int:
        """Wait until everything that the log has now is applied; return the offset after it.

        By how far it is read, for what it ends with may be no record: a transaction's marker.
        """
        tp = self.log.tp
        end = int((await self._offsets.ends([tp]))[tp])
        while self.log.next < end:
            await asyncio.sleep(_POLL_S)
        return end

    async def behind(self) -> int | None:
        """Return how many offsets of the log are not applied here yet; None: no leader tells."""
        end = (await self._offsets.written_ends([self.log.tp])).get(self.log.tp)
        return None if end is None else max(0, end - self.log.next)

    def want(self, past_ms: int) -> None:
        """Note that somebody waits for definitions later than this."""
        self.wanted_ms = max(self.wanted_ms, past_ms)

    def defining(self, batch: Sequence[LogRecord]) -> Steps[None]:
        """Apply records, and tell the partitions how far that is.

        Of most records all but one need hear nothing else, so they do once for all of them.
        """
        yield from in_steps(batch, self._define)
        for owned in self._owned().values():
            owned.renewal.pass_over(*self.last)
            owned.look_again()

    def _define(self, record: LogRecord) -> Steps[None]:
        """Apply one record, and tell the partitions and requests that it concerns."""
        value, offset = record.value, record.offset
        outcome = yield from applying(self._definitions, value, record.timestamp_ms, offset)
        # In the very step in which it came into force: no fold has seen it yet.
        append_time_ms = self._definitions.append_time_ms
        if outcome is None:
            return
        self.last = (offset + 1, append_time_ms)
        impact = outcome.impact if isinstance(outcome, Applied) else None
        if isinstance(outcome, Applied) and isinstance(outcome.object, SetAside):
            self._tell_set_aside(outcome.kind, outcome.object)
        if impact is not None:
            self._impacts.append((offset, append_time_ms, impact))
            if impact.organization_id is None:
                self._homes.forget()
                self._limit_batches()
            for owned in self._concerned(impact):
                owned.renewal.define(impact, offset, append_time_ms)
        waiting = self.awaited.pop(value or b"", None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def impacts_since(self, offset: int) -> list[tuple[int, int, Impact]]:
        """Return what definitions from an offset on may change; forgotten ones may change all."""
        impacts = [entry for entry in self._impacts if entry[0] >= offset]
        if len(self._impacts) == self._impacts.maxlen and offset < self._impacts[0][0]:
            impacts.insert(0, (offset, self._definitions.first_time_from(offset), Impact(None)))
        return impacts

    def tell_missed(self, owned: Follower) -> None:
        """Tell a partition what was defined while it was not among the owned ones."""
        told = owned.renewal
        for offset, append_time_ms, impact in self.impacts_since(told.seen):
            if self._homes.of_impact(impact) in (None, owned.number):
                told.define(impact, offset, append_time_ms)
        told.pass_over(*self.last)

    def _concerned(self, impact: Impact) -> Iterable[Follower]:
        """Return the partitions that look at it: a subscription's home alone, or all."""
        owned, home = self._owned(), self._homes.of_impact(impact)
        if home is None:
            return owned.values()
        return [owned[home]] if home in owned else ()

    def _limit_batches(self) -> None:
        raw_topic = self._settings.topic(self._settings.raw_topic)
        limit_after(raw_topic, self._definitions.limited_after_ms())

    def _tell_set_aside(self, kind: str, one: SetAside) -> None:
        if not self.log.caught_up.is_set():
            # It was told when it happened.
            return
        event: Event = "lifted" if kind == LIFT else "set_aside"
        log.info(
            "%s: %s records of raw partition %s from offset %s: %s",
            event,
            one.count,
            one.partition,
            one.offset,
            one.code,
            extra=facts(
                event,
                partition=one.partition,
                offset=one.offset,
                count=one.count,
                code=one.code,
                index=-1 if one.index is None else one.index,
            ),
        )


class FollowedProgress:
    """Notes reports and claims, and tells our own reports again where somebody wrote over them."""

    def __init__(
        self,
        settings: Settings,
        table: ProgressTable,
        seal: Seal,
        claims: Claims,
        owned: Callable[[], Mapping[int, Follower]],
        tell_again: Callable[[Progress], None],
    ):
        self.log = LogReader(settings, settings.topic(METER_PROGRESS))
        self._table = table
        self._seal = seal
        self._claims = claims
        self._owned = owned
        self._tell_again = tell_again
        self._told_unsealed = False

    async def follow(self, turns: Turns) -> None:
        """Note reports as they come, until cancelled."""
        async for batch in self.log.batches():
            await turns.run(_NOTING, self._noting(batch))

    def _noting(self, batch: Sequence[LogRecord]) -> Steps[None]:
        yield from in_steps(batch, self._note)
        for owned in self._owned().values():
            owned.look_again()

    def _note(self, record: LogRecord) -> None:
        if record.key == CLAIM_KEY:
            self._claims.note(record)
            return
        progress = self._seal.open(record.value)
        if progress is None:
            self._note_unsealed(record)
            return
        self._table.note(progress)

    def _note_unsealed(self, record: LogRecord) -> None:
        """Tell our report once more: the topic is compacted, and somebody wrote over it."""
        if not self._told_unsealed:
            self._told_unsealed = True
            log.warning(
                "Offset %s of meter-progress is not sealed with METER_PEER_SECRET of this worker: "
                "other workers have another one, or somebody else may write there",
                record.offset,
                extra=facts("note"),
            )
        for number in self._owned():
            ours = self._table.of(number)
            if ours is not None and record.key == str(number).encode():
                self._tell_again(ours)


def in_steps(
    batch: Sequence[LogRecord], take: Callable[[LogRecord], Steps[object] | None]
) -> Steps[None]:
    """Take records of a log, so many or so large ones in a step; one may have steps of its own."""
    count, size = 0, 0
    for record in batch:
        steps = take(record)
        if steps is not None:
            yield from steps
        count, size = count + 1, size + len(record.value or b"")
        if count >= _STEP_RECORDS or size >= _STEP_BYTES:
            count, size = 0, 0
            yield
