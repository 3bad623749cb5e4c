"""Where a session is with all that it reads, and what it commits of that.

What is committed is what is done: its offsets, and for the definitions log also the instant up to
which it was told what happens with time. The commit's note has that, and when the group began.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from app.clock import Clock
from app.kafka.group_reader import Committed, GroupReader
from app.kafka.names import TopicPartition
from app.webhooks.hourly import HOUR_MS


class Progress:
    """Places that were begun in ascending order, and the first that is not done."""

    def __init__(self, position: int):
        self.position = position
        """The next place to begin with."""
        self._open: dict[int, int] = {}
        """Parts that are not done by place, in the order in which they were begun."""

    def begin(self, place: int) -> None:
        """Begin a part of a place: the newest, or one after it."""
        self._open[place] = self._open.get(place, 0) + 1
        self.position = max(self.position, place + 1)

    def end(self, place: int) -> None:
        """Be done with a part of a place."""
        left = self._open[place] - 1
        if left:
            self._open[place] = left
        else:
            del self._open[place]

    @property
    def done_to(self) -> int:
        """The first place that is not done: after a crash all goes on from there."""
        return next(iter(self._open), self.position)


class _Note(NamedTuple):
    """What the commit of the definitions log says beside the offset."""

    began_ms: int
    """When the group began: what was before is told nobody."""
    told_until_ms: int
    hours: int
    """Number of the hour whose events are told next, if they are."""

    @staticmethod
    def of(committed: Committed | None, now_ms: int) -> _Note:
        parts = ("" if committed is None else committed.note).split(":")
        if len(parts) != len(_Note._fields) or not all(map(str.isdecimal, parts)):
            # The first start; or somebody has set the offset by hand.
            return _Note(now_ms, now_ms, now_ms // HOUR_MS)
        return _Note(*map(int, parts))

    def __str__(self) -> str:
        return ":".join(map(str, self))


class Places:
    """Progress of the partitions, of instants and of hours."""

    def __init__(
        self,
        reader: GroupReader,
        clock: Clock,
        log: TopicPartition,
        partitions: frozenset[TopicPartition],
        *,
        tells_hours: bool,
    ):
        """Begin nowhere yet; `log` is the definitions log, whether it is among them or not."""
        self._reader = reader
        self._clock = clock
        self._log = log
        self.owns_log = log in partitions
        """Whether definitions, and what comes with time, are told here."""
        self._tells_hours = tells_hours
        self._partitions = sorted(partitions - {log})
        self.of_partitions: dict[TopicPartition, Progress] = {}
        self.of_log = Progress(0)
        self.of_instants = Progress(0)
        self.of_hours = Progress(0)
        self._began_ms = 0
        self._is_found = False
        """Whether it is known where everything begins: nothing is committed before."""
        self._committed: dict[TopicPartition, Committed] = {}

    @property
    def count(self) -> int:
        """How many partitions are read."""
        return len(self._partitions) + self.owns_log

    async def find(self) -> None:
        """Find where to begin, and commit it: at a first start it is that, whatever ends it."""
        known = await self._reader.committed([self._log, *self._partitions])
        committed = known[self._log]
        note = _Note.of(committed, self._clock.now_ms())
        await self._seek(known, note.began_ms)
        if committed is None:
            self.of_log = Progress(await self._reader.end_of(self._log))
        else:
            self.of_log = Progress(committed.offset)
        self.of_instants = Progress(note.told_until_ms + 1)
        self.of_hours = Progress(note.hours)
        self._began_ms = note.began_ms
        self._is_found = True
        await self.commit()

    async def commit(self) -> None:
        """Commit what is done and was not committed yet."""
        if not self._is_found:
            return
        told = {tp: Committed(progress.done_to) for tp, progress in self.of_partitions.items()}
        if self.owns_log:
            # Where hours are not told, they begin with the one in which that is asked for.
            this_hour = self._clock.now_ms() // HOUR_MS
            hours = self.of_hours.done_to if self._tells_hours else this_hour
            note = _Note(self._began_ms, self.of_instants.done_to - 1, hours)
            told[self._log] = Committed(self.of_log.done_to, str(note))
        changed = {tp: each for tp, each in told.items() if self._committed.get(tp) != each}
        if changed:
            await self._reader.commit(changed)
            self._committed |= changed

    async def _seek(self, known: Mapping[TopicPartition, Committed | None], began_ms: int) -> None:
        """Go on where the group is; what it never read, from when it began."""
        new = [tp for tp in self._partitions if known[tp] is None]
        starts = await self._reader.first_from(new, began_ms)
        for tp in self._partitions:
            committed = known[tp]
            offset = starts[tp] if committed is None else committed.offset
            self._reader.seek(tp, offset)
            self.of_partitions[tp] = Progress(offset)
