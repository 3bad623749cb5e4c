"""Named rows: bytes by external subscription, in the order in which these came; none ever goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Final

import msgspec

from app.definitions.indexes.numbered import Numbers
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.keyed_rows import KeyedRows

_encode = msgspec.msgpack.Encoder().encode
_decode_name = msgspec.msgpack.Decoder(tuple[int, str, msgspec.Raw]).decode
_decode_names = msgspec.msgpack.Decoder(list[tuple[int, str, msgspec.Raw]]).decode
_ROW: Final = b"\x93"
"""A row is an array of three: number of the organization, external id, and what it is kept for."""
_AT_ONCE: Final = 64
"""How many rows are decoded at once; it is less than 65,536."""


class NamedRows:
    """External subscriptions with something of each, numbered as they came."""

    def __init__(self) -> None:
        self.rows = KeyedRows()
        self.texts: list[str] = []
        """Organizations, and whatever else very many rows have, by number."""
        self.numbers = Numbers(self.texts)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[SubscriptionKey]:
        return self.since(0)

    def find(self, name: SubscriptionKey) -> int:
        """Return the number of an external subscription; -1: it did not come."""
        organization = self.numbers.get(name[0])
        return -1 if organization is None else self.rows.find(_key(organization, name[1]))

    def add(self, name: SubscriptionKey, kept: Any) -> int:
        """Keep something of an external subscription that did not come yet; return its number."""
        key = _key(self.numbers[name[0]], name[1])
        return self.rows.add(key, key + _encode(kept))

    def replace(self, number: int, name: SubscriptionKey, kept: Any) -> None:
        """Keep something of the external subscription with a number in place of the last."""
        self.rows.replace(number, _key(self.numbers[name[0]], name[1]) + _encode(kept))

    def named(self, numbers: Iterable[int]) -> Iterator[SubscriptionKey]:
        """Yield external subscriptions by their numbers."""
        return (self.name_in(self.rows[number]) for number in numbers)

    def name_in(self, row: bytes) -> SubscriptionKey:
        """Return the external subscription whose row it is."""
        organization, external_id, _ = _decode_name(row)
        return self.texts[organization], external_id

    def since(self, number: int) -> Iterator[SubscriptionKey]:
        """Yield external subscriptions from a number on; none of those that come meanwhile."""
        return chain.from_iterable(map(self._names_in, self._parts(number, _AT_ONCE)))

    def rows_of(
        self, organization_id: str, most: int, own: Sequence[int] | None = None
    ) -> tuple[bytes, Iterator[list[bytes]]]:
        """Return what rows of an organization begin with, and rows, so many at a time.

        Then comes the external id, a text of MessagePack. `name_in` tells whose a row is. `own`:
        the numbers of its rows, where they are known; else those are rows of all.
        """
        organization = self.numbers.get(organization_id)
        if organization is None:
            return b"", iter(())
        parts = self._parts(0, most) if own is None else self._numbered(own, most)
        return _ROW + _encode(organization), parts

    def _numbered(self, numbers: Sequence[int], most: int) -> Iterator[list[bytes]]:
        firsts = range(0, len(numbers), most)
        return ([self.rows[n] for n in numbers[at : at + most]] for at in firsts)

    def _parts(self, first: int, most: int) -> Iterator[list[bytes]]:
        end = len(self.rows)
        return (self.rows.some(at, min(at + most, end)) for at in range(first, end, most))

    def _names_in(self, rows: list[bytes]) -> Iterator[SubscriptionKey]:
        texts, head = self.texts, b"\xdc" + len(rows).to_bytes(2, "big")
        for organization, external_id, _ in _decode_names(head + b"".join(rows)):
            yield texts[organization], external_id


def _key(organization: int, external_id: str) -> bytes:
    return _ROW + _encode((organization, external_id))[1:]
