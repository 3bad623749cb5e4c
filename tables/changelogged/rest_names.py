"""Names of the rest: which may have events that are noted in the common entry of event ranges.

It tells for certain who has none there, so nobody has to search the logs for these. What it says
others may have is to be looked for.
"""

from __future__ import annotations

from typing import Final

import xxhash

from app.wire.arrivals import SubscriptionKey

_BITS: Final = 1 << 23
"""1 MiB once there is one name: of a million names it takes one in fifty others for one of them."""
_PROBES: Final = 4
_OF_CODES: Final = 1
"""What the seed of codes differs by: an external id is not taken for a code of the same text."""

_xxh3 = xxhash.xxh3_64_intdigest


class RestNames:
    """External subscriptions, and codes of organizations, as bits: any number in as many bytes."""

    def __init__(self, *, is_whole: bool = True) -> None:
        """Begin without any. `is_whole`: False if there are some that are not known."""
        self._bits = bytearray()
        self.is_whole = is_whole
        """Whether all were added; else any may be one."""

    def add(self, name: SubscriptionKey, code: str) -> None:
        """Add an external subscription, and the code of its organization."""
        if not self._bits:
            self._bits = bytearray(_BITS >> 3)
        bits = self._bits
        for hashed in (_hash_of_name(name), _hash_of_code(name[0], code)):
            for place in _places(hashed):
                bits[place >> 3] |= 1 << (place & 7)

    def may_have(self, name: SubscriptionKey) -> bool:
        """Return False if no event of an external subscription is noted in the common entry."""
        return self._may_have(_hash_of_name(name))

    def may_have_code(self, organization_id: str, code: str) -> bool:
        """Return False if no event of a code is noted there in an organization."""
        return self._may_have(_hash_of_code(organization_id, code))

    def note_whole(self) -> None:
        """Note that all were added: the logs were read from the first event on."""
        self.is_whole = True

    def _may_have(self, hashed: int) -> bool:
        bits = self._bits
        if not self.is_whole:
            return True
        return bool(bits) and all(bits[p >> 3] >> (p & 7) & 1 for p in _places(hashed))


def _hash_of_name(name: SubscriptionKey) -> int:
    return _xxh3(name[1].encode(), _xxh3(name[0].encode()))


def _hash_of_code(organization_id: str, code: str) -> int:
    return _xxh3(code.encode(), _xxh3(organization_id.encode()) ^ _OF_CODES)


def _places(hashed: int) -> list[int]:
    """Return which bits a hash sets."""
    step = hashed >> 32 | 1
    return [(hashed + number * step) % _BITS for number in range(_PROBES)]
