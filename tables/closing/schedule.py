"""When each external subscription of a partition has its next cut, earliest first."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from typing import Final

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.named_rows import NamedRows
from tables.closing.close import DueNext, next_cut
from tables.partition.partition import Partition

_TAKEN: Final = NEVER_MS + 1
"""Stands for the next cut of who is closed, which is looked for after the cut. A number above it
has a place in `Schedule._told`."""


class Schedule:
    """Cuts to come, each with whose it is; entries that no longer hold are passed over.

    Very many have their next cut at one time. So numbers stand for their names.
    """

    def __init__(self, partition: Partition, names: Iterable[SubscriptionKey]):
        self._partition = partition
        self._names = NamedRows()
        self._cuts = array("q")
        """By number of the name, its next cut; NEVER_MS: it has none; more: its cut is taken."""
        self._times: list[int] = []
        """A heap of cuts."""
        self._due: dict[int, array[int]] = {}
        """By cut, numbers of the names whose next cut it is, or was."""
        self._closed = array("I")
        """Numbers of the names that were due since `take_closed`."""
        self._taken = array("I")
        """Numbers of those that `due` has yielded and `free` has not returned."""
        self._told: list[DueNext | None] = [None]
        """What is known of these, each once: periods of very many are due next at one time."""
        self._places: dict[DueNext | None, int] = {None: 0}
        """The same: its place in `_told`."""
        for name in names:
            self.update(name)

    def update(self, name: SubscriptionKey, known: DueNext | None = None) -> int:
        """Look the subscription's next cut up again: definitions or late events may move it.

        Return it; NEVER_MS: there is none. Of one that is taken nothing is scheduled yet.
        """
        cut_ms = next_cut(self._partition, name, known)
        if cut_ms >= NEVER_MS:
            self.drop(name)
            return cut_ms
        number = self.number_of(name)
        if cut_ms != self._cuts[number] < _TAKEN:
            self._cuts[number] = cut_ms
            due = self._due.get(cut_ms)
            if due is None:
                due = self._due[cut_ms] = array("I")
                heappush(self._times, cut_ms)
            due.append(number)
        return cut_ms

    def number_of(self, name: SubscriptionKey) -> int:
        """Return the number of an external subscription, which stays: names take much room."""
        number = self._names.find(name)
        if number < 0:
            number = self._names.add(name, None)
            self._cuts.append(NEVER_MS)
        return number

    def named(self, number: int) -> SubscriptionKey:
        """Return the external subscription with a number."""
        return self._names.name_in(self._names.rows[number])

    def __contains__(self, name: SubscriptionKey) -> bool:
        """Return whether an external subscription has a cut to come."""
        number = self._names.find(name)
        return number >= 0 and self._cuts[number] < NEVER_MS

    def drop(self, name: SubscriptionKey) -> None:
        """Forget when its next cut is; the others' go on."""
        number = self._names.find(name)
        if number >= 0 and self._cuts[number] < _TAKEN:
            self._cuts[number] = NEVER_MS

    def next_ms(self) -> int:
        """Return the earliest cut to come, or history record to put in force; NEVER_MS: neither.

        A history record waits for the logs as a cut does. Nobody need be due at the cut that shows
        it, or at one that a definition waits for.
        """
        standing = self._partition.standing
        return min(
            self._next(),
            standing.next_history_ms(),
            standing.next_awaited_ms(),
            self._partition.cuts.next_of_history(),
            self._partition.changed.next_ms(),
        )

    def due(self, cut_ms: int) -> Iterator[int]:
        """Yield numbers of those whose next cut it is; each is taken until `free`."""
        while (at_ms := self._next()) <= cut_ms:
            number = self._due[at_ms].pop()
            self._cuts[number] = _TAKEN
            self._closed.append(number)
            self._taken.append(number)
            yield number

    @property
    def has_taken(self) -> bool:
        """Whether some were yielded by `due` that have no next cut before they are free."""
        return bool(self._taken)

    def note_known(self, number: int, known: DueNext | None) -> None:
        """Note when periods are due next of one that is taken."""
        place = self._places.get(known)
        if place is None:
            place = self._places[known] = len(self._told)
            self._told.append(known)
        self._cuts[number] = _TAKEN + place

    def free(self) -> tuple[SubscriptionKey, DueNext | None]:
        """Let one that is taken have a next cut again; return whose it is and what is known."""
        number = self._taken.pop()
        place, self._cuts[number] = self._cuts[number] - _TAKEN, NEVER_MS
        known = self._told[place] if place > 0 else None
        if not self._taken:
            del self._told[1:]
            self._places = {None: 0}
        return self.named(number), known

    def take_closed(self) -> array[int]:
        """Hand out the numbers of all that `due` has yielded since the last call."""
        taken, self._closed = self._closed, array("I")
        return taken

    def _next(self) -> int:
        """Return the earliest cut that somebody has, the last of `_due` among them; or NEVER_MS."""
        while self._times:
            cut_ms = self._times[0]
            due = self._due[cut_ms]
            while due:
                if self._cuts[due[-1]] == cut_ms:
                    return cut_ms
                due.pop()
            heappop(self._times)
            del self._due[cut_ms]
        return NEVER_MS
