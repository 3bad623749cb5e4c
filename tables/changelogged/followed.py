"""Followed: corrections of known events that later cuts may still show or leave out.

The table follows which of them are *in force* in the cells. There may be very many of one external
subscription. So those that cells show, and those that wait, stand apart, each in order of position:
whoever asks what the next cut changes looks at the ends alone.
"""

from __future__ import annotations

import heapq
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from app.bounds.turns import Steps
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.correction_rows import CorrectionRows, StoredCorrection

_STEP_ROWS = 1_000


class _Ordered:
    """Numbers of rows in order of position, mostly added at the end and taken from the front."""

    __slots__ = ("_first", "_numbers", "_rows")

    def __init__(self, rows: CorrectionRows):
        self._rows = rows
        self._numbers = array("I")
        self._first = 0
        """Index of the first one left; what stands before it is gone."""

    def __len__(self) -> int:
        return len(self._numbers) - self._first

    def __iter__(self) -> Iterator[int]:
        for at in range(self._first, len(self._numbers)):
            yield self._numbers[at]

    @property
    def first_ms(self) -> int:
        """Append time of the first one."""
        return self._rows.append_time_ms(self._numbers[self._first])

    @property
    def last_ms(self) -> int:
        """Append time of the last one."""
        return self._rows.append_time_ms(self._numbers[-1])

    def add(self, row: int) -> None:
        """Put a row where it belongs."""
        position = self._rows.position
        if not self or position(self._numbers[-1]) < position(row):
            self._numbers.append(row)
        else:
            self._numbers.insert(self._place_of(row), row)

    def discard(self, row: int) -> None:
        """Take a row out, if it is here."""
        is_first = bool(self) and self._numbers[self._first] == row
        at = self._first if is_first else self._place_of(row)
        if is_first:
            self._advance(at + 1)
        elif at < len(self._numbers) and self._numbers[at] == row:
            del self._numbers[at]

    def _place_of(self, row: int) -> int:
        position = self._rows.position
        return bisect_left(self._numbers, position(row), self._first, key=position)

    def _after(self, at_ms: int) -> int:
        return bisect_right(self._numbers, at_ms, self._first, key=self._rows.append_time_ms)

    def until(self, at_ms: int) -> array[int]:
        """Return those appended until a time."""
        return self._numbers[self._first : self._after(at_ms)]

    def after(self, at_ms: int) -> Iterator[int]:
        """Yield those appended after a time, the last one first."""
        for at in range(len(self._numbers) - 1, self._first - 1, -1):
            if self._rows.append_time_ms(self._numbers[at]) <= at_ms:
                return
            yield self._numbers[at]

    def drop_until(self, at_ms: int) -> array[int]:
        """Take out those appended until a time, and return them."""
        gone = self.until(at_ms)
        self._advance(self._first + len(gone))
        return gone

    def _advance(self, first: int) -> None:
        self._first = first
        if 2 * first >= len(self._numbers):
            del self._numbers[:first]
            self._first = 0


class _OfName:
    """Corrections of one external subscription that are followed."""

    __slots__ = ("shown", "waiting")

    def __init__(self, rows: CorrectionRows):
        self.waiting = _Ordered(rows)
        """Cells do not show them."""
        self.shown = _Ordered(rows)
        """Cells show them, and a cut to come may not."""


class RefoldStanding(NamedTuple):
    """What a refold puts in force, known when it began."""

    rows: array[int]
    times_unclear: int
    """How often names had become unclear until then."""


