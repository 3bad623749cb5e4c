"""Series: usage of one metric by minute, hour, day or month on the wall of any timezone. Pure.

Every window is folded as if it were a period, by the same fold and the same aggregations, but
unprorated and unpublished. Of a recurring metric a window shows the level or balance at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from operator import attrgetter
from typing import NamedTuple

import msgspec

from app.billing_periods.day_count import DAY_MS
from app.billing_periods.timezones import (
    local_date,
    local_datetime,
    local_midnight_ms,
    utc_offset_ms,
)
from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.model import Charge, Metric
from app.definitions.periods import NEVER_MS, Period
from app.definitions.timeline import FixedPeriods
from app.meter.evidence import WindowName
from app.numbers import EXACT, ZERO
from app.wire.arrivals import Arrival, MeterKey
from tables.aggregation import Groups, State
from tables.cells.cell import Span
from tables.cells.figures import CellFigures, figures_of, window_of
from tables.cells.group_limit import ANY_NUMBER
from tables.cells.keys import OPEN_CUT_MS, SpanKey
from tables.changelogged.members import Members
from tables.charge import ChargeFold
from tables.fold import Folded, apply_members, fold_run
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.partition import Partition
from tables.routing.group_admission import impose_live, is_admitted
from tables.routing.route import Route

_MINUTE_MS = 60_000
_HOUR_MS = 3_600_000


class TooManyWindows(ValueError):
    """The range has more windows than may be asked for at once."""


class SeriesWindow(NamedTuple):
    """Half-open [start_ms, end_ms)."""

    start_ms: int
    end_ms: int


def windows(
    name: WindowName, timezone: str, from_ms: int, until_ms: int, most: int
) -> list[SeriesWindow]:
    """Return the windows that cover [from_ms, until_ms), the first and the last in full.

    Raises:
        TooManyWindows: there are more than `most`.
    """
    found: list[SeriesWindow] = []
    start_ms = _start(name, timezone, from_ms)
    while start_ms < until_ms:
        if len(found) == most:
            raise TooManyWindows(f"more than {most} windows")
        end_ms = _next(name, timezone, start_ms)
        found.append(SeriesWindow(start_ms, end_ms))
        start_ms = end_ms
    return found


def _start(name: WindowName, timezone: str, at_ms: int) -> int:
    """Return the start (ms) of the window that holds an instant."""
    if name == "minute":
        return _minute(at_ms, timezone)
    if name == "hour":
        hour, start_ms = _hour(at_ms, timezone), _minute(at_ms, timezone)
        # An hour that the clock cuts short begins where its name begins.
        while _hour(start_ms - _MINUTE_MS, timezone) == hour:
            start_ms -= _MINUTE_MS
        return start_ms
    day = local_date(at_ms, timezone)
    return local_midnight_ms(day if name == "day" else day.replace(day=1), timezone)


def _next(name: WindowName, timezone: str, start_ms: int) -> int:
    if name == "minute":
        return start_ms + _MINUTE_MS
    if name == "hour":
        return _next_hour(start_ms, timezone)
    day = local_date(start_ms, timezone)
    following = day + timedelta(days=1) if name == "day" else _next_month(day)
    end_ms = local_midnight_ms(following, timezone)
    while end_ms <= start_ms:  # a day that the calendar of the place leaves out
        following += timedelta(days=1)
        end_ms = local_midnight_ms(following, timezone)
    return end_ms


def _next_hour(start_ms: int, timezone: str) -> int:
    end_ms, offset_ms = start_ms + _HOUR_MS, utc_offset_ms(start_ms, timezone)
    begins_whole = (start_ms + offset_ms) % _HOUR_MS == 0
    if begins_whole and utc_offset_ms(end_ms, timezone) == offset_ms:
        return end_ms
    hour, end_ms = _hour(start_ms, timezone), start_ms + _MINUTE_MS
    while _hour(end_ms, timezone) == hour:
        end_ms += _MINUTE_MS
    return end_ms


def _hour(at_ms: int, timezone: str) -> tuple[date, int, int]:
    """Name an hour on the wall; `fold` tells the two of a repeated one apart."""
    local = local_datetime(at_ms, timezone)
    return local.date(), local.hour, local.fold


def _minute(at_ms: int, timezone: str) -> int:
    return at_ms - (at_ms + utc_offset_ms(at_ms, timezone)) % _MINUTE_MS


def _next_month(day: date) -> date:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


class SeriesValue(NamedTuple):
    """Usage of one charge in one window."""

    window: SeriesWindow
    units: Decimal
    total_aggregated_units: Decimal
    events_count: int


class ChargeSeries(NamedTuple):
    """One charge, as in force at the end of the range, with a value for every window."""

    charge: Charge
    metric: Metric
    values: list[SeriesValue]


class Series:
    """Usage of one meter key by window, from the events it is fed in any order."""

    def __init__(
        self,
        partition: Partition,
        meter_key: MeterKey,
        wanted: Sequence[SeriesWindow],
        timezone: str,
    ):
        self._route = partition.routes.compile(meter_key).priced()
        impose_live(partition.views.route_of(meter_key), self._route)
        self._windows = list(wanted)
        self._periods = [_as_period(window, timezone) for window in self._windows]
        self._timeline = FixedPeriods(self._periods)
        self._members = Members(capacity=None)
        self._parts = [
            (span, self._part(meter_key, span, number))
            for number, span in enumerate(self._route.spans)
        ]

    @property
    def dated_from_ms(self) -> int:
        """Since when events are dated that some window shows."""
        recurring = any(span.fold.metric.recurring for span in self._route.spans)
        return FROM_THE_FIRST if recurring else self._windows[0].start_ms

    def _part(self, meter_key: MeterKey, span: Span, number: int) -> Route:
        """Make the span's charge fold by window instead of by period."""
        key = SpanKey(*span.key[:2], start_ms=self._windows[0].start_ms)
        by_window = Span(span.name, key, _unprorated(span.fold), self._timeline, NEVER_MS)
        # A charge may have several spans; their members must not meet.
        by_window.generation = number
        return Route(*meter_key, self._route.timelines, (by_window,))

    def feed(self, counted: Arrival) -> None:
        """Fold one arrival that is taken."""
        timestamp_ms = counted.timestamp_ms
        if timestamp_ms >= self._windows[-1].end_ms:
            return
        folded = Folded()
        for span, part in self._parts:
            layer = span.layer_at(timestamp_ms)
            if layer is not None and is_admitted(layer, counted):
                fold_run(part, (counted,), -1, self._members, folded)
        apply_members(folded.unique, self._members, -1, folded)

    def values(self) -> Steps[list[ChargeSeries]]:
        """Return one series a charge, in order of first use."""
        charges: dict[str, list[tuple[Span, Span]]] = {}
        for span, part in self._parts:
            charges.setdefault(span.key.charge_id, []).append((span, part.spans[0]))
        found: list[ChargeSeries] = []
        for spans in charges.values():
            fold = spans[-1][0].fold
            values = yield from self._values(spans)
            found.append(ChargeSeries(fold.charge, fold.metric, values))
            # There may be hundreds, of a few windows each.
            yield
        return found

    def _values(self, spans: list[tuple[Span, Span]]) -> Steps[list[SeriesValue]]:
        """Return the value of one charge in every window."""
        values: list[SeriesValue] = []
        add, looked_at = EXACT.add, 0
        shown = [(span, _figures_shown(by_window)) for span, by_window in spans]
        for window, period in zip(self._windows, self._periods, strict=True):
            units, total_units, events_count = ZERO, ZERO, 0
            for span, in_window in shown:
                for figures in in_window(period) if _shows(span, window) else _NOTHING:
                    if figures is not None:
                        units = add(units, figures.units)
                        total_units = add(total_units, figures.total_aggregated_units)
                        events_count += figures.events_count
                    looked_at += 1
                    if looked_at % STEP_ITEMS == 0:
                        yield
            values.append(SeriesValue(window, units, total_units, events_count))
        return values


