"""Records of the log: where each lies, and those of settings and of history as a whole."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter

from app.definitions.indexes.index import Index
from app.definitions.input_limits import NO_LIMITS, NUMBERS, InputLimits
from app.definitions.model import HistoryRecord, SettingsRecord
from app.definitions.periods import NEVER_MS
from app.definitions.versions import Versions


@dataclass
class RecordIndex(Index):
    """Every command of the log that was looked at, refused ones too; no ticks."""

    times_ms: array[int] = field(default_factory=partial(array, "q"))
    offsets: array[int] = field(default_factory=partial(array, "I"))

    def commit(self, now_ms: int, offset: int) -> None:
        """Take the next one over."""
        self.times_ms.append(now_ms)
        try:
            self.offsets.append(offset)
        except OverflowError:
            # Few logs are so long: four bytes do for the others.
            self.offsets = array("q", self.offsets)
            self.offsets.append(offset)


_APPENDED_MS = attrgetter("append_time_ms")


@dataclass
class HistoryIndex(Index):
    """All history records, in the order of the log."""

    records: list[HistoryRecord] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    by_organization: MutableMapping[str, list[HistoryRecord]] = field(default_factory=dict)

    def commit(self, record: HistoryRecord) -> None:
        """Take the next one over."""
        self.records.append(record)
        self.times_ms.append(record.append_time_ms)
        self.by_organization.setdefault(record.organization_id, []).append(record)

    def of(self, organization_id: str, until_ms: int, after_ms: int) -> Sequence[HistoryRecord]:
        """Return those of an organization that were appended after a time and until another."""
        records = self.by_organization.get(organization_id)
        if records is None:
            return ()
        first = bisect_right(records, after_ms, key=_APPENDED_MS)
        return records[first : bisect_right(records, until_ms, key=_APPENDED_MS)]


class SettingsVersions(Versions[SettingsRecord]):
    """The settings records, each in force from its append time on."""

    __slots__ = ("_daily", "_grids", "_implicit", "_limits")

    def __init__(self) -> None:
        """Begin with none."""
        super().__init__()
        self._daily: tuple[int, tuple[tuple[int, int], ...]] = (0, ())
        """(versions looked at, when there are daily records under all of these)"""
        self._grids: tuple[int, tuple[tuple[int, int], ...]] = (0, ())
        """(versions looked at, grids of all of these)"""
        self._limits: tuple[int, InputLimits] = (0, NO_LIMITS)
        """(versions looked at, limits under all of these)"""
        self._implicit = 0, NEVER_MS
        """(versions looked at, when there first was an implicit plan under all of these)"""

    def input_limits(self, until_ms: int | None = None) -> InputLimits:
        """Return since when raw records keep to which limits.

        Under records appended until `until_ms` (None: all).
        """
        # Each route asks when it is made.
        known = len(self.changes)
        if self._limits[0] != known:
            self._limits = known, self._limits_of_all()
        limits = self._limits[1]
        if until_ms is None:
            return limits
        # They only rise: whatever held by then is what held first.
        return InputLimits(*(each if each <= until_ms else NEVER_MS for each in limits))

    def _limits_of_all(self) -> InputLimits:
        since_ms = list(NO_LIMITS)
        for at_ms, record in zip(self.changes, self.all(), strict=True):
            for place, number in enumerate(NUMBERS):
                if number <= record.input_limits:
                    since_ms[place] = min(since_ms[place], at_ms)
        return InputLimits(*since_ms)

    @property
    def implicit_since_ms(self) -> int:
        """Append time of the first record with an implicit plan; NEVER_MS: none has one."""
        # Whoever unpacks an external subscription asks.
        known = len(self.changes)
        if self._implicit[0] != known:
            moments = zip(self.changes, self.all(), strict=True)
            since_ms = (at_ms for at_ms, record in moments if record.implicit_plan)
            self._implicit = known, next(since_ms, NEVER_MS)
        return self._implicit[1]

    def daily_ms(self, until_ms: int | None = None) -> tuple[tuple[int, int], ...]:
        """Return from when until when there are daily records: pairs of append times.

        Under records appended until `until_ms` (None: all). The last pair may have no end yet.
        """
        if until_ms is not None:
            return self._daily_until(until_ms)
        # Each subscription asks, whenever its next cut is looked up.
        known = len(self.changes)
        if self._daily[0] != known:
            self._daily = known, self._daily_until(NEVER_MS)
        return self._daily[1]

    def grids_ms(self, until_ms: int | None = None) -> tuple[tuple[int, int], ...]:
        """Return (append time from which it holds, ms between two grid cuts) of each grid.

        Under records appended until `until_ms` (None: all).
        """
        # Each subscription asks, whenever its days are looked at.
        known = len(self.changes)
        if self._grids[0] != known:
            found: list[tuple[int, int]] = []
            for at_ms, record in zip(self.changes, self.all(), strict=True):
                grid_ms = record.close_grid_s * 1000
                if not found or found[-1][1] != grid_ms:
                    found.append((at_ms, grid_ms))
            self._grids = known, tuple(found)
        grids = self._grids[1]
        if until_ms is None or (grids and grids[-1][0] <= until_ms):
            return grids
        return tuple([each for each in grids if each[0] <= until_ms])

    def _daily_until(self, until_ms: int) -> tuple[tuple[int, int], ...]:
        found: list[tuple[int, int]] = []
        since_ms = -2
        for at_ms, record in zip(self.changes, self.all(), strict=True):
            if at_ms > until_ms:
                break
            if record.daily_records and since_ms == -2:
                since_ms = at_ms
            elif not record.daily_records and since_ms != -2:
                found.append((since_ms, at_ms))
                since_ms = -2
        return tuple(found) if since_ms == -2 else (*found, (since_ms, NEVER_MS))

    def commit(self, record: SettingsRecord, now_ms: int, offset: int) -> None:
        """Take the next one over."""
        if offset == 0:
            # The first in the log, so in force for what was appended before it as well.
            now_ms = -1
        elif not self:
            self.push(-1, -1, SettingsRecord())
        self.push(now_ms, offset, record)
