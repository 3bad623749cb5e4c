"""The event index of one partition: every event id ever seen, and where its event stands.

Entries are 40 bytes (state.md §2): id hash 12, append_time ms 6, raw partition 2, raw offset 6,
array index 2, rekeyed offset 6 (all ones: came from raw), raw-body hash 6; big-endian.

Shape: new rows go to the head, with a table of their ids; a full head becomes a sorted segment in
memory; four segments of a level are merged into one of the next, on local disk, a few thousand rows
at a time between slices. Every segment has a Bloom filter, so an unknown id costs a few vector
operations and hardly ever a read. Local disk holds whole committed flushes only, and is a cache:
what is torn, altered or of another index is discarded at open, and the caller loads the index log
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from app.bounds.discards import Discarded, tell_nobody
from app.kernel import Head
from tables.event_index.directory import SegmentDirectory
from tables.event_index.entries import Entry, pack_entries, unpack_entry
from tables.event_index.filters import AskedKeys, filter_bytes
from tables.event_index.log import LOG_START, LogPlace
from tables.event_index.merge import MemorySegmentWriter, Merge, SegmentWriter
from tables.event_index.rows import REFUSED_INDEX, ROW, ROW_BYTES, is_refused, sort_rows
from tables.event_index.segments import START, UNKNOWN_SUM, FlushMark, Segment

FANOUT = 4
"""Segments of a level that are merged into one of the next."""

MAX_MERGE_STEP_ROWS = 8_192
MIN_MERGE_STEP_ROWS = 1_024
"""Rows merged at once: about a millisecond."""

MERGE_ROWS_PER_NEW_ROW = 4
"""Pace of each merge: it is done before a few more segments have come."""

MAX_HEAD_ROWS = 32_768
MIN_HEAD_ROWS = 64
HEAD_ROW_BYTES = 200
"""Memory of a row of the head, with its place in the table of ids; the kernel takes half of it."""
RECENT_ROW_BYTES = 500
"""Memory of head and memory segments (one and a half fanouts) per row of head."""


_WARMED_AT_ONCE_BYTES = 8 * 1024 * 1024
"""Bytes of filters read into memory when there is more room: in a few milliseconds."""


class LogDiffers(Exception):
    """Rows on local disk are not the first rows of the log: it was cut and went on otherwise."""


class EventIndex:
    """The index of one partition. One thread at a time; the newest entry of an id wins.

    Without a directory everything stays in memory, 42 bytes a row, whatever `memory_bytes` says.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        memory_bytes: int = 256 * 1024 * 1024,
        identity: str = "",
        head_rows: int | None = None,
        tell: Callable[[Discarded], None] = tell_nobody,
    ) -> None:
        """Open what `directory` holds; `tell` is called if that is discarded.

        `identity` says whose index it is (cluster, topic prefix, partition): a directory of
        another one is discarded. `head_rows` follows from `memory_bytes`, this index's share.
        """
        self._memory_bytes = memory_bytes
        self._head_rows = head_rows or _head_rows(memory_bytes)
        self._directory = SegmentDirectory(directory, identity) if directory else None
        self._segments: list[Segment] = []
        self._merges: list[Merge] = []
        self._head = Head()
        self._pending = bytearray()
        self._handed_out: int | None = None
        self._flushed = START
        self.disk_error: OSError | None = None
        """Why local disk took nothing when it was tried last; what it lacks stays in memory."""
        if self._directory is not None:
            self._segments, discarded = self._directory.open()
            if discarded is not None:
                tell(discarded)
            self._flushed = self._last_mark()
            self._warm_filters(self._memory_bytes)
        self._log = LOG_START
        """Up to where the log was read, or written by flushes."""

    @property
    def length(self) -> int:
        """Rows of the log taken in, flushed or pending; a replaced id counts again."""
        return self._head_first_row + len(self._head)

    @property
    def is_of_log(self) -> bool:
        """Whether the log was read as far as what local disk has, and that is the same."""
        return self._log.length >= self._flushed.length

    @property
    def log_place(self) -> LogPlace:
        """Where the rows of the next flush begin in the log, once it was read."""
        return self._log

    def limit_memory(self, memory_bytes: int) -> None:
        """Take at most so much memory from now on; partitions come and go."""
        self._memory_bytes = memory_bytes
        self._head_rows = _head_rows(memory_bytes)
        self._cool_filters(0)
        self._warm_filters(_WARMED_AT_ONCE_BYTES)

    @property
    def _step_rows(self) -> int:
        return min(max(self._head_rows, MIN_MERGE_STEP_ROWS), MAX_MERGE_STEP_ROWS)

    @property
    def resident_bytes(self) -> int:
        """An estimate of the memory in use."""
        segments = sum(segment.resident_bytes for segment in self._segments)
        writers = sum(merge.writer.resident_bytes for merge in self._merges)
        return len(self._head) * HEAD_ROW_BYTES + len(self._pending) + segments + writers

    def find(self, event_id: bytes) -> Entry | None:
        """Return the newest entry of an id, None as `find_many` does."""
        return self.find_many([event_id])[0]

    def find_many(self, ids: Sequence[bytes]) -> list[Entry | None]:
        """Return the newest entry of each id; None: it is unknown, or was refused since."""
        found = self.find_packed(b"".join(ids))
        return list(map(found.get, range(len(ids))))

    def find_packed(self, packed: bytes) -> dict[int, Entry]:
        """Return the newest entries of ids that come one after another, by their places there.

        As `find_many` does; without those that it knows nothing of.
        """
        return {place: unpack_entry(row) for place, row in self.find_rows(packed).items()}

    def find_rows(self, packed: bytes) -> dict[int, bytes]:
        """Return the newest entries as `find_packed` does, but as rows."""
        rows: dict[int, bytes] = dict(self._head.find(packed))
        if packed and self._segments:
            asked = AskedKeys(packed)
            for segment in reversed(self._segments):
                for place, row in segment.find(asked):
                    rows.setdefault(place, row)
        return {place: row for place, row in rows.items() if not is_refused(row)}

    def known(self, packed: bytes | bytearray) -> dict[int, bytes | None]:
        """Return the places of rows whose id came before, here or among them, refused or not.

        With the newest row where a segment has it; None: `find_rows` tells, after they are added.
        """
        places: dict[int, bytes | None] = dict.fromkeys(self._head.known(packed))
        if self._segments and packed:
            asked = AskedKeys(packed, ROW_BYTES)
            for segment in reversed(self._segments):
                for place, row in segment.find(asked):
                    if place not in places:
                        places[place] = None if is_refused(row) else row
        return places

    def add_many(self, ids: Sequence[bytes], entries: Sequence[Entry]) -> None:
        """Remember new ids, or other entries of known ones: a smaller position won."""
        self.add_rows(pack_entries(ids, entries))

    def add_rows(self, packed: bytes | bytearray) -> None:
        """Remember new ids, whose entries are packed."""
        self._pending += packed
        self._append(packed)

    def refuse(self, event_id: bytes, entry: Entry) -> None:
        """Free a known id again: its event turned out to be refused."""
        self.add_many([event_id], [entry._replace(array_index=REFUSED_INDEX)])

    def _append(self, packed: bytes | bytearray) -> None:
        self._head.append(packed)
        if len(self._head) >= self._head_rows:
            self._roll_head()
        self._advance_merges(len(packed) // ROW_BYTES)

    @property
    def pending_bytes(self) -> int:
        """How much of the log the next flush has to write."""
        return len(self._pending)

    def pending(self) -> bytes:
        """Return packed rows added since the last sealed flush, in order: this flush's payload."""
        self._end_at_flush()
        self._handed_out = self.length
        return bytes(self._pending)

    def seal_flush(self, flush_number: int) -> None:
        """Seal what `pending` handed out, or everything if it was not asked: the flush committed.

        Only sealed rows go to local disk.
        """
        if self._handed_out is None:
            self._end_at_flush()
            self._handed_out = self.length
        flushed_rows = self._handed_out - (self.length - len(self._pending) // ROW_BYTES)
        log_sum = UNKNOWN_SUM
        if self.is_of_log:
            self._log = self._log.after(bytes(self._pending[: flushed_rows * ROW_BYTES]))
            log_sum = self._log.log_sum
        del self._pending[: flushed_rows * ROW_BYTES]
        self._flushed = FlushMark(flush_number, self._handed_out, log_sum)
        self._handed_out = None
        for segment in reversed(self._segments):
            if segment.end_row <= self._flushed.length:
                if segment.end_row == self._flushed.length and not segment.on_disk:
                    segment.mark = self._flushed
                break
        self._plan_merges()

    def read_from(self, place: LogPlace) -> None:
        """Load the log from here on: local disk has what is before, if the sums agree.

        Raises:
            LogDiffers: as `load`.
        """
        self._log = place
        self._compare_at_end()

    def load(self, packed: bytes) -> None:
        """Take in the next committed rows of the log, from its start or from `read_from` on.

        Those that local disk has are only compared, all together. Others may go there at once.

        Raises:
            LogDiffers: the log has others: `truncate` to nothing, and read it from the start.
        """
        if len(packed) % ROW_BYTES:
            raise ValueError("a log record holds whole rows of 40 bytes")
        if self._pending:
            raise ValueError("the log is loaded before new events are added")
        unread_rows = self._flushed.length - self._log.length
        if unread_rows > 0:
            known = packed[: unread_rows * ROW_BYTES]
            self._log = self._log.after(known)
            self._compare_at_end()
            packed = packed[len(known) :]
        at_once = self._head_rows * ROW_BYTES
        for first in range(0, len(packed), at_once):
            part = packed[first : first + at_once]
            self._append(part)
            self._log = self._log.after(part)
            # What the log has is committed, so it may go to local disk: memory stays in its bound.
            self.seal_flush(self._flushed.flush_number)

    def _compare_at_end(self) -> None:
        ends = self._log.length == self._flushed.length
        if ends and self._log.log_sum != self._flushed.log_sum:
            raise LogDiffers("the event index on local disk is not that of its log")

    def truncate(self, length: int) -> int:
        """Cut back to the end of the last known flush at or below `length` rows; returns it.

        Less than `length` may be left, since sorted rows are no longer in order. The caller loads
        the log after it. Rows of an uncommitted flush always go.
        """
        self._abandon_merges()
        self._pending.clear()
        self._handed_out = None
        if self._head_first_row <= self._flushed.length <= length:
            self._cut_head(self._flushed.length - self._head_first_row)
        else:
            self._cut_head(0)
            self._cut_segments(min(length, self._flushed.length))
            self._flushed = self._last_mark()
        self._log = LOG_START
        return self.length

    def close(self) -> None:
        """Write what is committed to local disk and let go of everything; no use after."""
        self.truncate(self._flushed.length)
        # What local disk does not take is read from the log at the next start.
        with suppress(OSError):
            self._write_recent()
        for segment in self._segments:
            segment.close()
        self._segments = []

    def _write_recent(self) -> None:
        if self._directory is None:
            return
        self._end_at_flush(least_rows=1)
        self._abandon_merges()
        self._mark_last_segment()
        recent = [segment for segment in self._segments if not segment.on_disk]
        if recent:
            merge = self._begin_merge(recent)
            try:
                merge.advance(merge.row_count, self._step_rows)
                self._adopt(merge)
            except OSError:
                merge.writer.abandon()
                raise

    # Local disk is a cache: while it takes nothing, segments stay in memory

    @property
    def wanted_disk_bytes(self) -> int:
        """What has to go to disk, which takes nothing, before more may come; 0: nothing has."""
        if self.disk_error is None or self.resident_bytes <= self._memory_bytes:
            return 0
        rows = sum(segment.row_count for segment in self._segments if not segment.on_disk)
        return rows * ROW_BYTES + filter_bytes(rows)

    def try_disk_again(self) -> None:
        """Begin to write what waits, if local disk takes it now."""
        self.disk_error = None
        self._plan_merges()
        self._advance_merges(self._step_rows)

    def _disk_failed(self, error: OSError) -> None:
        self.disk_error = error
        self._abandon_merges()

    @property
    def _head_first_row(self) -> int:
        return self._segments[-1].end_row if self._segments else 0

    def _end_at_flush(self, least_rows: int | None = None) -> None:
        """Let segments end where flushes end, or they could not go to disk."""
        least = least_rows or max(1, self._head_rows // 2)
        mid_flush = bool(self._segments) and self._segments[-1].mark is None
        if self._head and (mid_flush or len(self._head) >= least):
            self._roll_head()

    def _roll_head(self) -> None:
        rows = np.frombuffer(self._head.first(len(self._head)), ROW)
        first_row = self._head_first_row
        ordered = sort_rows(rows[::-1])
        writer = MemorySegmentWriter(len(ordered))
        writer.append(ordered)
        self._segments.append(writer.finish(first_row, first_row + len(rows), 0, None))
        self._head = Head()
        self._cool_filters(0)
        self._plan_merges()

    def _cut_head(self, rows: int) -> None:
        left, self._head = self._head.first(rows), Head()
        self._head.append(left)

    def _last_mark(self) -> FlushMark:
        return (self._segments[-1].mark or START) if self._segments else START

    def _mark_last_segment(self) -> None:
        if self._segments and self._segments[-1].end_row == self._flushed.length:
            last = self._segments[-1]
            last.mark = last.mark or self._flushed

    def _cut_segments(self, length: int) -> None:
        """Drop segments until what is left ends at a flush within `length` rows."""
        dropped = []
        while self._segments and (
            self._segments[-1].end_row > length or self._segments[-1].mark is None
        ):
            dropped.append(self._segments.pop())
        self._forget(dropped)

    def _forget(self, segments: Iterable[Segment]) -> None:
        gone = list(segments)
        if self._directory is None:
            return
        if any(segment.on_disk for segment in gone):
            self._directory.commit(self._segments)
        for segment in gone:
            self._directory.remove(segment)

    def _plan_merges(self) -> None:
        if self.disk_error is not None:
            return
        busy = {segment for merge in self._merges for segment in merge.inputs}
        levels: dict[int, list[Segment]] = {}
        for segment in self._segments:
            if segment not in busy:
                levels.setdefault(segment.level, []).append(segment)
        for level, segments in levels.items():
            ready = self._whole_flushes(segments)
            if len(ready) >= FANOUT and not any(m.inputs[0].level == level for m in self._merges):
                try:
                    self._merges.append(self._begin_merge(ready))
                except OSError as error:
                    self._disk_failed(error)
                    return

    def _whole_flushes(self, segments: list[Segment]) -> list[Segment]:
        """Return the oldest of these segments that may be merged; on disk only whole flushes do."""
        if self._directory is None:
            return segments
        count = len(segments)
        while count and segments[count - 1].mark is None:
            count -= 1
        return segments[:count]

    def _begin_merge(self, inputs: Sequence[Segment]) -> Merge:
        row_count = sum(segment.row_count for segment in inputs)
        level = max(segment.level for segment in inputs) + 1
        writer: SegmentWriter
        if self._directory is None:
            writer = MemorySegmentWriter(row_count)
        else:
            resident = self._make_room(filter_bytes(row_count), inputs)
            writer = self._directory.writer(row_count, resident=resident)
        return Merge(inputs, writer, level)

    def _advance_merges(self, new_rows: int) -> None:
        for merge in list(self._merges):
            try:
                if merge.advance(new_rows * MERGE_ROWS_PER_NEW_ROW, self._step_rows):
                    self._adopt(merge)
                    self._merges.remove(merge)
                    self._plan_merges()
            except OSError as error:
                self._disk_failed(error)
                return

    def _adopt(self, merge: Merge) -> None:
        """Put the merged segment where its inputs were."""
        merged = merge.finish()
        at = self._segments.index(merge.inputs[0])
        segments = [*self._segments]
        segments[at : at + len(merge.inputs)] = [merged]
        if self._directory is not None:
            self._directory.commit(segments)
        self._segments = segments
        for segment in merge.inputs:
            if self._directory is None:
                segment.close()
            else:
                # A file that is left goes when the directory is opened.
                with suppress(OSError):
                    self._directory.remove(segment)

    def _abandon_merges(self) -> None:
        for merge in self._merges:
            with suppress(OSError):
                merge.writer.abandon()
        self._merges.clear()

    def _free_bytes(self) -> int:
        """Return the bytes left for filters; head and memory segments count at least as full."""
        recent = sum(s.resident_bytes for s in self._segments if not s.on_disk)
        not_grown_bytes = max(0, self._head_rows * RECENT_ROW_BYTES - recent)
        return self._memory_bytes - self.resident_bytes - not_grown_bytes

    def _make_room(self, needed_bytes: int, inputs: Sequence[Segment]) -> bool:
        """Free room for a filter that is written beside those it replaces.

        Return whether it may be kept in memory.
        """
        freeable = sum(segment.filter_resident_bytes for segment in inputs if segment.on_disk)
        if self._free_bytes() + freeable < needed_bytes:
            return False
        self._cool_filters(needed_bytes, inputs)
        return True

    def _cool_filters(self, needed_bytes: int, among: Sequence[Segment] | None = None) -> None:
        """Leave the largest filters to their files until so much memory is free."""
        candidates = self._segments if among is None else among
        for segment in sorted(candidates, key=lambda s: s.row_count, reverse=True):
            if self._free_bytes() >= needed_bytes:
                return
            try:
                segment.cool()
            except OSError as error:
                # Too many open files: it stays where it is.
                self._disk_failed(error)
                return

    def _warm_filters(self, most_bytes: int) -> None:
        """Read the smallest filters into memory, so many bytes, as far as there is room."""
        for segment in sorted(self._segments, key=lambda s: s.row_count):
            needed_bytes = filter_bytes(segment.row_count)
            if segment.cold and min(self._free_bytes(), most_bytes) >= needed_bytes:
                most_bytes -= needed_bytes
                segment.warm()


def _head_rows(memory_bytes: int) -> int:
    """Return how many recent rows half of the memory holds, as far as that helps."""
    return min(max(memory_bytes // 2 // RECENT_ROW_BYTES, MIN_HEAD_ROWS), MAX_HEAD_ROWS)