_Shown = Iterator[CellFigures | None]
"""Figures of cells, one after the other; None: there was something else to do."""

_NOTHING = (None,)


def _figures_shown(by_window: Span) -> Callable[[Period], _Shown]:
    """Return what yields the figures of a span in one window after the other."""
    if by_window.fold.metric.recurring:
        return _Balance(by_window).figures
    return partial(_figures_alone, by_window)


def _figures_alone(by_window: Span, period: Period) -> _Shown:
    yield None
    for filter_id, groups in by_window.cells_of(period):
        yield by_window.figures(period, filter_id, groups)


class _Balance:
    """What a recurring span holds before one window after the other."""

    def __init__(self, by_window: Span):
        self._span = by_window
        self._before: dict[tuple[str | None, Groups], State] = {}
        layers = by_window.layers
        self._left = sorted(layers.values(), key=attrgetter("start_ms"), reverse=True)
        """Layers that are not carried yet, the earliest last."""

    def figures(self, period: Period) -> _Shown:
        """Yield the figures of a window that is later than those before."""
        yield from self._carry(period.start_ms)
        fold = self._span.fold
        layer = self._span.layers.get(period.start_ms)
        cells = {} if layer is None else layer.cells
        for name in cells:
            if name not in self._before:
                self._before[name] = fold.aggregation.initialize()
            yield None
        window = window_of(period)
        for name, before in self._before.items():
            state = fold.aggregation.initialize()
            cell = cells.get(name)
            if cell is not None:
                cell.merge_into(state, OPEN_CUT_MS, fold.aggregation)
            yield figures_of(fold, state, before, window)

    def _carry(self, start_ms: int) -> Iterator[None]:
        """Add what is earlier than a window, each layer once."""
        yield None
        aggregation, left = self._span.fold.aggregation, self._left
        while left and left[-1].start_ms < start_ms:
            for name, cell in left.pop().cells.items():
                if (before := self._before.get(name)) is None:
                    before = self._before[name] = aggregation.initialize()
                cell.merge_into(before, OPEN_CUT_MS, aggregation)
                yield None


def _shows(span: Span, window: SeriesWindow) -> bool:
    """Return whether a span has figures for a window; levels are those of the span at its end."""
    if not span.fold.metric.recurring:
        return span.key.start_ms < window.end_ms and window.start_ms < span.end_ms
    last_ms = window.end_ms - 1
    return span.key.start_ms <= last_ms < span.end_ms


def _unprorated(fold: ChargeFold) -> ChargeFold:
    if not fold.charge.prorated:
        return fold
    whole = msgspec.structs.replace(fold.charge, prorated=False)
    return ChargeFold(whole, fold.metric, "UTC", fold.limits)


def _as_period(window: SeriesWindow, timezone: str) -> Period:
    return Period(
        start_ms=window.start_ms,
        end_ms=window.end_ms,
        to_ms=window.end_ms - 1000,
        last_ms=window.end_ms - 1,
        # The denominator of averages: a window is averaged over itself, however short.
        duration_days=Fraction(window.end_ms - window.start_ms, DAY_MS),  # type: ignore[arg-type]
        timezone=timezone,
        fixed_at_ms=NEVER_MS,
        due_at_ms=NEVER_MS,
        late_until_ms=NEVER_MS,
        closing_reason="period_end",
        upgraded=False,
        # The limit holds for periods, not for windows.
        max_groups=ANY_NUMBER,
    )
