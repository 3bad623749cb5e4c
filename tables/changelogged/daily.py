"""Daily: what the newest daily record of each cell said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.checksum import Changelogged, Rows, taking_over
from tables.changelogged.packed_rows import PackedRows, integer_end, text_end
from tables.changelogged.piece_store import PeriodKey


class DailyCell(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the newest daily record of a cell says."""

    day: str
    """As YYYY-MM-DD, so that days compare as texts do."""
    cut_ms: int
    units: str
    total_aggregated_units: str
    events_count: int
    charge_id: str
    filter_id: str | None
    grouped_by: tuple[tuple[str, str | None], ...]


class DailyTable(Changelogged):
    """Daily records of one partition, as far as the next ones need them."""

    def __init__(self) -> None:
        super().__init__()
        self.newest_ms = -1
        """Newest cut at which anything was published."""
        self._at_hand: dict[str, dict[int, dict[str, DailyCell]]] = {}
        """Cells by subscription, start of the period and id: changed or looked at lately."""
        self._packed = PackedRows()
        """All others, by subscription."""
        self._of_older_programs: dict[bytes, bytes] = {}
        """Rows that were loaded and that nobody reads any more."""
        self._touched: dict[SubscriptionKey, tuple[int, ...]] = {}
        """Cuts that definitions or corrections of an external subscription wait for."""

    def __bool__(self) -> bool:
        return self.sum.records > 0

    def cells(self, name: PeriodKey) -> dict[str, DailyCell]:
        """Return the cells of a period that a daily record told of, by id."""
        return self._periods_of(name[0]).get(name[1], {})

    def _periods_of(self, subscription_id: str) -> dict[int, dict[str, DailyCell]]:
        periods = self._at_hand.get(subscription_id)
        if periods is None:
            periods = self._at_hand[subscription_id] = {}
            for rest, value in self._packed.drain(_first_part(subscription_id)):
                end = integer_end(rest, 0)
                cells = periods.setdefault(_decode_start(rest[:end]), {})
                cells[_decode_text(rest[end:])] = _decode_cell(value)
        return periods

    def put(self, name: PeriodKey, identity: str, cell: DailyCell) -> None:
        """Remember a record that goes out with the next flush."""
        cells = self._periods_of(name[0]).setdefault(name[1], {})
        before = cells.get(identity)
        cells[identity] = cell
        key = _CELL + _encode(name) + _encode(identity)
        self._put(key, None if before is None else _encode(before), _encode(cell))
        self.newest_ms = max(self.newest_ms, cell.cut_ms)

    def told_before(self, name: PeriodKey) -> list[int]:
        """Return the starts of earlier periods whose cells are kept yet, the earliest first."""
        return sorted(start_ms for start_ms in self._periods_of(name[0]) if start_ms < name[1])

    def forgetting(self, name: PeriodKey) -> Steps[None]:
        """Drop the cells of a period of which no day has records any more."""
        for identities in batches(list(self.cells(name)), STEP_ITEMS):
            # A flush may have packed them since the last step.
            cells = self.cells(name)
            for identity in identities:
                before = _encode(cells.pop(identity))
                self._put(_CELL + _encode(name) + _encode(identity), before, None)
            yield
        self._periods_of(name[0]).pop(name[1], None)

    # Whoever is looked at because of a definition or a correction

    def touch(self, name: SubscriptionKey, cut_ms: int) -> None:
        """Have an external subscription looked at when a day is over, after a restore, too."""
        cuts = self._touched.get(name, ())
        if cut_ms not in cuts:
            self._set_touched(name, tuple(sorted((*cuts, cut_ms))))

    def untouch(self, name: SubscriptionKey, done_ms: int) -> None:
        """Forget the days of an external subscription that were looked at."""
        cuts = self._touched.get(name)
        if cuts is not None and cuts[0] <= done_ms:
            self._set_touched(name, tuple(cut_ms for cut_ms in cuts if cut_ms > done_ms))

    def touched(self) -> Iterator[tuple[SubscriptionKey, int]]:
        """Yield external subscriptions with the cuts to look at them at."""
        for name, cuts in self._touched.items():
            for cut_ms in cuts:
                yield name, cut_ms

    def _set_touched(self, name: SubscriptionKey, cuts: tuple[int, ...]) -> None:
        before = self._touched.pop(name, None)
        if cuts:
            self._touched[name] = cuts
        self._put(
            _TOUCHED + _encode(name),
            None if before is None else _encode(before),
            _encode(cuts) if cuts else None,
        )

    def take_changes(self) -> Rows:
        """Return what changed since the last call; with many at hand pack them."""
        changes = super().take_changes()
        if len(self._at_hand) > _AT_HAND:
            for subscription_id, periods in self._at_hand.items():
                first_part = _first_part(subscription_id)
                for start_ms, cells in periods.items():
                    start = _encode(start_ms)
                    for identity, cell in cells.items():
                        self._packed.add(first_part, start + _encode(identity), _encode(cell))
            self._at_hand.clear()
            self._packed.pack()
        return changes

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        self.sum = self.sum.replaced(key, None, value)
        kind, name = key[:1], key[1:]
        if kind == _CELL:
            # (subscription, start of the period), the cell's id
            end = text_end(name, 1)
            self._packed.add(name[:end], name[end:], value)
            self.newest_ms = max(self.newest_ms, _decode_cell(value).cut_ms)
        elif kind == _TOUCHED:
            self._touched[_decode_name(name)] = _decode_cuts(value)
        else:
            self._of_older_programs[key] = value

    def load_all(self, changelog: Mapping[bytes, bytes]) -> Steps[None]:
        """Take over all of a changelog by steps, and pack it."""
        yield from taking_over(self.load, changelog)
        yield from self._packed.packing()

    def give_up_rows(self) -> list[bytes]:
        """Return the keys of rows that nobody reads any more; the caller deletes them."""
        for key, value in self._of_older_programs.items():
            self.sum = self.sum.replaced(key, value, None)
        keys = list(self._of_older_programs)
        self._of_older_programs.clear()
        return keys


def _first_part(subscription_id: str) -> bytes:
    return b"\x92" + _encode(subscription_id)


_AT_HAND = 200
"""Subscriptions that are not packed at once."""
_CELL, _TOUCHED = b"c", b"t"

_encode = msgspec.msgpack.Encoder().encode
_decode_text = msgspec.msgpack.Decoder(str).decode
_decode_cell = msgspec.msgpack.Decoder(DailyCell).decode
_decode_start = msgspec.msgpack.Decoder(int).decode
_decode_name = msgspec.msgpack.Decoder(SubscriptionKey).decode
_decode_cuts = msgspec.msgpack.Decoder(tuple[int, ...]).decode
