"""Packed rows: changelog records kept packed, by what they belong to, until it is touched.

Most of a million cells wait for their period to end. As objects a cell takes one to three kilobytes
with its route, span and layer. As bytes, with all cells of a subscription in one row, it takes
about 150.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from app.bounds.at_hand import keep
from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.definitions.indexes.numbered import Numbers
from app.definitions.model import FOLD_VERSION
from tables.aggregation import WITH_BARE, Groups
from tables.changelogged.keyed_rows import KeyedRows

Packed = tuple[bytes, bytes]
"""(key, value) of a changelog record."""

_NUMBER_BYTES = 3
_MOST_TOLD = 1_024
"""How many rests of keys are at hand."""

# Plain __new__: the generated one costs three times as much, for every cell.
_new = tuple.__new__


Place = tuple[str, str | None, Groups]
"""(charge id, filter id, groups): where a cell is within its subscription."""


class PackedHere(NamedTuple):
    """What the key of a cell says beside its subscription."""

    place: Place
    span_start_ms: int
    layer_ms: int


CellHere = tuple[PackedHere, bytes]
"""A cell of a subscription, packed."""


class SomeRows:
    """Records of one first part that are put together some at a time."""

    __slots__ = ("_packed", "count")

    def __init__(self) -> None:
        self.count = 0
        """Rests of keys, and values."""
        self._packed: list[bytes] = []

    def add(self, rows: list[bytes]) -> None:
        """Put together some more, each the rest of its key and then its value."""
        if rows:
            packed = msgspec.msgpack.encode(rows)
            self._packed.append(packed[_header_bytes(packed[0]) :])
            self.count += len(rows)

    def join(self, others: SomeRows) -> None:
        """Take over those that others have put together."""
        self._packed += others._packed
        self.count += others.count

    def piece(self, first_part: bytes) -> bytes:
        """Return all in one piece."""
        count = self.count
        if count < 16:
            header = bytes((0x90 | count,))
        elif count <= 0xFFFF:
            header = b"\xdc" + count.to_bytes(2)
        else:
            header = b"\xdd" + count.to_bytes(4)
        return b"".join((first_part, header, *self._packed))


class PackedRows:
    """Records by the first part of their key, which names what they belong to.

    No first part is the beginning of another.
    """

    def __init__(self) -> None:
        self._pieces = KeyedRows()
        """The first part, and then the rest of each key with its value."""
        self._open: dict[bytes, list[bytes]] = {}
        self.most = 0
        """No first part has had more records than these."""

    def __bool__(self) -> bool:
        return bool(self._pieces or self._open)

    def __contains__(self, first_part: bytes) -> bool:
        return first_part in self._open or self._pieces.find(first_part) >= 0

    def add(self, first_part: bytes, rest: bytes, value: bytes) -> None:
        """Keep one more record."""
        self.add_all(first_part, (rest, value))

    def add_all(self, first_part: bytes, more: Iterable[bytes]) -> None:
        """Keep more records, each the rest of its key and then its value."""
        rows = self._open.get(first_part)
        if rows is None:
            rows = self._open[first_part] = self._taken(first_part)
        rows += more

    def add_some(self, first_part: bytes, some: SomeRows) -> None:
        """Keep more records, which are put together."""
        more = SomeRows()
        more.add(self._taken(first_part))
        more.join(some)
        self.most = max(self.most, more.count // 2)
        self._pieces.add(first_part, more.piece(first_part))

    def pack(self) -> None:
        """Put together what was added since the last time."""
        drained(self.packing())

    def packing(self) -> Steps[None]:
        """Do what `pack` does by steps; nothing is asked for between two of them."""
        for count, (first_part, rows) in enumerate(self._open.items(), 1):
            self.most = max(self.most, len(rows) // 2)
            # Its row was taken out when it was opened.
            self._pieces.add(first_part, first_part + msgspec.msgpack.encode(rows))
            if count % STEP_ITEMS == 0:
                yield
        self._open.clear()

    def piece(self, first_part: bytes) -> bytes | None:
        """Return what belongs together in one piece, for `put`."""
        return self._pieces.get(first_part)

    def put(self, first_part: bytes, piece: bytes) -> None:
        """Keep again what was taken and did not change."""
        self._pieces.put(first_part, piece)

    def drop(self, first_part: bytes) -> None:
        """Keep no more what belongs together in one piece."""
        self._pieces.pop(first_part)

    def count(self, first_part: bytes) -> int:
        """Return how many records there are, of which none is read."""
        piece = self._pieces.get(first_part)
        if piece is None:
            return len(self._open.get(first_part, ())) // 2
        return _length(piece, len(first_part)) // 2

    def drain(self, first_part: bytes) -> list[Packed]:
        """Hand out (rest of the key, value) of all records, which are here no longer."""
        return paired(self._taken(first_part))

    def _taken(self, first_part: bytes) -> list[bytes]:
        piece = self._pieces.pop(first_part)
        if piece is not None:
            return _rows_of(first_part, piece)
        return self._open.pop(first_part, [])


def _rows_of(first_part: bytes, piece: bytes) -> list[bytes]:
    return _decode_rows(memoryview(piece)[len(first_part) :])


_decode_rows = msgspec.msgpack.Decoder(list[bytes]).decode


def _length(packed: bytes, start: int) -> int:
    """Return how long an array is in MessagePack."""
    kind = packed[start]
    if kind < 0xDC:
        return kind & 0x0F
    return int.from_bytes(packed[start + 1 : start + _header_bytes(kind)])


def _header_bytes(kind: int) -> int:
    """Return in how many bytes an array has its length; `kind`: the first of them."""
    # Up to 15 it is in one byte with the type, else in the next two or four.
    return 1 if kind < 0xDC else 3 if kind == 0xDC else 5


def paired(rows: list[bytes]) -> list[Packed]:
    """Return keys and values that stand one after the other, in pairs."""
    return list(zip(rows[::2], rows[1::2], strict=True))


class PackedCells(PackedRows):
    """Packed cells by subscription, in rows that begin with its `first_part_of`.

    A cell's key is an array of six, the subscription first and then the charge. Very many cells
    have the same charge, so that its number stands in its place here.
    """

    def __init__(self) -> None:
        super().__init__()
        self._charges: list[bytes] = []
        """Charges as they are in keys."""
        self._numbers = Numbers(self._charges)
        self._told: dict[bytes, PackedHere] = {}
        """What rests of keys say: many who close have the same."""

    def add_cell(self, key: bytes, value: bytes) -> None:
        """Keep one cell more."""
        first_part, rest = self.parted(key)
        self.add(first_part, rest, value)

    def parted(self, key: bytes) -> tuple[bytes, bytes]:
        """Return the first part of a key, and the rest of it as it is kept."""
        end = text_end(key, 1)
        after = text_end(key, end)
        number = self._numbers[key[end:after]].to_bytes(_NUMBER_BYTES)
        return key[:end], number + key[after:]

    def in_piece(self, first_part: bytes, piece: bytes) -> Iterator[Packed]:
        """Return the cells of a piece of a subscription."""
        return self._whole(first_part, paired(_rows_of(first_part, piece)))

    def by_charge(self, first_part: bytes, piece: bytes) -> dict[bytes, list[Packed]]:
        """Return the cells of a piece of a subscription by their charge, as keys have it."""
        found: dict[bytes, list[Packed]] = {}
        charges, number = self._charges, int.from_bytes
        rows = iter(_rows_of(first_part, piece))
        for rest, value in zip(rows, rows, strict=True):
            charge = charges[number(rest[:_NUMBER_BYTES])]
            cell = first_part + charge + rest[_NUMBER_BYTES:], value
            found.setdefault(charge, []).append(cell)
        return found

    def few(self, first_part: bytes, most: int) -> list[CellHere] | None:
        """Return the cells of a subscription, which stay; None: none, or more than `most`."""
        piece = self.piece(first_part)
        if piece is None:
            return None
        rows = _rows_of(first_part, piece)
        if len(rows) > 2 * most:
            return None
        told = self._told
        return [(told.get(rest) or self._tell(rest), value) for rest, value in paired(rows)]

    def _tell(self, rest: bytes) -> PackedHere:
        """Return what the rest of a key says."""
        charge_id = _decode_text(self._charges[int.from_bytes(rest[:_NUMBER_BYTES])])
        begins_ms, layer_ms, *name = _decode_rest(_REST + rest[_NUMBER_BYTES:])
        here = _new(PackedHere, ((charge_id, *name), begins_ms, layer_ms))
        return keep(self._told, rest, here, _MOST_TOLD)

    def drain(self, first_part: bytes) -> list[Packed]:
        """Hand out the cells of a subscription, which are here no longer."""
        return list(self._whole(first_part, super().drain(first_part)))

    def _whole(self, first_part: bytes, rows: Iterable[Packed]) -> Iterator[Packed]:
        """Return cells with their whole keys, each put together as it is taken."""
        charges, number = self._charges, int.from_bytes
        return (
            (
                first_part + charges[number(rest[:_NUMBER_BYTES])] + rest[_NUMBER_BYTES:],
                value,
            )
            for rest, value in rows
        )


def first_part_of(subscription_id: str) -> bytes:
    """Return what the keys of a subscription's cells begin with."""
    return b"\x96" + msgspec.msgpack.encode(subscription_id)


