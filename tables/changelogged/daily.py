"""Daily: what the newest daily record of each cell said, and what each day added."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.numbers import EXACT, plain
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.checksum import Changelogged, Rows
from tables.changelogged.packed_rows import PackedRows
from tables.changelogged.published_store import PeriodKey


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


class DayUnits(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What one day added to the cells of a metric in one period."""

    day: str
    code: str
    plan_code: str
    currency: str
    recurring: bool
    units: str


class DailyTable(Changelogged):
    """Daily records of one partition, as far as the next ones and sums of them need it."""

    def __init__(self) -> None:
        super().__init__()
        self.newest_ms = -1
        """Newest cut at which anything was published."""
        self._periods: dict[PeriodKey, dict[str, DailyCell]] = {}
        """Cells by id, of periods at hand: changed since the last flush, or looked at lately."""
        self._packed = PackedRows()
        self._days: dict[str, dict[int, bytes]] = {}
        """Packed days by subscription and start of the period."""
        self._touched: dict[SubscriptionKey, tuple[int, ...]] = {}
        """Cuts that definitions or corrections of an external subscription wait for."""

    def __bool__(self) -> bool:
        return self.sum.records > 0

    def cells(self, name: PeriodKey) -> dict[str, DailyCell]:
        """Return the cells of a period that a daily record told of, by id."""
        cells = self._periods.get(name)
        if cells is None:
            cells = self._periods[name] = {
                _decode_text(rest): _decode_cell(value)
                for rest, value in self._packed.drain(_encode(name))
            }
        return cells

    def put(self, name: PeriodKey, identity: str, cell: DailyCell, added: DayUnits) -> None:
        """Remember a record that goes out with the next flush."""
        cells = self.cells(name)
        before = cells.get(identity)
        cells[identity] = cell
        key = _CELL + _encode(name) + _encode(identity)
        self._put(key, None if before is None else _encode(before), _encode(cell))
        self.newest_ms = max(self.newest_ms, cell.cut_ms)
        days = self._days.setdefault(name[0], {})
        packed = days.get(name[1])
        days[name[1]] = value = _encode(_with(added, packed))
        self._put(_DAYS + _encode(name), packed, value)

    def told_before(self, name: PeriodKey) -> Iterator[int]:
        """Yield the starts of earlier periods whose cells are kept yet, the earliest first."""
        for start_ms in sorted(self._days.get(name[0], ())):
            if start_ms >= name[1]:
                return
            earlier = name[0], start_ms
            if earlier in self._periods or _encode(earlier) in self._packed:
                yield start_ms

    def forgetting(self, name: PeriodKey) -> Steps[None]:
        """Drop the cells of a period of which no day has records any more; its days stay."""
        for identities in batches(list(self.cells(name)), STEP_ITEMS):
            # A flush may have packed them since the last step.
            cells = self.cells(name)
            for identity in identities:
                before = _encode(cells.pop(identity))
                self._put(_CELL + _encode(name) + _encode(identity), before, None)
            yield
        self._periods.pop(name, None)

    def days(self, subscription_id: str) -> Iterator[DayUnits]:
        """Yield what the days of a subscription added."""
        for packed in list(self._days.get(subscription_id, {}).values()):
            yield from _decode_days(packed)

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
        """Return what changed since the last call; with many periods at hand pack them."""
        changes = super().take_changes()
        if len(self._periods) > _AT_HAND:
            for name, cells in self._periods.items():
                for identity, cell in cells.items():
                    self._packed.add(_encode(name), _encode(identity), _encode(cell))
            self._periods.clear()
            self._packed.pack()
        return changes

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        self.sum = self.sum.replaced(key, None, value)
        kind, name = key[:1], key[1:]
        if kind == _CELL:
            # A cell's id has 36 characters, and two bytes before them.
            self._packed.add(name[:-_ID_BYTES], name[-_ID_BYTES:], value)
            self.newest_ms = max(self.newest_ms, _decode_cell(value).cut_ms)
        elif kind == _DAYS:
            subscription_id, start_ms = _decode_period(name)
            self._days.setdefault(subscription_id, {})[start_ms] = value
        else:
            self._touched[_decode_name(name)] = _decode_cuts(value)

    def loaded(self) -> None:
        """Pack what was taken over, now that it is all there."""
        self._packed.pack()


def _with(added: DayUnits, packed: bytes | None) -> list[DayUnits]:
    """Return the days of a period with what a record adds: one entry a day and metric."""
    days = [] if packed is None else _decode_days(packed)
    for number in range(len(days) - 1, -1, -1):
        known = days[number]
        if known.day != added.day:
            break
        if msgspec.structs.replace(known, units=added.units) == added:
            units = EXACT.add(Decimal(known.units), Decimal(added.units))
            days[number] = msgspec.structs.replace(known, units=plain(units))
            return days
    return [*days, added]


_AT_HAND = 200
"""Periods that are not packed at once."""
_CELL, _DAYS, _TOUCHED = b"c", b"d", b"t"
_ID_BYTES = 38

_encode = msgspec.msgpack.Encoder().encode
_decode_text = msgspec.msgpack.Decoder(str).decode
_decode_cell = msgspec.msgpack.Decoder(DailyCell).decode
_decode_days = msgspec.msgpack.Decoder(list[DayUnits]).decode
_decode_period = msgspec.msgpack.Decoder(PeriodKey).decode
_decode_name = msgspec.msgpack.Decoder(SubscriptionKey).decode
_decode_cuts = msgspec.msgpack.Decoder(tuple[int, ...]).decode
