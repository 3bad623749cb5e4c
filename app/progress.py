"""Progress of every raw partition, as its owners report it with each flush."""

from __future__ import annotations

from app.definitions.timeline import NEVER_MS
from app.owned import Progress


class ProgressTable:
    """The newest report of each partition; append times never go back."""

    def __init__(self) -> None:
        self._newest: dict[int, Progress] = {}

    def note(self, value: bytes | None) -> None:
        """Take over a record of meter-progress."""
        if value is None:
            return
        progress = Progress.decode(value)
        known = self._newest.get(progress.partition)
        if known is not None:
            append_time_ms = max(known.append_time_ms, progress.append_time_ms)
            # An owner of before may report late; that its forwards are acknowledged stays true.
            newest = progress if progress.epoch >= known.epoch else known
            progress = newest._replace(append_time_ms=append_time_ms)
        self._newest[progress.partition] = progress

    def append_time_ms(self, partition: int) -> int:
        """Append time up to which the partition's forwards are acknowledged; -1 if unknown."""
        progress = self._newest.get(partition)
        return -1 if progress is None else progress.append_time_ms

    def epoch(self, partition: int) -> int:
        """Epoch of the newest owner that has reported; 0 if none has."""
        newest = self._newest.get(partition)
        return 0 if newest is None else newest.epoch

    def next_cut_ms(self, from_ms: int) -> int:
        """The earliest cut that any partition waits for and a log at `from_ms` has not passed.

        Of the cuts before, others than time hold one up, a refold for example; it holds up nobody
        else.
        """
        cuts = (p.next_cut_ms for p in self._newest.values())
        return min((cut_ms for cut_ms in cuts if cut_ms >= from_ms), default=NEVER_MS)

    def of(self, partition: int) -> Progress | None:
        """The newest report of a partition."""
        return self._newest.get(partition)

    def all(self) -> list[Progress]:
        """The newest report of every partition that has reported."""
        return [self._newest[number] for number in sorted(self._newest)]
