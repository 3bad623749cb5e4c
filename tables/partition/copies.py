"""Copies: events that come again with a body that is known, told apart by their packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from app.kernel import apart
from app.wire.arrivals import Arrival, Run
from tables.event_index.entries import Entry, append_times, later_and_earlier, unpack_entry
from tables.event_index.rows import ROW_BYTES, ids_in, rows_at
from tables.routing.route import Route

_OTHER, _LATER, _EARLIER = range(3)


class Duplicate(NamedTuple):
    """A later arrival of a known id; `identical` None when only the bodies can tell."""

    arrival: Arrival
    known: Entry
    identical: bool | None
    replaced: bool = False
    """The arrival has the smaller position: it counts now, the known one no longer."""


class Copies(NamedTuple):
    """Arrivals of known ids with the same bodies."""

    runs: Sequence[Run]
    rows: bytes
    """One for each event of `runs`, in order."""
    known: bytes
    """The row of the event that each of them repeats."""

    def duplicates(self) -> list[Duplicate]:
        """Return them one by one."""
        found: list[Duplicate] = []
        for at, arrival in enumerate(chain.from_iterable(run for _, run in self.runs)):
            known = unpack_entry(self.known, at)
            replaced = unpack_entry(self.rows, at).position < known.position
            found.append(Duplicate(arrival, known, identical=True, replaced=replaced))
        return found


NO_COPIES = Copies((), b"", b"")


class EarlierRun(NamedTuple):
    """Copies that were appended before what is known of them, with where they lead."""

    route: Route
    run: Run
    rows: bytes
    known: bytes
    known_ms: int
    """The greatest append time of what is known."""


class SortedOut(NamedTuple):
    """Events of known ids by what they are."""

    later: Copies
    earlier: Sequence[EarlierRun]
    rest: Sequence[Run]
    """No copies, or not surely."""


def sort_out(led: Sequence[tuple[Route, Run]], rows: bytes, known: bytes) -> SortedOut:
    """Sort out events of known ids. `rows`, `known`: as `Copies` has them, for all runs."""
    if not led:
        return SortedOut(NO_COPIES, (), ())
    later, earlier = later_and_earlier(rows, known)
    if later.all():
        return SortedOut(Copies([run for _, run in led], rows, known), (), ())
    our, theirs = rows_at(rows, earlier), rows_at(known, earlier)
    ids, times = ids_in(our), append_times(theirs)
    if len(set(ids)) < len(ids):
        # Which of them is the earliest has to be looked at.
        earlier[:] = False
    kinds = (later * _LATER + earlier * _EARLIER).astype(np.uint8).tobytes()
    repeated, before, rest = list[Run](), list[EarlierRun](), list[Run]()
    end = last = 0
    for route, (meter_key, run) in led:
        begin, end = end, end + len(run)
        part = kinds[begin:end]
        for kind in {*part}:
            alike: Run = (meter_key, run)
            if part.count(kind) < len(part):
                others = [place for place, each in enumerate(part) if each != kind]
                alike = (meter_key, apart(run, others)[0])
            if kind == _LATER:
                repeated.append(alike)
            elif kind == _EARLIER:
                first, last = last, last + len(alike[1])
                packed = slice(first * ROW_BYTES, last * ROW_BYTES)
                known_ms = max(times[first:last])
                before.append(EarlierRun(route, alike, our[packed], theirs[packed], known_ms))
            else:
                rest.append(alike)
    copies = Copies(repeated, rows_at(rows, later), rows_at(known, later))
    return SortedOut(copies, before, rest)
