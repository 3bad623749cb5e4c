"""Everywhere: the offline fold once more, and everybody is looked at whenever anything is decided.

A worker and the offline fold look at those alone who wait for a cut, by the same code. Whom both
pass over alike no comparison of the two finds. Here everybody waits for the grid cut and the
revision cuts after each record of the logs, and for the end of each day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from app.definitions.files import DefinitionLine
from app.definitions.periods import NEVER_MS
from app.offline.fold import EventLine, OfflineMeter
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord
from tables.cells.days import day_after, day_holding
from tables.cells.grids import grid_cut

_TIMEZONE = re.compile(rb'"timezone":"([^"]+)"')


class MeterEverywhere(OfflineMeter):
    """An offline fold that looks at everybody; it takes many cuts that publish nothing."""

    def __init__(self, timezones: Iterable[str]) -> None:
        super().__init__()
        self._timezones = sorted({"UTC", *timezones})
        self._grid_ms: set[int] = set()
        self._revisions_ms: set[int] = set()
        self._began_ms = NEVER_MS
        self._expected: tuple[int, int, list[SubscriptionKey]] = (-1, -1, [])

    def _define(self, line: DefinitionLine, append_time_ms: int) -> None:
        super()._define(line, append_time_ms)
        self._note(append_time_ms)

    def _take(self, line: EventLine, append_time_ms: int) -> None:
        super()._take(line, append_time_ms)
        self._note(append_time_ms)

    def _note(self, append_time_ms: int) -> None:
        cuts = self.partition.cuts
        self._began_ms = min(self._began_ms, append_time_ms)
        self._grid_ms.add(cuts.grid_cut_of(append_time_ms))
        self._revisions_ms |= cuts.revisions_after(append_time_ms)

    def _next_cut(self) -> int:
        cuts, done_ms = self.partition.cuts, self.partition.checkpoint.cut_ms
        self._grid_ms = {cut_ms for cut_ms in self._grid_ms if cut_ms > done_ms}
        self._revisions_ms = {cut_ms for cut_ms in self._revisions_ms if cut_ms > done_ms}
        by_day = self.definitions.settings.daily_ms() and self._began_ms < NEVER_MS
        days_ms = self._days(done_ms) if by_day else ()
        names = sorted(self.definitions.all_subscription_keys())
        grid_ms = min([*self._grid_ms, *days_ms], default=NEVER_MS)
        revision_ms = min(self._revisions_ms, default=NEVER_MS)
        expected = grid_ms, revision_ms, names
        if self._expected != expected:
            self._expected = expected
            for name in names:
                if grid_ms < NEVER_MS:
                    cuts.grid.add(name, grid_ms)
                if revision_ms < NEVER_MS:
                    cuts.expect(name, revision_ms)
            self._reschedule(names)
        return super()._next_cut()

    def _days(self, done_ms: int) -> Iterator[int]:
        """Yield the next cut at which a day is over, of each timezone."""
        grids = self.definitions.close_grids_ms()
        for timezone in self._timezones:
            day = day_holding(max(done_ms, self._began_ms), timezone)
            while (cut_ms := grid_cut(day.end_ms, grids)) <= done_ms:
                day = day_after(day, timezone)
            yield cut_ms


def passed_over(
    usual: OfflineMeter,
    definitions: Sequence[DefinitionLine],
    events: Sequence[EventLine],
    end_ms: int,
) -> Iterator[str]:
    """Yield what is told otherwise where everybody is looked at; `usual`: as it is else."""
    found = (_TIMEZONE.findall(line.value or b"") for line in definitions)
    meter = MeterEverywhere(each.decode() for some in found for each in some)
    meter.run(definitions, events, end_ms)
    told, everywhere = _by_id(usual.records), _by_id(meter.records)
    for key in sorted(told.keys() | everywhere.keys()):
        if told.get(key) != everywhere.get(key):
            yield f"{key[0]}: {told.get(key)!r}, with everybody looked at {everywhere.get(key)!r}"


def _by_id(records: Sequence[PublishedRecord]) -> dict[tuple[str, str], bytes]:
    return {(record.topic, record.identity): record.value for record in records}
