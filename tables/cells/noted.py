"""Noted: which cells of a layer changed, so that a cut looks at no others.

Every change of a cell is flushed, so what a flush writes tells which ones changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final, Generic, Protocol, TypeVar

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
