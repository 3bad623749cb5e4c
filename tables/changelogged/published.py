"""Published: the newest revision of every cell and period that was written to usage-records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter
from typing import Final, NamedTuple

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from tables.changelogged.checksum import Change, Changelogged, ChangelogSum, Rows
from tables.changelogged.noted_names import NotedNames
from tables.changelogged.piece_store import PeriodKey, PiecesLost, PieceStore
from tables.changelogged.published_key import begin_key, period_end, period_in
from tables.changelogged.published_period import (
    COMPLETION,
    SUMS,
    PublishedCell,
    PublishedCellKey,
    PublishedPeriod,
    counts_in,
    cut_of_row,
    period_of,
    rows_of,
    summed_row,
)


class Stands(NamedTuple):
    """How far the changelog is on local disk."""

    cut_ms: int
    """Newest cut of which anything is there; what is not there is of that one or later."""
    sum: ChangelogSum
    """Sum of the changelog up to there."""


def _tell_nobody(error: PiecesLost) -> None:
    """Leave it to whoever asked."""


class PublishedTable(Changelogged):
    """Published periods of one partition: those at hand, and all others in one piece each.

    `store`: local disk, which has the pieces of committed flushes; None: memory has all pieces.
    """

    def __init__(self, store: PieceStore[Stands] | None = None) -> None:
        super().__init__()
        self.store = store
        self._tell_lost: Callable[[PiecesLost], None] = _tell_nobody
        self.began = None if store is None else store.stands
        """What local disk had when it was opened; the rest of the changelog is to be loaded."""
        self.periods: dict[PeriodKey, PublishedPeriod] = {}
        """Periods at hand: changed since the last flush, or looked at lately."""
        self._looked_at: list[PeriodKey] = []
        """Names of those that came to hand by a look; some may have changed since."""
        self._absent: set[PeriodKey] = set()
        """Names of some that were looked for lately, and were not there."""
        self._changed: set[PeriodKey] = set()
        """Names of periods that have changed since the last flush."""
        self._empty: dict[PeriodKey, bytes] = {}
        """Pieces of periods without cells, published since the last flush and not looked at."""
        self._pieces: dict[PeriodKey, bytes] = {}
        """What local disk does not have yet, or not at all."""
        self._loading: dict[PeriodKey, dict[bytes, bytes | None]] = {}
        """By the rest of its key, the value of each record of periods that are being loaded."""
        self._noted = None if self.began is not None or store is None else NotedNames(_NOTED_BITS)
        """Periods that were loaded, where local disk has no others: nobody looks there for more."""
        if self.began is not None:
            self.sum = self.began.sum
        self._newest_ms = -1 if self.began is None else self.began.cut_ms
        """Newest cut of any record."""
        self.first_ms = -1
        """The cut that is being taken, if no record of it or a later one was there; else -1."""
        self._taken = Stands(self._newest_ms, self.sum)
        """What the last flush came to."""
        self._named: tuple[PeriodKey, bytes] = (("", 0), b"")
        """The period that a cell was put into last, and what keys of its cells begin with."""

    def when_lost(self, tell: Callable[[PiecesLost], None]) -> None:
        """Tell somebody that local disk does not give what it was given; who asked fails."""
        self._tell_lost = tell

    def find(self, name: PeriodKey) -> PublishedPeriod | None:
        """Return the period as published; None before its first cut.

        Raises:
            PiecesLost: local disk does not give it any more; a restore makes it again.
        """
        period = self.periods.get(name)
        if period is not None or name in self._absent:
            return period
        piece = self._empty.pop(name, None)
        if piece is not None:
            # From here on it may change.
            self._changed.add(name)
        elif (piece := self._piece_of(name)) is None:
            # Whoever closes it asks twice.
            self.note_absent(name)
            return None
        else:
            self._note_looked_at(name)
        period = self.periods[name] = period_of(piece)
        return period

    def _note_looked_at(self, name: PeriodKey) -> None:
        """Let go of those looked at before, once they are very many: no flush may come for long."""
        if len(self._looked_at) >= _AT_HAND:
            for looked_at in self._looked_at:
                if looked_at not in self._changed:
                    self.periods.pop(looked_at, None)
            self._looked_at.clear()
        self._looked_at.append(name)

    def counts(self, name: PeriodKey) -> tuple[int, int]:
        """Return how many cells of a period are published, and how many completions: one, or none.

        Of what is not at hand it reads no cell, and keeps nothing: it is asked of very many.

        Raises:
            PiecesLost: as `find` does.
        """
        period = self.periods.get(name)
        if period is not None:
            return len(period.cells), int(period.revision >= 0)
        if name in self._absent:
            return 0, 0
        piece = self._empty.get(name) or self._piece_of(name)
        return (0, 0) if piece is None else counts_in(piece)

    def begin_cut(self, cut_ms: int) -> None:
        """Note that a cut is taken, which closes everybody once: `first_ms`."""
        self.first_ms = cut_ms if cut_ms > self._newest_ms else -1

    def note_absent(self, name: PeriodKey) -> None:
        """Know that nothing is published of a period, without a look at local disk."""
        if len(self._absent) >= _AT_HAND:
            self._absent.clear()
        self._absent.add(name)

    def _piece_of(self, name: PeriodKey) -> bytes | None:
        piece = self._pieces.get(name)
        if piece is None and self.store is not None:
            try:
                piece = self.store.find(name)
            except PiecesLost as error:
                self._tell_lost(error)
                raise
        return piece

    def put_cell(self, name: PeriodKey, cell: PublishedCellKey, published: PublishedCell) -> None:
        """Remember a record that goes out with the next flush."""
        if self._named[0] is not name:
            # Most cells of a period are put one after the other.
            self._named = name, begin_key(name)
        row, value = _encode(cell), _encode(published)
        period = self._made(name, published.cut_ms)
        before = period.put(cell, published)
        period.packed[row] = value
        summed = None if before is None else summed_row(_encode(before))
        key = self._named[1] + row
        self.sum = self.sum.after(((key, summed, summed_row(value)),))
        self._dirty[key] = value

    def put_completion(self, name: PeriodKey, revision: int, cut_ms: int) -> PublishedPeriod:
        """Remember a period.completed of the next flush; return the cells of its period."""
        key, value = _encode((name, None)), _encode((revision, cut_ms))
        if self.find(name) is None:
            # Most have no cells, and are not looked at again.
            self._absent.discard(name)
            self._newest_ms = max(self._newest_ms, cut_ms)
            self._empty[name] = _encode((COMPLETION, value))
            self._put(key, None, value)
            return _WITHOUT_CELLS
        period = self._made(name, cut_ms)
        before = (period.revision, period.cut_ms)
        period.revision, period.cut_ms = revision, cut_ms
        self._put(key, None if before[0] < 0 else _encode(before), value)
        return period

    def _made(self, name: PeriodKey, cut_ms: int) -> PublishedPeriod:
        # Most were asked for just before, by who makes the record.
        period = self.periods.get(name)
        if period is None and (period := self.find(name)) is None:
            period = self.periods[name] = PublishedPeriod()
            self._absent.discard(name)
        self._changed.add(name)
        if cut_ms > self._newest_ms:
            self._newest_ms = cut_ms
        return period

    def take_changes(self) -> Rows:
        """Return what changed since the last call, and keep the pieces of it for `storing`."""
        changes = super().take_changes()
        self._pieces |= self._empty
        self._empty.clear()
        for name in self._changed:
            period = self.periods[name]
            self._pieces[name] = period.piece()
            if period.is_unpacked:
                # Whoever revises it reads it packed.
                del self.periods[name]
        self._changed.clear()
        self._taken = Stands(self._newest_ms, self.sum)
        if len(self.periods) > _AT_HAND:
            self.periods.clear()
            self._looked_at.clear()
        return changes

    def storing(self) -> Steps[None]:
        """Let local disk have what was taken, now that it is committed; or keep it in memory.

        Nothing is taken meanwhile. What is looked for is found at any time.
        """
        store = self.store
        if store is None or not (self._pieces or store.is_writing):
            return
        for some in batches(list(self._pieces.items()), STEP_ITEMS):
            if not store.write(some):
                return
            yield
        if store.commit(self._taken):
            self._pieces.clear()

    def load_all(self, records: Iterable[tuple[bytes, bytes | None]]) -> None:
        """Take over changelog records, in the order of the changelog; `loading` follows."""
        loading, name_bytes, rows = self._loading, b"", dict[bytes, bytes | None]()
        changes, newest_ms = list[Change](), self._newest_ms
        for key, value in records:
            if not (name_bytes and key.startswith(name_bytes)):
                # Those of a period mostly follow each other.
                end = period_end(key)
                name_bytes, name = key[:end], period_in(key, end)
                if (known := loading.get(name)) is None:
                    known = loading[name] = {}
                rows = known
            rest = key[len(name_bytes) :]
            before = summed_row(rows[rest]) if rest in rows else None
            rows[rest] = value
            if value is not None and (cut_ms := cut_of_row(rest, value)) > newest_ms:
                newest_ms = cut_ms
            changes.append((key, before, summed_row(value)))
        self._newest_ms = newest_ms
        self.sum = self.sum.after(changes)

    def loading(self) -> Steps[bool]:
        """Put together what was loaded, and let local disk have it; `storing` makes that last.

        Return False if it does not take it: then what it had of this load is gone. Nobody asks for
        anything meanwhile.
        """
        # As they lie on local disk: a place there is then come to once for many of them.
        for some in batches(sorted(self._loading, key=_PLACE), STEP_ITEMS):
            pieces = [(name, self._with_loaded(name)) for name in some]
            if self.store is None:
                self._pieces.update(pieces)
            elif not self.store.write(pieces):
                return False
            yield
        self._loading.clear()
        self._absent.clear()
        self._taken = Stands(self._newest_ms, self.sum)
        return True

    def _with_loaded(self, name: PeriodKey) -> bytes:
        """Return the piece of a period with what was loaded of it."""
        rows, noted = self._loading[name], self._noted
        is_new = noted is not None and not noted.note(name)
        if not is_new and (piece := self._piece_of(name)) is not None:
            there = rows_of(piece)
            there.pop(SUMS, None)
            begins = begin_key(name)
            for rest in rows.keys() & there.keys():
                self.sum = self.sum.replaced(begins + rest, summed_row(there[rest]), None)
            rows = {**there, **rows}
        return _encode([packed for row in rows.items() if row[1] is not None for packed in row])

    def take_over(self, store: PieceStore[Stands]) -> None:
        """Let local disk have all of it, and nothing of what it had."""
        store.discard()
        self.store = store

    def close(self) -> None:
        """Let go of local disk."""
        self._absent.clear()
        if self.store is not None:
            self.store.close()


_WITHOUT_CELLS: Final = PublishedPeriod()
_AT_HAND = 200
"""Periods that are not let go of at once."""
_NOTED_BITS: Final = 1 << 22
"""One for each name: of half a million names that are new, an eighth at most seem to be noted."""
_PLACE: Final = itemgetter(1, 0)
"""Where a period lies on local disk, by its name."""


_encode = msgspec.msgpack.encode
