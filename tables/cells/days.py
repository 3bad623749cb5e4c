"""Days: local days of usage periods, and the grid cut at which each is over.

A day on the wall of a period's timezone is half-open [start, end). Its cut is the first multiple of
close_grid_s at or after its end.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

from app.billing_periods.timezones import local_date, local_midnight_ms
from app.definitions.periods import NEVER_MS, Period
from app.definitions.timeline import Timeline
from tables.cells.grids import Grids, grid_cut

_A_DAY = timedelta(days=1)
_LONGEST_MS = 60 * 3_600_000
"""No local day is longer: a clock may be set back by a whole day."""


class LocalDay(NamedTuple):
    """One day of a timezone, half-open [start_ms, end_ms)."""

    date: date
    start_ms: int
    end_ms: int


@lru_cache(4_096)
def _day_of(day: date, timezone: str) -> LocalDay:
    start_ms, following = local_midnight_ms(day, timezone), day + _A_DAY
    end_ms = local_midnight_ms(following, timezone)
    while end_ms <= start_ms:
        # A day that the calendar of the place leaves out.
        following += _A_DAY
        end_ms = local_midnight_ms(following, timezone)
    return LocalDay(day, start_ms, end_ms)


def day_holding(at_ms: int, timezone: str) -> LocalDay:
    """Return the local day of an instant."""
    day = _day_of(local_date(at_ms, timezone), timezone)
    # A clock set back over midnight shows the old date again inside the new day.
    return day_after(day, timezone) if day.end_ms <= at_ms else day


def day_after(day: LocalDay, timezone: str) -> LocalDay:
    """Return the local day that begins where another one ends."""
    return _day_of(local_date(day.end_ms, timezone), timezone)


class Days:
    """The days of the periods of one timeline."""

    __slots__ = ("_cut_ms", "_end_ms", "_from_ms", "_grids", "_timeline", "_until_ms")

    def __init__(self, timeline: Timeline, grids: Grids):
        self._timeline = timeline
        self._grids = grids
        # What the last event came to. It holds for the next one appended in [from, until] that is
        # dated before the end of its day.
        self._from_ms, self._until_ms, self._end_ms, self._cut_ms = 0, -1, 0, 0

    def cut_of(self, timestamp_ms: int, append_time_ms: int) -> int:
        """Return the cut of the first day that shows an event.

        It is over at or after the append time, and ends after the event.
        """
        if self._from_ms <= append_time_ms <= self._until_ms and timestamp_ms < self._end_ms:
            return self._cut_ms
        timeline = self._timeline
        own = timeline.holding(timestamp_ms) or next(iter(timeline), None)
        if own is None:
            return 0
        latest_ms = max(append_time_ms - max(each_ms for _, each_ms in self._grids), own.start_ms)
        later = [timeline.holding(at_ms) for at_ms in (latest_ms, append_time_ms)]
        # A period that is over shows no day any more.
        shown = [each for each in later if each is not None and each.start_ms >= own.start_ms]
        running = shown[-1] if shown else own
        zones = {each.timezone for each in (*shown, running)}
        cut_ms, end_ms = min(self._first(zone, timestamp_ms, append_time_ms) for zone in zones)
        if len({period.timezone for period in later if period is not None} | {own.timezone}) == 1:
            first = self._first(own.timezone, -1, append_time_ms)
            if first == (cut_ms, end_ms) and append_time_ms < running.end_ms:
                self._from_ms, self._until_ms = append_time_ms, min(cut_ms, running.end_ms - 1)
                self._end_ms, self._cut_ms = min(end_ms, running.end_ms), cut_ms
        return cut_ms

    def same_for(self, timestamp_ms: int, append_time_ms: int) -> tuple[int, int]:
        """Return which events have the same cut as one: (dated before a time, appended until one).

        Of those that are appended at its time or later. (0, -1): nothing is known of others.
        """
        cut_ms = self.cut_of(timestamp_ms, append_time_ms)
        known = self._from_ms <= append_time_ms <= self._until_ms and timestamp_ms < self._end_ms
        return (self._end_ms, self._until_ms) if known and cut_ms == self._cut_ms else (0, -1)

    def _first(self, timezone: str, timestamp_ms: int, append_time_ms: int) -> tuple[int, int]:
        longest_ms = max(each_ms for _, each_ms in self._grids)
        day = day_holding(max(timestamp_ms, append_time_ms - longest_ms, 0), timezone)
        while (cut_ms := grid_cut(day.end_ms, self._grids)) < append_time_ms:
            day = day_after(day, timezone)
        return cut_ms, day.end_ms

    def cuts_after(self, at_ms: int) -> set[int]:
        """Return the first cuts at or after an instant of the periods that run around it.

        The last day of a period goes on after its end, and what comes then shows in it.
        """
        around = list(self._timeline.within(at_ms - shown_within_ms(self._grids), at_ms))
        around += [p for p in (next(self._timeline.after(at_ms), None),) if p is not None]
        zones = {period.timezone for period in around}
        return {self._first(timezone, -1, at_ms)[0] for timezone in zones}

    def first_of(self, period: Period) -> int:
        """Return the cut of the first day of a period."""
        return grid_cut(day_holding(period.start_ms, period.timezone).end_ms, self._grids)

    def next_first(self, done_ms: int) -> int:
        """Return the first cut to come of the first day of a period; NEVER_MS: no period begins."""
        for period in self._timeline.within(done_ms - shown_within_ms(self._grids), done_ms):
            if (cut_ms := self.first_of(period)) > done_ms:
                return cut_ms
        following = next(self._timeline.after(done_ms), None)
        return NEVER_MS if following is None else self.first_of(following)

    def ended_at(self, cut_ms: int) -> Iterator[tuple[Period, LocalDay]]:
        """Yield the periods with a day that is over at a cut, each with the last such day."""
        first_ms = cut_ms - shown_within_ms(self._grids)
        for period in self._timeline.within(first_ms, cut_ms):
            day = day_holding(max(period.start_ms, first_ms), period.timezone)
            last: LocalDay | None = None
            while day.start_ms < period.end_ms and day.end_ms <= cut_ms:
                if grid_cut(day.end_ms, self._grids) == cut_ms:
                    last = day
                day = day_after(day, period.timezone)
            if last is not None:
                yield period, last


def shown_until_ms(period: Period, grids: Grids) -> int:
    """Return the last cut that may show a day of a period."""
    return period.end_ms + shown_within_ms(grids)


def shown_within_ms(grids: Grids) -> int:
    """Return for how long a day may be over when a cut shows it first."""
    return _LONGEST_MS + max(each_ms for _, each_ms in grids)


@lru_cache(1_024)
def cuts_after(timeline: Timeline, grids: Grids, at_ms: int) -> frozenset[int]:
    """Return what `Days.cuts_after` does, of a timeline that many share."""
    return frozenset(Days(timeline, grids).cuts_after(at_ms))


def next_first_day(timeline: Timeline, grids: Grids, done_ms: int) -> int:
    """Return the first cut to come of the first day of a period, as of the cut; NEVER_MS: none."""
    terms = timeline.terms
    for number, each in enumerate(terms):
        if number and each.since_ms > done_ms:
            # Until then the periods were as earlier terms have them.
            before = Days(timeline.under(terms[:number]), grids)
            cut_ms = before.next_first(max(done_ms, terms[number - 1].since_ms - 1))
            if cut_ms < each.since_ms:
                return cut_ms
    return Days(timeline, grids).next_first(max(done_ms, terms[-1].since_ms - 1 if terms else -1))