def text_end(packed: bytes, start: int) -> int:
    """Return where a text of up to 255 bytes ends in MessagePack."""
    # Up to 31 bytes it has its length in one byte with the type, else in the next.
    kind = packed[start]
    return start + 1 + (kind & 0x1F) if kind < 0xC0 else start + 2 + packed[start + 1]


def integer_end(packed: bytes, start: int) -> int:
    """Return where an integer ends in MessagePack."""
    # 0xcc … 0xcf are unsigned of 1, 2, 4, 8 bytes, 0xd0 … 0xd3 signed; small ones are one byte.
    kind = packed[start]
    return start + 1 + (1 << (kind & 0x03) if 0xCC <= kind <= 0xD3 else 0)


def is_newer(cell: bytes) -> bool:
    """Return whether a newer program packed the cell."""
    # An array of three or four, the version first; larger numbers begin with a greater byte.
    return cell[1] & ~WITH_BARE > FOLD_VERSION


def has_late_cuts(cell: bytes) -> bool:
    """Return whether the packed cell has states of cuts to come."""
    # The second is an array with one entry a cut, and cut 0 is always there.
    return cell[2] != 0x91


def subscription_of(key: bytes) -> str:
    """Return the subscription that a cell's key names."""
    return _decode_text(key[1 : text_end(key, 1)])


charge_part_of: Callable[[str], bytes] = msgspec.msgpack.Encoder().encode
"""Returns what the keys of a charge's cells have after their first part."""

_decode_text = msgspec.msgpack.Decoder(str).decode
_decode_rest = msgspec.msgpack.Decoder(tuple[int, int, str | None, Groups]).decode
_REST = b"\x94"
"""Begins an array of what a key has after its charge."""
