"""A published period: the newest revision of each of its cells, and its piece on local disk.

A period of many cells stays packed: a revision reads those that it is about, and no others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from itertools import chain
from typing import Final

import msgspec

from app.wire.usage_records import CellText
from tables.changelogged.packed_rows import paired

FEW_CELLS: Final = 16
"""A period of more cells stays packed, and each is read when it is asked for."""

KEPT_ROWS_BYTES: Final = 256 * 1024
"""Bytes of rows by presentation keys of one cell at most, some 3,000 rows: cells of longer ones
stay instead. Two hundred periods are at hand at once."""

_OwnName = tuple[str, str | None, tuple[str | None, ...]]
_NewName = tuple[str, str | None, tuple[str | None, ...], tuple[str, ...]]

PublishedCellKey = _OwnName | _NewName
"""(charge id, filter id, group values): a cell within its subscription and period.

Where a history record made other group keys of it than there were, they follow.
"""


class PublishedCell(CellText, frozen=True, array_like=True, gc=False):
    """The newest record of a cell."""

    cut_ms: int
    billing_digest: bytes = b""
    """`app.wire.usage_records.BillingText.digest` of the record."""

    @property
    def shows_usage(self) -> bool:
        """Whether any figure is not 0: a cell may be published for its level alone."""
        figures = (self.units, self.prorated_units, self.total_aggregated_units)
        return self.events_count != 0 or any(figure not in (None, "0.0") for figure in figures)

    @property
    def shows_nothing(self) -> bool:
        """Whether no event counts in it."""
        return not (self.shows_usage or any(self.digest))

    def presented_by(self, rows: bytes) -> PublishedCell:
        """Return it with its rows by presentation keys, unless they are too long to keep."""
        if len(rows) > KEPT_ROWS_BYTES:
            return self
        return PresentedCell(**msgspec.structs.asdict(self), rows=rows)

    def same_figures(self, other: PublishedCell) -> bool:
        """Return True if a revision would say nothing new."""
        return self.same_but_billing(other) and self.billing_digest == other.billing_digest

    def same_but_billing(self, other: PublishedCell) -> bool:
        """Return True if the figures are the same, whatever is said beside them."""
        return (
            self.digest == other.digest
            and self.units == other.units
            and self.prorated_units == other.prorated_units
            and self.total_aggregated_units == other.total_aggregated_units
            and self.precise_total_amount_cents == other.precise_total_amount_cents
            and self.events_count == other.events_count
        )


class PresentedCell(PublishedCell, frozen=True, array_like=True, gc=False):
    """One that is final, with its rows by presentation keys, which no cell tells any more."""

    rows: bytes = b"null"
    """JSON, as in its record."""


class PackedPeriod(MutableMapping[PublishedCellKey, PublishedCell]):
    """Many cells of a period as they lie in its piece; one is unpacked when it is asked for."""

    __slots__ = ("_cells", "_rows")

    def __init__(self, rows: dict[bytes, bytes]):
        """Take packed cells by their packed names."""
        self._rows = rows
        self._cells: dict[PublishedCellKey, PublishedCell] = {}

    def __getitem__(self, name: PublishedCellKey) -> PublishedCell:
        cell = self._cells.get(name)
        if cell is None:
            cell = self._cells[name] = _cell_of(self._rows[_encode(name)])
        return cell

    def __setitem__(self, name: PublishedCellKey, cell: PublishedCell) -> None:
        self._cells[name] = cell
        self._rows[_encode(name)] = _encode(cell)

    def __delitem__(self, name: PublishedCellKey) -> None:
        del self._rows[_encode(name)]
        self._cells.pop(name, None)

    def __iter__(self) -> Iterator[PublishedCellKey]:
        return map(name_of_cell, list(self._rows))

    def __len__(self) -> int:
        return len(self._rows)

    def copy(self) -> PackedPeriod:
        """Return one with the same cells, none of which is read for that."""
        return PackedPeriod(self._rows.copy())

    def packed(self) -> Iterator[bytes]:
        """Yield the packed name of each cell, and the packed cell."""
        return chain.from_iterable(self._rows.items())


class Sums(msgspec.Struct, array_like=True):
    """What a period of many cells would have to read all of them for."""

    digest: bytes
    cut_ms: int
    """Newest cut of any cell."""
    charge_ids: list[str]


class PublishedPeriod(msgspec.Struct):
    """Everything published of one period of one subscription."""

    revision: int = -1
    """Revision of the newest period.completed; -1 before the first."""
    cut_ms: int = -1
    """Time in ms of the newest published cut; -1 before the first."""
    cells: MutableMapping[PublishedCellKey, PublishedCell] = msgspec.field(default_factory=dict)
    sums: Sums | None = None
    """Sums of packed cells; None: they are added up when asked for."""
    packed: dict[bytes, bytes] = {}
    """Cells that were put, as they lie in the piece: whoever puts them has packed them."""

    @property
    def is_unpacked(self) -> bool:
        """Whether its many cells are at hand, and not in a piece."""
        return self.sums is None and len(self.cells) > FEW_CELLS

    def put(self, name: PublishedCellKey, cell: PublishedCell) -> PublishedCell | None:
        """Take a cell as it is now; return what it was."""
        before, sums = self.cells.get(name), self.sums
        self.cells[name] = cell
        if sums is not None:
            lost = 0 if before is None else _number(before.digest)
            sums.digest = _packed_digest(_number(sums.digest) - lost + _number(cell.digest))
            sums.cut_ms = max(sums.cut_ms, cell.cut_ms)
            if name[0] not in sums.charge_ids:
                sums.charge_ids.append(name[0])
        return before

    def names(self) -> Iterator[PublishedCellKey]:
        """Return the names of the cells that it has now, each read at its turn."""
        # One that is packed tells them so of itself.
        return iter(self.cells if isinstance(self.cells, PackedPeriod) else list(self.cells))

    def as_before(self, cut_ms: int) -> PublishedPeriod:
        """Return a copy of it, as if that cut were still to be taken.

        One that is ahead belongs to a cut that is being taken right now.
        """
        sums, cells = self.sums, self.cells
        if sums is not None:
            # Its own change with what is put.
            sums = Sums(sums.digest, sums.cut_ms, sums.charge_ids.copy())
        newest_ms = self._newest_ms
        copied = cells.copy() if isinstance(cells, PackedPeriod) else dict(cells)
        return PublishedPeriod(self.revision, newest_ms if newest_ms > cut_ms else -1, copied, sums)

    def is_ahead(self, cut_ms: int) -> bool:
        """Return True if anything of it was published at a later cut."""
        return self._newest_ms > cut_ms

    @property
    def _newest_ms(self) -> int:
        """The newest cut of a cell, or of its completion."""
        if self.sums is not None:
            return max(self.cut_ms, self.sums.cut_ms)
        return max([self.cut_ms, *(cell.cut_ms for cell in self.cells.values())])

    def is_half_taken(self, cut_ms: int) -> bool:
        """Return True if some of its cells are published at that cut, but its completion is not."""
        if self.cut_ms >= cut_ms:
            return False
        if self.sums is not None and self.sums.cut_ms <= cut_ms:
            return self.sums.cut_ms == cut_ms
        return any(cell.cut_ms == cut_ms for cell in self.cells.values())

    def charge_ids(self) -> Iterable[str]:
        """Return the charges that its cells are of."""
        return {name[0] for name in self.cells} if self.sums is None else self.sums.charge_ids

    @property
    def digest(self) -> int:
        """Sum of the newest digests, mod 2^128."""
        if self.sums is not None:
            return _number(self.sums.digest)
        if not self.cells:
            return 0
        number = int.from_bytes
        return sum([number(cell.digest, "big") for cell in self.cells.values()]) % (1 << 128)

    def summed(self) -> Sums:
        """Return its sums; they are read from the cells unless they came with them."""
        if self.sums is not None:
            return self.sums
        cells = self.cells.values()
        newest_ms = max((cell.cut_ms for cell in cells), default=-1)
        return Sums(_packed_digest(self.digest), newest_ms, sorted(self.charge_ids()))

    def piece(self) -> bytes:
        """Return it in one piece; `period_of` reads that."""
        cells, packed = self.cells, self.packed
        rows: list[bytes] = []
        if len(cells) > FEW_CELLS:
            rows += (SUMS, _encode(self.summed()))
        if len(packed) == len(cells):
            # Most have no cells at all.
            rows += chain.from_iterable(packed.items()) if packed else ()
        elif isinstance(cells, dict):
            rows += map(_encode, chain.from_iterable(cells.items()))
        elif isinstance(cells, PackedPeriod):
            rows += cells.packed()
        if self.revision >= 0:
            rows += (COMPLETION, _encode((self.revision, self.cut_ms)))
        return _encode(rows)


def period_of(piece: bytes) -> PublishedPeriod:
    """Return the period that a piece has."""
    rows = rows_of(piece)
    sums, completion = rows.pop(SUMS, None), rows.pop(COMPLETION, None)
    told = (-1, -1) if completion is None else decode_completion(completion)
    if len(rows) <= FEW_CELLS:
        cells = {name_of_cell(name): _cell_of(cell) for name, cell in rows.items()}
        return PublishedPeriod(*told, cells)
    period = PublishedPeriod(*told, PackedPeriod(rows))
    period.sums = period.summed() if sums is None else _decode_sums(sums)
    return period


def rows_of(piece: bytes) -> dict[bytes, bytes]:
    """Return the rows of a piece by name: those of cells, `COMPLETION` and `SUMS`."""
    return dict(paired(_decode_rows(piece)))


def counts_in(piece: bytes) -> tuple[int, int]:
    """Return how many cells a piece has, and how many completions: one, or none."""
    rows = rows_of(piece)
    completions = int(COMPLETION in rows)
    return len(rows) - completions - (SUMS in rows), completions


def name_of_cell(packed: bytes) -> PublishedCellKey:
    """Return the name of a cell from its packed name."""
    if packed[0] == _ARRAY_OF_FOUR:
        renamed: PublishedCellKey = _decode_new_name(packed)
        return renamed
    own: PublishedCellKey = _decode_name(packed)
    return own


def _cell_of(packed: bytes) -> PublishedCell:
    return (_decode_presented if has_rows(packed) else _decode_cell)(packed)


def summed_row(packed: bytes | None) -> bytes | None:
    """Return what of a row counts in the sum of the changelog: rows of a cell follow from it.

    So what is read again of usage-records has the same sum, whatever was final.
    """
    return packed if packed is None or not has_rows(packed) else _encode(_decode_cell(packed))


def has_rows(packed: bytes) -> bool:
    """Return whether a row of a cell keeps those that it is presented by."""
    return packed[0] == _ARRAY_OF_TEN


def cut_of_row(name: bytes, value: bytes) -> int:
    """Return the cut that a row of a cell or a completion is of, in ms."""
    return decode_completion(value)[1] if name == COMPLETION else _decode_cell(value).cut_ms


def _number(digest: bytes) -> int:
    return int.from_bytes(digest, "big")


def _packed_digest(number: int) -> bytes:
    return (number % (1 << 128)).to_bytes(16, "big")


_encode = msgspec.msgpack.encode
COMPLETION: Final = _encode(None)
"""Name of the row of the newest period.completed."""
SUMS: Final = b""
"""Name of the row of sums, which no changelog has."""
_ARRAY_OF_FOUR: Final = 0x94
_ARRAY_OF_TEN: Final = 0x9A
_decode_rows = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_name = msgspec.msgpack.Decoder(_OwnName).decode
_decode_new_name = msgspec.msgpack.Decoder(_NewName).decode
_decode_cell = msgspec.msgpack.Decoder(PublishedCell).decode
_decode_presented = msgspec.msgpack.Decoder(PresentedCell).decode
_decode_sums = msgspec.msgpack.Decoder(Sums).decode
decode_completion = msgspec.msgpack.Decoder(tuple[int, int]).decode
