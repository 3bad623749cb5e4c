"""How many packed cells are unpacked, and how many of them in one step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from tables.cells.cell import Span
from tables.partition.filling import unpack_into


class Unpacked:
    """Counts the cells that are unpacked from here on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.cells = 0
        monkeypatch.setattr("tables.partition.filling.unpack_into", self._unpack_into)

    def _unpack_into(self, span: Span, packed: Sequence[Any]) -> Any:
        self.cells += len(packed)
        return unpack_into(span, packed)

    def most_at_once(self, steps: Iterable[object]) -> int:
        """Take all steps, and return the most cells that one of them unpacks."""
        known = [self.cells, *(self.cells for _ in steps), self.cells]
        return max(after - before for before, after in pairwise(known))
