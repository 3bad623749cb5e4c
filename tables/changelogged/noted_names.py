"""Names that were noted, in memory of one size: who was not may rarely seem to be."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final

_HASHED: Final = (1 << 64) - 1


class NotedNames:
    """Names that were noted, as bits. They are of this process: no other hashes as it does."""

    def __init__(self, bits: int, probes: int = 1) -> None:
        """Take how many bits there are for all names, and how many of them tell one."""
        self._bits = bytearray(bits >> 3)
        self._size = bits
        self._probes = probes

    def note(self, name: Hashable) -> bool:
        """Note a name; return whether it may have been noted before."""
        bits, known = self._bits, True
        for place in self._places(name):
            at, bit = place >> 3, 1 << (place & 7)
            known = known and bool(bits[at] & bit)
            bits[at] |= bit
        return known

    def may_have(self, name: Hashable) -> bool:
        """Return False if a name was not noted."""
        return all(self._bits[place >> 3] >> (place & 7) & 1 for place in self._places(name))

    def _places(self, name: Hashable) -> Iterator[int]:
        hashed = hash(name) & _HASHED
        step = hashed >> 32 | 1
        return ((hashed + number * step) % self._size for number in range(self._probes))
