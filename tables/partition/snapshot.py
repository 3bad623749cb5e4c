"""Snapshot: what a flush writes of a partition, and the sums that a restore compares it with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from app.bounds.limits import CHANGELOG_RECORD_BYTES
from app.bounds.turns import STEP_ITEMS, Steps, batches, drained
from app.wire.arrivals import MeterKey
from tables.cells.cell import Cell, GroupCell, Layer, Span, packed_cells
from tables.cells.keys import SpanKey
from tables.changelogged.checkpoint import FORGETTING_VERSION
from tables.changelogged.checksum import SUM_MODULUS, Rows, record_hash, record_hashes
from tables.changelogged.members import MemberKey
from tables.event_index.row_log import FlushedRows
from tables.partition.tables import Tables

MOST_LEAVING = 2_000
"""Sets of members that a checkpoint says are to be emptied. Of more, a restart leaves the rest in
the changelog, where nobody reads them."""


class Changes(NamedTuple):
    """Changelog records of one flush; a None value deletes."""

    rows: Mapping[str, Rows]
    """By changelog."""
    at_rest: Sequence[FlushedRows]
    """What the log of figures has of them."""
    stored: Mapping[MemberKey, bytes | None]
    """Members as the store is to have them."""
    index_rows: bytes


class TooLargeForChangelog(Exception):
    """A cell, a member or a row outgrew what a changelog record may have."""

    def __init__(self, changelog: str, key: bytes, size: int, meter_key: MeterKey | None):
        whose = (
            ""
            if meter_key is None
            else f" of organization {meter_key[0]}, {meter_key[1]}, {meter_key[2]}"
        )
        super().__init__(
            f"A record of {size} bytes for the changelog of {changelog}{whose} is larger than "
            f"{CHANGELOG_RECORD_BYTES}"
        )
        self.key = key
        self.meter_key = meter_key
        """(organization, external subscription, code) of its events; None: not known."""


class Snapshot:
    """What changed since the last flush, and what the checkpoint says of all cells."""

    def __init__(self, tables: Tables):
        self._tables = tables
        self._checkpoint = tables.checkpoint
        self._dirty: list[Cell] = []
        self._noted = 0
        """How many of them their layers know of."""
        self._deleted: dict[bytes, None] = {}
        self._loaded = 0
        self._loaded_hash = 0
        # What is loaded is sorted in at once as far as cuts are taken.
        drained(tables.members.operations.settling(tables.checkpoint.cut_ms))

    def mark(self, cell: Cell) -> None:
        """Mark a changed cell for the next flush."""
        if not cell.dirty:
            cell.dirty = True
            self._dirty.append(cell)

    def mark_folded(self, dirty: Iterable[Cell]) -> None:
        """Take over cells that a fold has changed and already called dirty."""
        self._dirty += dirty

    def note(self) -> None:
        """Tell layers which of their cells changed until now, for cuts to look at."""
        for cell in self._dirty[self._noted :]:
            cell.layer.note(cell)
        self._noted = len(self._dirty)

    def delete(self, cell: Cell) -> None:
        """Delete a cell; the next flush deletes its changelog record."""
        if cell.hash:
            self._deleted[cell.packed_key()] = None
            self._checkpoint.cells -= 1
            self._checkpoint.cells_hash = (self._checkpoint.cells_hash - cell.hash) % SUM_MODULUS
            cell.hash = 0
        cell.dirty = True  # no later change may write it again

    def delete_blank(self, cell: Cell) -> None:
        """Delete a cell that nothing is left in, as no refold would make it.

        One of a group keeps the group's place.
        """
        layer = cell.layer
        if isinstance(cell, GroupCell) or not cell.blank(layer.span.fold.aggregation):
            return
        layer.note(cell)
        del layer.cells[cell.filter_id, cell.groups]
        self.delete(cell)
        # A flush passes over cells of other spans than those in use.
        cell.layer = Layer.of(layer.span.emptied(), layer.period, layer.first_shown)
        # Who looked at it once more is done with it: another cell may have its name then.
        cell.dirty = False

    def delete_packed(self, key: bytes, value: bytes) -> None:
        """Delete a packed cell; the next flush deletes its changelog record."""
        self._deleted[key] = None
        hashed = record_hash(key, value)
        self._checkpoint.cells -= 1
        self._checkpoint.cells_hash = (self._checkpoint.cells_hash - hashed) % SUM_MODULUS
        # While it is being restored what was loaded is compared with the checkpoint yet.
        self._loaded -= 1
        self._loaded_hash -= hashed

    def forget_stored(self, keys: Iterable[bytes]) -> None:
        """Have the next flush delete records of a torn state that are not written anew."""
        self._deleted.update(dict.fromkeys(keys))

    def pending_changes(self) -> int:
        """Return about how many changelog records the next flush has."""
        members, tables = self._tables.members, self._tables.by_changelog.values()
        pending = members.pending + sum(each.pending for each in tables)
        return len(self._dirty) + len(self._deleted) + pending

    def taking_changes(self) -> Steps[Changes]:
        """Return everything changed since the last flush, by small steps, and describe it.

        Changed cells of spans that the table of routes does not have are not written.
        """
        cells: dict[bytes, bytes | None] = {}
        tables, checkpoint = self._tables, self._checkpoint
        deleted = self._deleted
        self.note()
        dirty, self._dirty, self._noted = self._dirty, [], 0
        new = hashes = 0
        for some in batches(dirty, STEP_ITEMS):
            standing = [cell for cell in some if cell.layer.span.stands]
            for cell, (key, value), new_hash in _hashed(standing):
                cell.dirty, old_hash = False, cell.hash
                if old_hash == 0:
                    new += 1
                hashes += new_hash - old_hash
                cell.hash = new_hash
                if deleted:
                    deleted.pop(key, None)
                cells[key] = value
            yield
        checkpoint.cells += new
        checkpoint.cells_hash = (checkpoint.cells_hash + hashes) % SUM_MODULUS
        cells.update(dict.fromkeys(deleted))
        deleted.clear()
        stored, members = yield from tables.members.taking_changes()
        yield from tables.members.operations.deleting()
        at_rest = yield from tables.instants.laying_down(checkpoint.cut_ms)
        if at_rest:
            checkpoint.fold_version = FORGETTING_VERSION
        rows: dict[str, Rows] = {"cells": cells, "members": members}
        rows |= {name: each.take_changes() for name, each in tables.by_changelog.items()}
        changes = Changes(rows, at_rest, stored, tables.index.pending())
        checkpoint.flush += 1
        checkpoint.index_length = tables.index.length
        checkpoint.at_rest = tables.instants.at_rest.end
        checkpoint.members_sum = tables.members.sum
        checkpoint.leaving = tuple(sorted(tables.members.leaving)[:MOST_LEAVING])
        checkpoint.presence_sum = tables.event_ranges.sum
        checkpoint.published_sum = tables.published.sum
        checkpoint.corrections_sum = tables.corrections.sum
        checkpoint.evaluations_sum = tables.evaluations.sum
        checkpoint.instants_sum = tables.instants.sum
        checkpoint.daily_sum = tables.daily.sum
        return changes

    def note_loaded(self, key: bytes, value: bytes) -> None:
        """Count in a record of the cell changelog that was taken over."""
        self._loaded += 1
        self._loaded_hash += record_hash(key, value)

    def is_whole(self) -> bool:
        """Return True if counts and hash sums of loaded records agree with the checkpoint.

        `app.runtime.restoring` checks published cells, which it can mend. Members are checked where
        they are read.
        """
        checkpoint, tables = self._checkpoint, self._tables
        tables.members.sum = checkpoint.members_sum or tables.members.sum
        if (self._loaded, self._loaded_hash % SUM_MODULUS) != (
            checkpoint.cells,
            checkpoint.cells_hash,
        ):
            return False
        if checkpoint.presence_sum not in (None, tables.event_ranges.sum):
            return False
        if checkpoint.instants_sum not in (None, tables.instants.sum):
            return False
        if checkpoint.at_rest != tables.instants.at_rest.end:
            return False
        corrections = tables.corrections
        return not corrections.outdated and checkpoint.corrections_sum in (None, corrections.sum)


def _hashed(cells: list[Cell]) -> Iterator[tuple[Cell, tuple[bytes, bytes], int]]:
    """Return cells with their records and what each adds to the hash sum; nothing keeps these."""
    rows = packed_cells(cells)
    return zip(cells, rows, record_hashes(rows), strict=True)


SomeRows = tuple[str, Sequence[bytes], Sequence[bytes | None]]
"""A changelog, with keys and values of some of its records."""


def rows_of(changes: Changes, spans: Mapping[SpanKey, Span]) -> Iterator[SomeRows]:
    """Yield changelogs with some of their changes each, without those of the index.

    `spans` give the meter key of a record that is too large.

    Raises:
        TooLargeForChangelog: no changelog would take one of them.
    """
    for changelog, rows in changes.rows.items():
        all_keys, all_values = list(rows), list(rows.values())
        for first in range(0, len(all_keys), STEP_ITEMS):
            end = first + STEP_ITEMS
            keys, values = all_keys[first:end], all_values[first:end]
            if sum(map(len, keys)) + sum(map(len, filter(None, values))) > CHANGELOG_RECORD_BYTES:
                _require_small((changelog, keys, values), spans)
            yield changelog, keys, values


def _require_small(rows: SomeRows, spans: Mapping[SpanKey, Span]) -> None:
    changelog, keys, values = rows
    for key, value in zip(keys, values, strict=True):
        if value is not None and len(key) + len(value) > CHANGELOG_RECORD_BYTES:
            raise TooLargeForChangelog(changelog, key, len(value), _meter_key_of(key, spans))


def _meter_key_of(key: bytes, spans: Mapping[SpanKey, Span]) -> MeterKey | None:
    """Return the meter key of a cell's or member's changelog key; None for any other key."""
    try:
        named = msgspec.msgpack.decode(key)
        if isinstance(named[0], bytes):
            named = msgspec.msgpack.decode(named[0])
        span = spans.get(SpanKey(*named[:3]))
    except (msgspec.DecodeError, TypeError):
        return None
    return None if span is None else (*span.name, span.fold.metric.code)
