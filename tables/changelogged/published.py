"""Published: the newest revision of every cell and period that was written to usage-records."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from app.definitions.timeline import NEVER_MS
from tables.changelogged.checksum import Changelogged
from tables.changelogged.packed_periods import PackedPeriods, PeriodKey
from tables.changelogged.packed_rows import Packed, integer_end, text_end
from tables.spool import Spool

_OwnName = tuple[str, str | None, tuple[str | None, ...]]
_NewName = tuple[str, str | None, tuple[str | None, ...], tuple[str, ...]]

PublishedCellKey = _OwnName | _NewName
"""(charge id, filter id, group values): a cell within its subscription and period.

Where a history record made other group keys of it than there were, they follow.
"""


class PublishedCell(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The figures in the newest record of a cell."""

    revision: int
    units: str
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: int
    digest: bytes
    cut_ms: int
    billing_digest: bytes = b""
    """`app.wire.usage_records.BillingText.digest` of the record."""

    @property
    def shows_usage(self) -> bool:
        """Whether any figure is not 0: a cell may be published for its level alone."""
        figures = (self.units, self.prorated_units, self.total_aggregated_units)
        return self.events_count != 0 or any(figure not in (None, "0.0") for figure in figures)

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


class PublishedPeriod(msgspec.Struct):
    """Everything published of one period of one subscription."""

    revision: int = -1
    """Revision of the newest period.completed; -1 before the first."""
    cut_ms: int = -1
    """Time in ms of the newest published cut; -1 before the first."""
    cells: dict[PublishedCellKey, PublishedCell] = msgspec.field(default_factory=dict)

    def is_half_taken(self, cut_ms: int) -> bool:
        """Return True if some of its cells are published at that cut, but its completion is not."""
        return self.cut_ms < cut_ms and any(c.cut_ms == cut_ms for c in self.cells.values())

    @property
    def digest(self) -> int:
        """Sum of the newest digests, mod 2^128."""
        return sum(int.from_bytes(c.digest, "big") for c in self.cells.values()) % (1 << 128)


class PublishedTable(Changelogged):
    """Published periods of one partition: those at hand, and all others packed.

    `spool`: takes those that hardly change any more; None: memory does. `same`: returns an id that
    is equal, and kept by somebody else if there is any.
    """

    def __init__(
        self, spool: Spool | None = None, same: Callable[[str], str] = lambda identity: identity
    ) -> None:
        super().__init__()
        self._same = same
        self.periods: dict[PeriodKey, PublishedPeriod] = {}
        """Periods at hand: changed since they were packed, or looked at lately."""
        self._changed: set[PeriodKey] = set()
        """Those of them that have to be packed."""
        self._packed = PackedPeriods(spool or Spool())

    def find(self, name: PeriodKey) -> PublishedPeriod | None:
        """Return the period as published; None before its first cut."""
        period = self.periods.get(name)
        if period is None and (rows := self._packed.read(name)):
            period = self.periods[name] = PublishedPeriod()
            for rest, value in rows:
                cell = _cell_name(rest)
                if cell is None:
                    period.revision, period.cut_ms = _decode_completion(value)
                else:
                    period.cells[cell] = _decode_cell(value)
        return period

    def put_cell(self, name: PeriodKey, cell: PublishedCellKey, published: PublishedCell) -> None:
        """Remember a record that goes out with the next flush."""
        cells = self._made(name).cells
        before, cells[cell] = cells.get(cell), published
        self._put(
            msgspec.msgpack.encode((name, cell)),
            None if before is None else msgspec.msgpack.encode(before),
            msgspec.msgpack.encode(published),
        )

    def put_completion(self, name: PeriodKey, revision: int, cut_ms: int) -> None:
        """Remember a period.completed that goes out with the next flush."""
        period = self._made(name)
        before = (period.revision, period.cut_ms)
        period.revision, period.cut_ms = revision, cut_ms
        self._put(
            msgspec.msgpack.encode((name, None)),
            None if before[0] < 0 else msgspec.msgpack.encode(before),
            msgspec.msgpack.encode((revision, cut_ms)),
        )

    def _made(self, name: PeriodKey) -> PublishedPeriod:
        period = self.find(name)
        if period is None:
            period = self.periods[name] = PublishedPeriod()
        self._changed.add(name)
        return period

    def take_changes(self) -> list[tuple[bytes, bytes | None]]:
        """Return what changed since the last call; with many periods at hand pack them."""
        changes = super().take_changes()
        if len(self.periods) > _AT_HAND:
            self._pack()
        return changes

    def _pack(self) -> None:
        encode = msgspec.msgpack.encode
        for name in self._changed:
            period = self.periods[name]
            rows = [
                packed
                for cell, published in period.cells.items()
                for packed in (encode(cell), encode(published))
            ]
            if period.revision >= 0:
                rows += (encode(None), encode((period.revision, period.cut_ms)))
            self._packed.put(name, rows)
        self._changed.clear()
        self.periods.clear()
        self._packed.pack()

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        # (period, cell), the period an array of two itself
        end = integer_end(key, text_end(key, 2))
        subscription_id, start_ms = _decode_period(key[1:end])
        self._packed.add((self._same(subscription_id), start_ms), key[end:], value)
        self.sum = self.sum.replaced(key, None, value)

    def loaded(self) -> set[str]:
        """Pack what was taken over of some subscriptions, all that there is; return of which."""
        return self._packed.pack()

    def put_away(self, subscription_id: str, over_ms: int) -> int:
        """Put away what was published last at that cut or before it, and is packed.

        It is found as before, from local disk. Return how many periods went.
        """
        return self._packed.put_away(subscription_id, lambda rows: _published_ms(rows) <= over_ms)


_AT_HAND = 200
"""Periods that are not packed at once."""


def subscription_in(key: bytes) -> bytes:
    """Return whose a changelog record is, packed, by its key."""
    return key[2 : text_end(key, 2)]


def _published_ms(rows: Sequence[Packed]) -> int:
    """Return the newest cut of a period; NEVER_MS if its completion is to come."""
    found = (value for rest, value in rows if rest == _COMPLETION)
    return max((_decode_completion(value)[1] for value in found), default=NEVER_MS)


_COMPLETION = msgspec.msgpack.encode(None)
_decode_name = msgspec.msgpack.Decoder(_OwnName | None).decode
_decode_new_name = msgspec.msgpack.Decoder(_NewName).decode
_ARRAY_OF_FOUR = 0x94


def _cell_name(packed: bytes) -> PublishedCellKey | None:
    if packed[0] == _ARRAY_OF_FOUR:
        renamed: PublishedCellKey = _decode_new_name(packed)
        return renamed
    own: PublishedCellKey | None = _decode_name(packed)
    return own


_decode_cell = msgspec.msgpack.Decoder(PublishedCell).decode
_decode_period = msgspec.msgpack.Decoder(PeriodKey).decode
_decode_completion = msgspec.msgpack.Decoder(tuple[int, int]).decode
