"""Rows: how arrivals are written down, and read again as they came.

A chunk has rows of one meter key. Most events are kept as the bytes that were decoded, with their
place, and are decoded again; what the kernel left to Python is kept decoded where that needs more.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest as _hashed

from app.kernel import write_plain
from app.wire.arrivals import (
    Arrival,
    CorrectionArrival,
    Run,
    SubscriptionKey,
)
from app.wire.decode import decode_plain_binary, envelope_headers
from app.wire.events import decode_plain

CORRECTIONS_CODE: Final = ""
"""Corrections are kept under it: they name an event, whose code nobody has looked up."""

_CODE_BITS: Final = 24
_PLAIN, _WHOLE, _CORRECTIONS, _PLACED = 0, 1, 2, 3

_Plain = tuple[str, list[int], list[int], list[bytes]]
"""(organization, raw offsets, append times, bodies)"""

_Placed = tuple[
    str, list[int], list[int], list[bytes], list[int], list[int], list[int], list[bytes]
]
"""What is not all of a raw record: also raw partitions, indexes, rekeyed offsets, envelopes."""

# `encode_into` gives a buffer half as much room again each time, and takes it back.
_encode = msgspec.msgpack.Encoder().encode
_decode_plain = msgspec.msgpack.Decoder(_Plain).decode
_decode_placed = msgspec.msgpack.Decoder(_Placed).decode
_decode_whole = msgspec.msgpack.Decoder(list[Arrival]).decode
_decode_corrections = msgspec.msgpack.Decoder(list[CorrectionArrival]).decode

Keys = NDArray[np.uint64]


class LedgerDamaged(OSError):
    """What the ledger has is not what was written; the logs have it."""


def row_key(name: SubscriptionKey, code: str) -> int:
    """Return what rows are sorted by: 40 bits of the subscription, then 24 of the code.

    Two may share one: whoever reads looks at names.
    """
    return _first_key(name) | _code_key(code)


@lru_cache(1_000)
def _code_key(code: str) -> int:
    return crc32(code.encode()) & ((1 << _CODE_BITS) - 1)


def _first_key(name: SubscriptionKey) -> int:
    return _hashed("\0".join(name).encode()) >> _CODE_BITS << _CODE_BITS


class KeyRanges(NamedTuple):
    """Which rows are looked for: keys from each of `first` to that of `last`, both included."""

    first: Keys
    last: Keys

    @classmethod
    def of(cls, names: Collection[SubscriptionKey], codes: Collection[str] | None) -> KeyRanges:
        """Want all rows of subscriptions, or those of some codes and the corrections."""
        # Each key once: two names may share it.
        first = np.unique(np.array([_first_key(name) for name in names], np.uint64))
        if codes is None:
            return cls(first, first | np.uint64((1 << _CODE_BITS) - 1))
        wanted = [_code_key(code) for code in {*codes, CORRECTIONS_CODE}]
        keys = np.unique(first[:, np.newaxis] | np.array(wanted, np.uint64))
        return cls(keys, keys)


class Chunks:
    """Rows in memory, chunk after chunk; `app.ledger.blocks` packs the first of them."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        """Chunks that are not packed."""
        self.keys = array("Q")
        self.ends = array("Q")
        """Where each ends among all, as they are unpacked."""
        self.slabs: list[bytes] = []
        """Chunks that are packed, some in each slab."""
        self.slab_ends = array("Q")
        self.slab_bytes = 0

    @property
    def packed(self) -> int:
        """How many bytes the packed ones have unpacked: there the buffer begins."""
        return self.slab_ends[-1] if self.slab_ends else 0

    @property
    def size(self) -> int:
        """How many bytes it has in memory."""
        return len(self.buffer) + self.slab_bytes

    def add(self, runs: Sequence[Run], *, plain: bool) -> None:
        """Write arrivals; `plain`: each is all that its raw record holds."""
        runs, buffer, place = list(runs), self.buffer, 0
        while place < len(runs):
            place = self._written(runs, place)
            if place == len(runs):
                break
            (organization_id, external_id, code), arrivals = runs[place]
            place += 1
            if plain:
                rows = (
                    organization_id,
                    [arrival.raw_offset for arrival in arrivals],
                    [arrival.append_time_ms for arrival in arrivals],
                    [arrival.event.body for arrival in arrivals],
                )
                buffer.append(_PLAIN)
                buffer += _encode(rows)
            else:
                buffer.append(_WHOLE)
                buffer += _encode(list(arrivals))
            self.keys.append(row_key((organization_id, external_id), code))
            self.ends.append(self.packed + len(buffer))

    def _written(self, runs: list[Run], place: int) -> int:
        """Write what the kernel can, from a place on; return the place of what it leaves."""
        keys, ends = bytearray(), bytearray()
        place = write_plain(runs, place, self.buffer, _hashed, _code_key, keys, ends)
        self.keys.frombytes(keys)
        packed, written = self.packed, array("Q", bytes(ends))
        self.ends.extend((packed + end for end in written) if packed else written)
        return place

    def add_corrections(self, corrections: Sequence[CorrectionArrival]) -> None:
        """Write corrections, one at a time: there are few."""
        for correction in corrections:
            self.buffer.append(_CORRECTIONS)
            self.buffer += _encode([correction])
            self.keys.append(row_key(correction.name, CORRECTIONS_CODE))
            self.ends.append(self.packed + len(self.buffer))


def may_tell(chunk: bytes, text: bytes) -> bool:
    """Return whether some row of a chunk may have a text; JSON may have escaped it."""
    return text in chunk or b"\\" in chunk


def rows_of(chunk: bytes, number: int) -> Sequence[Arrival] | Sequence[CorrectionArrival]:
    """Return the rows of a chunk of home partition `number`.

    Raises:
        LedgerDamaged: they cannot be read.
    """
    kind, packed = chunk[0], memoryview(chunk)[1:]
    try:
        if kind == _WHOLE:
            return _decode_whole(packed)
        if kind == _CORRECTIONS:
            return _decode_corrections(packed)
        if kind == _PLACED:
            organization_id, offsets, append_times_ms, bodies, *places, envelopes = _decode_placed(
                packed
            )
        else:
            organization_id, offsets, append_times_ms, bodies = _decode_plain(packed)
            count = len(bodies)
            places, envelopes = [[number] * count, [0] * count, [-1] * count], [b""] * count
    except msgspec.DecodeError as error:
        raise LedgerDamaged(f"a chunk cannot be read: {error}") from error
    found: list[Arrival] = []
    columns = zip(bodies, envelopes, append_times_ms, offsets, *places, strict=True)
    for body, envelope, append_time_ms, offset, partition, index, rekeyed in columns:
        if envelope:
            event = decode_plain_binary(body, envelope_headers(envelope))
        else:
            event = decode_plain(body)
        if event is None:
            raise LedgerDamaged(f"the event at raw offset {offset} cannot be decoded")
        place = append_time_ms, partition, offset, index, rekeyed
        found.append(Arrival(event, event.organization_id or organization_id, *place))
    return found
