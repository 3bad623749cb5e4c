"""Apart: packed cells by charge, of external subscriptions of whom other cells are at hand.

An event of one of fifty codes, or a revision that shows one, unpacks what its charges have. The
cells of others are taken out of their piece once, and are put together again for who asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from app.wire.arrivals import SubscriptionKey
from tables.changelogged.packed_rows import Packed, PackedCells

OfCharges = dict[bytes, list[Packed]]
"""Cells of an external subscription by `charge_part_of` their charge."""

Piece = tuple[bytes, bytes]
"""(`first_part_of` a subscription, its cells in one piece)"""


class Apart:
    """Packed cells of one partition that are in no piece."""

    def __init__(self, packed: PackedCells):
        self._packed = packed
        self.cells: dict[SubscriptionKey, OfCharges] = {}
        """Cells that are apart, of all who are packed in part; none: they are together again."""

    def count(self, name: SubscriptionKey) -> int:
        """Return how many of its cells are apart."""
        return sum(map(len, self.cells.get(name, {}).values()))

    def take(self, name: SubscriptionKey, pieces: Iterable[Piece]) -> OfCharges:
        """Take all cells of an external subscription apart; return them, for who takes some out."""
        apart = self.cells[name] = {}
        for part, piece in pieces:
            for charge, cells in self._packed.by_charge(part, piece).items():
                apart.setdefault(charge, []).extend(cells)
            self._packed.drop(part)
        return apart

    def take_out(self, name: SubscriptionKey, charges: Iterable[bytes]) -> None:
        """Take out the cells of charges that are at hand now."""
        apart = self.cells[name]
        for charge in charges:
            apart.pop(charge, None)
        if not apart:
            del self.cells[name]

    def join(self, name: SubscriptionKey) -> None:
        """Put the cells of an external subscription together in pieces, if they are apart."""
        if apart := self.cells.get(name):
            for key, value in chain.from_iterable(apart.values()):
                self._packed.add_cell(key, value)
            self._packed.pack()
            apart.clear()