class Followed:
    """Corrections of one partition that later cuts may still show or leave out."""

    def __init__(self, rows: CorrectionRows):
        self._rows = rows
        self._by_name: dict[SubscriptionKey, _OfName] = {}
        self._unclear: dict[SubscriptionKey, int] = {}
        """Names of which cells may show what no correction says any more, each with its number.

        Until a refold that has begun since.
        """
        self._times_unclear = 0

    def follow(self, stored: StoredCorrection) -> None:
        """Follow a correction that was appended after its known event: no cell shows it yet.

        If it is followed already, cells may show it for another copy of the event.
        """
        row, of_name = stored.row, self._by_name.get(stored.name)
        if of_name is None:
            of_name = self._by_name[stored.name] = _OfName(self._rows)
        if self._rows.is_followed(row):
            of_name.shown.discard(row)
            of_name.waiting.discard(row)
        of_name.waiting.add(row)
        self._rows.mark(row, applied=False, followed=True)

    def forget(self, stored: StoredCorrection) -> None:
        """Follow a correction no more: another has taken its place, and cells may show it."""
        self.mark_unclear(stored.name)
        of_name = self._by_name.get(stored.name)
        if of_name is not None:
            of_name.shown.discard(stored.row)
            of_name.waiting.discard(stored.row)

    def has_any(self, name: SubscriptionKey) -> bool:
        """Return whether a cut to come may still show or leave out one of a subscription."""
        return name in self._by_name

    def of(self, name: SubscriptionKey) -> list[StoredCorrection]:
        """Return those of an external subscription."""
        of_name = self._by_name.get(name)
        if of_name is None:
            return []
        return [self._rows.get(row) for row in (*of_name.shown, *of_name.waiting)]

    def times(self) -> list[tuple[SubscriptionKey, int]]:
        """Return the append times of all, ms."""
        time_of = self._rows.append_time_ms
        return [
            (name, time_of(row))
            for name, of_name in self._by_name.items()
            for row in (*of_name.shown, *of_name.waiting)
        ]

    def is_clear(self, name: SubscriptionKey) -> bool:
        """Return whether its cells show each event as the corrections in force have it."""
        return name not in self._unclear

    def are_shown(self, name: SubscriptionKey, settled_ms: int) -> bool:
        """Return whether its cells show all corrections, and cuts until a time have told them."""
        of_name = self._by_name.get(name)
        waits = of_name is not None and of_name.waiting
        return not waits and self.are_told(name, settled_ms)

    def are_told(self, name: SubscriptionKey, settled_ms: int) -> bool:
        """Return whether cuts until a time have told all corrections that its cells show."""
        of_name = self._by_name.get(name)
        told = of_name is None or not of_name.shown or of_name.shown.last_ms <= settled_ms
        return told and self.is_clear(name)

    def mark_unclear(self, name: SubscriptionKey) -> None:
        """Note that cells may show another copy of an event than the one that counts."""
        self._times_unclear += 1
        self._unclear[name] = self._times_unclear

    def wrong_since(self, name: SubscriptionKey, next_cut_ms: int) -> int | None:
        """Return the first cut time in ms at which the cells would be wrong; None: none."""
        of_name = self._by_name.get(name)
        if of_name is None:
            return None
        if of_name.waiting and of_name.waiting.first_ms <= next_cut_ms:
            return of_name.waiting.first_ms
        if of_name.shown and of_name.shown.last_ms > next_cut_ms:
            return next_cut_ms
        return None

    def turning(self, name: SubscriptionKey, horizon_ms: int) -> Iterator[bytes]:
        """Yield event ids whose corrections are to be put in force, or out of it.

        For all cuts until a time to be. An id may come twice.
        """
        of_name = self._by_name.get(name)
        if of_name is not None:
            for row in of_name.waiting:
                if self._rows.append_time_ms(row) > horizon_ms:
                    break
                yield self._rows.identity(row)
            for row in of_name.shown.after(horizon_ms):
                yield self._rows.identity(row)

    def until(self, name: SubscriptionKey, horizon_ms: int) -> RefoldStanding:
        """Return what a refold that begins puts in force: those appended up to a time."""
        of_name, rows = self._by_name.get(name), array("I")
        if of_name is not None:
            rows = of_name.shown.until(horizon_ms) + of_name.waiting.until(horizon_ms)
        return RefoldStanding(rows, self._times_unclear)

    def put_in_force(self, stored: StoredCorrection, horizon_ms: int) -> None:
        """Note that cells show a correction if the next cut does."""
        of_name, row = self._by_name[stored.name], stored.row
        applied = stored.append_time_ms <= horizon_ms
        (of_name.waiting if applied else of_name.shown).discard(row)
        (of_name.shown if applied else of_name.waiting).add(row)
        self._rows.mark(row, applied=applied, followed=True)

    def settle(self, name: SubscriptionKey, told_ms: int) -> None:
        """Follow no more what cells show and came up to `told_ms`: every cut has told it."""
        of_name = self._by_name.get(name)
        if of_name is not None:
            for row in of_name.shown.drop_until(told_ms):
                self._rows.mark(row, applied=True, followed=False)
            if not (of_name.shown or of_name.waiting):
                del self._by_name[name]

    def enforcing(
        self, name: SubscriptionKey, standing: RefoldStanding, told_ms: int
    ) -> Steps[None]:
        """Note by small steps that the cells show exactly these, as a refold has made them.

        What came up to `told_ms` every cut has told.
        """
        if self._unclear.get(name, 0) <= standing.times_unclear:
            self._unclear.pop(name, None)
        before, now = self._by_name.get(name), set(standing.rows)
        if before is None:
            return
        after, rows = _OfName(self._rows), self._rows
        merged = heapq.merge(before.shown, before.waiting, key=rows.position)
        for count, row in enumerate(merged, 1):
            applied = row in now
            left = not applied or rows.append_time_ms(row) > told_ms
            rows.mark(row, applied=applied, followed=left)
            if left:
                (after.shown if applied else after.waiting).add(row)
            if count % _STEP_ROWS == 0:
                yield
        self._by_name[name] = after
        if not (after.shown or after.waiting):
            del self._by_name[name]

    def let_stand(self, name: SubscriptionKey) -> None:
        """Stop following a subscription: its cells cannot be computed anew any more."""
        self._unclear.pop(name, None)
        of_name = self._by_name.pop(name, None)
        if of_name is not None:
            for rows, applied in ((of_name.shown, True), (of_name.waiting, False)):
                for row in rows:
                    self._rows.mark(row, applied=applied, followed=False)
