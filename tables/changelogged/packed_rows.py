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


class PackedRows:
    """Records by the first part of their key, which names what they belong to.

    No first part is the beginning of another.
    """

    def __init__(self) -> None:
        self._pieces = KeyedRows()
        """The first part, and then the rest of each key with its value."""
        self._open: dict[bytes, list[bytes]] = {}

    def __bool__(self) -> bool:
        return bool(self._pieces or self._open)

    def __contains__(self, first_part: bytes) -> bool:
        return first_part in self._open or self._pieces.find(first_part) >= 0

    def add(self, first_part: bytes, *row: bytes) -> None:
        """Keep one more record, as `_keep` takes it."""
        rows = self._open.get(first_part)
        if rows is None:
            rows = self._open[first_part] = []
        rows += row

    def pack(self) -> None:
        """Put together what was added since the last time."""
        drained(self.packing())

    def packing(self) -> Steps[None]:
        """Do what `pack` does by steps; nothing is asked for between two of them."""
        for count, (first_part, rows) in enumerate(self._open.items(), 1):
            self._keep(first_part, rows)
            if count % STEP_ITEMS == 0:
                yield
        self._open.clear()

    def _keep(self, first_part: bytes, more: list[bytes]) -> None:
        """Keep more records, each the rest of its key and its value, with those that there are."""
        rows = self._rows_of(first_part) + more
        self._pieces.put(first_part, first_part + _encode(rows))

    def drain(self, first_part: bytes) -> list[Packed]:
        """Hand out (rest of the key, value) of all records, which are here no longer."""
        rows = self._rows_of(first_part) + self._open.pop(first_part, [])
        self._pieces.pop(first_part)
        return paired(rows)

    def _rows_of(self, first_part: bytes) -> list[bytes]:
        piece = self._pieces.get(first_part)
        return [] if piece is None else _decode_rows(memoryview(piece)[len(first_part) :])


class SomeRows:
    """Records that are put together some at a time, each the rest of its key and then its value."""

    __slots__ = ("count", "packed")

    def __init__(self) -> None:
        self.count = 0
        """Rests of keys, and values."""
        self.packed: list[bytes] = []

    def add(self, rows: list[bytes]) -> None:
        """Put together some more."""
        self.add_packed(_encode(rows))

    def add_packed(self, rows: bytes) -> None:
        """Put together some more, which are packed as an array."""
        self.packed.append(rows[_header_bytes(rows[0]) :])
        self.count += _length(rows, 0)


PutTogether = dict[bytes, dict[int, SomeRows]]
"""Cells by the first part of their keys and the number of their charge."""


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


def _header(count: int, few: int = 0x90, many: int = 0xDC) -> bytes:
    """Return what an array of so many begins with in MessagePack; `few`, `many`: another type."""
    if count < 16:
        return bytes((few | count,))
    if count <= 0xFFFF:
        return bytes((many,)) + count.to_bytes(2)
    return bytes((many + 1,)) + count.to_bytes(4)


def paired(rows: list[bytes]) -> list[Packed]:
    """Return keys and values that stand one after the other, in pairs."""
    return list(zip(rows[::2], rows[1::2], strict=True))


_encode = msgspec.msgpack.Encoder().encode
_decode_rows = msgspec.msgpack.Decoder(list[bytes]).decode


