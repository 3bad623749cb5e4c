"""Noted: which cells of a layer changed, so that a cut looks at no others.

Every change of a cell is flushed, so what a flush writes tells which ones changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Generic, Protocol, TypeVar

from app.definitions.periods import Period

FEW_CELLS: Final = 16
"""A layer of more cells notes which of them change; a cut goes through so many."""


class Changing(Protocol):
    """What is known of a cell here."""

    @property
    def late(self) -> Mapping[int, object] | None:
        """States of cuts to come."""

    @property
    def dirty(self) -> bool:
        """Whether a flush writes it yet: then nobody notes that it changes again."""


C = TypeVar("C", bound=Changing)


class Noted(Generic[C]):
    """Cells of a layer that changed since it was looked at, and those with states of later cuts."""

    __slots__ = ("_changed", "_late", "_told_to")

    def __init__(self, cells: Iterable[C]):
        """Take all cells of the layer."""
        self._changed = {cell: None for cell in cells if cell.late or cell.dirty}
        self._late = dict(self._changed)
        """Cells with states of cuts to come, and those that may have got any since their note."""
        self._told_to: object = None
        """Whom the last look told all that the cells showed; None: it did not come to its end."""

    def add(self, cell: C) -> None:
        """Note a cell that changed; until a flush wrote it nobody notes what more comes to it."""
        self._changed[cell] = self._late[cell] = None

    def look(self, teller: object) -> Collection[C] | None:
        """Return the cells that may show what `teller` was not told; None: all of them.

        Whatever changes from now on is left to the next look.
        """
        found = self._changed | self._late if self._told_to is teller else None
        self._changed = {cell: None for cell in self._changed if cell.dirty}
        self._let_go()
        self._told_to = None
        return found

    def told(self, teller: object) -> None:
        """Note that all which was looked at is told."""
        self._told_to = teller

    def late(self) -> list[C]:
        """Return the cells with states of cuts to come, and maybe some that had any."""
        self._let_go()
        return list(self._late)

    def _let_go(self) -> None:
        """Pass over cells that have no states of cuts to come, and get none without a note."""
        self._late = {cell: None for cell in self._late if cell.late or cell.dirty}


class Balances(Generic[C]):
    """What is noted for periods that show the cells of all periods before them, too."""

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: dict[int, tuple[int, Noted[C]]] = {}
        """By start of a period, with the last cut that shows its late events."""

    def noting(self, period: Period, cells: Iterable[C]) -> Noted[C]:
        """Return which cells change that a period shows; `cells`: all of them, if it is new."""
        known = self._noted.get(period.start_ms)
        if known is None:
            known = period.final_ms, Noted(cells)
            # Of who stays for years, few periods are looked at again.
            left = {at: each for at, each in self._noted.items() if each[0] >= period.due_at_ms}
            self._noted = {**left, period.start_ms: known}
        return known[1]

    def add(self, cell: C, start_ms: int) -> None:
        """Note a cell that changed of a period, for the periods that show it."""
        for shown_ms, (_, noted) in self._noted.items():
            if start_ms <= shown_ms:
                noted.add(cell)
