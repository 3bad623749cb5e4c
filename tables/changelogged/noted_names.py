"""Names that were noted, in memory of one size: who was not may rarely seem to be."""

from __future__ import annotations

from typing import Final

from tables.changelogged.piece_store import PeriodKey

_BITS: Final = 1 << 22
"""One for each name: of half a million names that are new, an eighth at most seem to be noted."""


class NotedNames:
    """Names of periods that were noted."""

    def __init__(self) -> None:
        self._bits = bytearray(_BITS // 8)

    def note(self, name: PeriodKey) -> bool:
        """Note a name; return whether it may have been noted before."""
        at = hash(name) % _BITS
        byte, bit = at >> 3, 1 << (at & 7)
        known = self._bits[byte]
        self._bits[byte] = known | bit
        return bool(known & bit)