class PackedCells(PackedRows):
    """Packed cells by subscription, in pieces that begin with its `first_part_of`.

    A cell's key is an array of six, the subscription first and then the charge. Very many cells
    have the same charge, so that its number stands for it. A piece has how many cells there are,
    and then those of each charge: whoever asks for one decodes none of the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        """No subscription has had more cells than these."""
        self._charges: list[bytes] = []
        """Charges as they are in keys."""
        self._numbers = Numbers(self._charges)
        self._parted: dict[bytes, OfCharges] = {}
        """Cells of whom some are taken out by charge, until somebody asks for a piece."""
        self._told: dict[tuple[int, bytes], PackedHere] = {}
        """What rests of keys say, by the number of their charge: many who close have the same."""

    def add_cell(self, key: bytes, value: bytes) -> None:
        """Keep one cell more."""
        first_part, number, rest = self.parted(key)
        self.add(first_part, self._charges[number], rest, value)

    def parted(self, key: bytes) -> tuple[bytes, int, bytes]:
        """Return the first part of a key, the number of its charge, and the rest."""
        end = text_end(key, 1)
        after = text_end(key, end)
        return key[:end], self._numbers[key[end:after]], key[after:]

    def _keep(self, first_part: bytes, more: list[bytes]) -> None:
        """Keep more cells, each its charge, the rest of its key and its value."""
        charges: dict[int, list[bytes]] = {}
        count, before = len(more) // 3 * 2, self.piece(first_part)
        if before is not None:
            count += _length(before, len(first_part))
            charges = _decode_cells(_after(first_part, before))
        for charge, *row in zip(more[::3], more[1::3], more[2::3], strict=True):
            charges.setdefault(self._numbers[charge], []).extend(row)
        if count // 2 > self.most:
            self.most = count // 2
        keep = self._pieces.add if before is None else self._pieces.put
        keep(first_part, first_part + _header(count) + _encode(charges))

    def put_together(self, cells: Iterable[Packed], into: PutTogether) -> None:
        """Put some cells together with others, for `add_all`."""
        parted: dict[tuple[bytes, int], list[bytes]] = {}
        for key, value in cells:
            first_part, number, rest = self.parted(key)
            parted.setdefault((first_part, number), []).extend((rest, value))
        for (first_part, number), rows in parted.items():
            into.setdefault(first_part, {}).setdefault(number, SomeRows()).add(rows)

    def add_all(self, put_together: PutTogether) -> None:
        """Keep more cells, of each subscription in one piece with those that there are."""
        for first_part, charges in put_together.items():
            before = self._charges_of(first_part)
            for number, packed in before.items():
                charges.setdefault(number, SomeRows()).add_packed(bytes(packed))
            count = sum([rows.count for rows in charges.values()])
            self.most = max(self.most, count // 2)
            # Copied once: there may be very many.
            parts = [first_part, _header(count), _header(len(charges), 0x80, 0xDE)]
            for number, rows in charges.items():
                parts += (_encode(number), _header(rows.count), *rows.packed)
            keep = self._pieces.put if before else self._pieces.add
            keep(first_part, b"".join(parts))

    def __bool__(self) -> bool:
        return bool(self._parted) or super().__bool__()

    def __contains__(self, first_part: bytes) -> bool:
        return first_part in self._parted or super().__contains__(first_part)

    def piece(self, first_part: bytes) -> bytes | None:
        """Return the cells of a subscription in one piece, for `put`."""
        charges = self._parted.pop(first_part, None)
        if charges is not None:
            count = sum([_length(bytes(packed), 0) for packed in charges.values()])
            self._pieces.add(first_part, first_part + _header(count) + _encode(charges))
        return self._pieces.get(first_part)

    def put(self, first_part: bytes, piece: bytes) -> None:
        """Keep a piece in place of what there is."""
        self._parted.pop(first_part, None)
        self._pieces.put(first_part, piece)

    def drop(self, first_part: bytes) -> None:
        """Keep no more what a subscription has in one piece."""
        self._pieces.pop(first_part)

    def count(self, first_part: bytes) -> int:
        """Return how many cells there are, of which none is read."""
        piece = self.piece(first_part)
        if piece is None:
            return len(self._open.get(first_part, ())) // 3
        return _length(piece, len(first_part)) // 2

    def most_of_a_charge(self, first_part: bytes) -> int:
        """Return how many cells of one charge there are at most, of which none is read."""
        # The more an array has, the greater are the bytes that it begins with.
        longest = max(map(bytes, self._charges_of(first_part).values()), default=b"\x90")
        return _length(longest, 0) // 2

    def in_piece(self, first_part: bytes, piece: bytes) -> Iterator[Packed]:
        """Return the cells of a piece, each put together as it is taken."""
        for number, rows in _decode_cells(_after(first_part, piece)).items():
            start = first_part + self._charges[number]
            for rest, value in zip(rows[::2], rows[1::2], strict=True):
                yield start + rest, value

    def of_charges(self, first_part: bytes, charges: Iterable[bytes]) -> tuple[list[Packed], bool]:
        """Return the cells of charges, as keys have these, and whether there are others."""
        parted = self._parted.get(first_part)
        if parted is None:
            piece = self._pieces.pop(first_part)
            if piece is None:
                return [], False
            parted = self._parted[first_part] = _decode_charges(_after(first_part, piece))
        found, cells = 0, list[Packed]()
        for charge in charges:
            packed = parted.get(self._numbers.get(charge, -1))
            if packed is not None:
                found += 1
                rows = paired(_decode_rows(packed))
                cells += [(first_part + charge + rest, value) for rest, value in rows]
        return cells, found < len(parted)

    def take_out(self, first_part: bytes, charges: Iterable[bytes]) -> None:
        """Keep no more the cells of charges that `of_charges` told."""
        parted = self._parted.get(first_part, {})
        for charge in charges:
            parted.pop(self._numbers.get(charge, -1), None)
        if not parted:
            self._parted.pop(first_part, None)

    def few(self, first_part: bytes, most: int) -> list[CellHere] | None:
        """Return the cells of a subscription, which stay; None: none, or more than `most`."""
        piece = self.piece(first_part)
        if piece is None or _length(piece, len(first_part)) > 2 * most:
            return None
        told, found = self._told, list[CellHere]()
        for number, rows in _decode_cells(_after(first_part, piece)).items():
            for rest, value in zip(rows[::2], rows[1::2], strict=True):
                found.append((told.get((number, rest)) or self._tell(number, rest), value))
        return found

    def _tell(self, number: int, rest: bytes) -> PackedHere:
        """Return what the key of a cell says, of a charge by its number and of the rest."""
        charge_id = _decode_text(self._charges[number])
        begins_ms, layer_ms, *name = _decode_rest(_REST + rest)
        here = _new(PackedHere, ((charge_id, *name), begins_ms, layer_ms))
        return keep(self._told, (number, rest), here, _MOST_TOLD)

    def drain(self, first_part: bytes) -> list[Packed]:
        """Hand out the cells of a subscription, which are here no longer."""
        piece = self.piece(first_part)
        self._pieces.pop(first_part)
        return [] if piece is None else [*self.in_piece(first_part, piece)]

    def _charges_of(self, first_part: bytes) -> OfCharges:
        piece = self.piece(first_part)
        return {} if piece is None else _decode_charges(_after(first_part, piece))


def _after(first_part: bytes, piece: bytes) -> memoryview:
    """Return what a piece has after the first part and the number of cells."""
    at = len(first_part)
    return memoryview(piece)[at + _header_bytes(piece[at]) :]


OfCharges = dict[int, msgspec.Raw]
"""Rests of keys and values, in MessagePack, by the number of their charge."""

_decode_charges = msgspec.msgpack.Decoder(OfCharges).decode
_decode_cells = msgspec.msgpack.Decoder(dict[int, list[bytes]]).decode


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
