"""Added days: what each day added to the metrics of a subscription, as daily records say it.

They are a cache of usage-daily on local disk, for analytics. A piece has a month of a subscription.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.numbers import EXACT, plain
from app.wire.daily_records import Addition
from tables.changelogged.checkpoint import OutputMark
from tables.changelogged.piece_store import PeriodKey, PieceStore


class AddedMetric(NamedTuple):
    """What days added to: a metric, as plan and record named it."""

    code: str
    plan_code: str
    currency: str
    recurring: bool


class AddedUnits(NamedTuple):
    """What one day added to a metric."""

    day: date
    metric: AddedMetric
    units: Decimal


_Month = dict[AddedMetric, dict[int, str]]
"""Units by metric and day of the month, as printed."""


class AddedDays:
    """The days of one partition, with all records up to `newest`."""

    def __init__(self, store: PieceStore[OutputMark]):
        self._store = store
        self._reach: tuple[int, int] | None = None
        """Between which times there are months; None: not looked up since anything was taken."""

    @property
    def newest(self) -> OutputMark | None:
        """The newest record that is here; None: nothing is."""
        return self._store.stands

    def taking(self, additions: Sequence[Addition], newest: OutputMark) -> Steps[None]:
        """Add what records say, `newest` the last of them: all of it is kept, or nothing.

        Whoever does not come to the end closes what is open.

        Raises:
            OSError: local disk does not take it, or has lost what it had.
        """
        self._reach = None
        changed: dict[PeriodKey, _Month] = {}
        for count, addition in enumerate(additions, 1):
            day, metric = addition.day, addition.billable_metric
            name = addition.lago_subscription_id, _month_ms(day)
            month = changed.get(name)
            if month is None:
                month = changed[name] = self._month(name)
            plan_code, currency = addition.plan_code, addition.amount_currency
            labels = AddedMetric(metric.code, plan_code, currency, metric.recurring)
            days = month.setdefault(labels, {})
            before = days.get(day.day)
            units = addition.delta_units
            days[day.day] = plain(units if before is None else EXACT.add(Decimal(before), units))
            if count % STEP_ITEMS == 0:
                yield
        # Of records that cannot be read it is kept that they were.
        for some in ([], *batches(list(changed.items()), STEP_ITEMS)):
            if not self._store.write((name, _encode([*month.items()])) for name, month in some):
                raise OSError(f"local disk takes no daily records: {self._store.disk_error}")
            yield
        if not self._store.commit(newest):
            raise OSError(f"local disk keeps no daily records: {self._store.disk_error}")
        yield

    def of(self, subscription_id: str, first: date, last: date) -> Iterator[AddedUnits]:
        """Yield what days added to a subscription, from the first one to the last.

        Raises:
            PiecesLost: local disk does not give what it has; it is read anew from the topic.
        """
        # Whoever asks for one subscription asks for many.
        self._reach = reach = self._reach or self._store.reach()
        if reach is None:
            return
        from_ms, until_ms = max(reach[0], _month_ms(first)), min(reach[1], _month_ms(last))
        begins = datetime.fromtimestamp(from_ms / 1_000, UTC).date()
        while (start_ms := _month_ms(begins)) <= until_ms:
            for metric, days in self._month((subscription_id, start_ms)).items():
                for number, units in days.items():
                    day = begins.replace(day=number)
                    if first <= day <= last:
                        yield AddedUnits(day, metric, Decimal(units))
            begins = _next_month(begins)

    def discard(self) -> None:
        """Begin anew, without anything."""
        self._reach = None
        self._store.discard()

    def close(self) -> None:
        """Let go of local disk."""
        self._store.close()

    def _month(self, name: PeriodKey) -> _Month:
        piece = self._store.find(name)
        return {} if piece is None else dict(_decode(piece))


def _month_ms(day: date) -> int:
    """Return when the month of a day begins, in ms, as in UTC."""
    return int(datetime(day.year, day.month, 1, tzinfo=UTC).timestamp()) * 1_000


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(list[tuple[AddedMetric, dict[int, str]]]).decode
