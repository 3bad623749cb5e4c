"""Fold two logs into usage records and current usage, without any server.

The offline fold uses the same tables and code as a live worker, and only the logs decide. It
applies inputs in the order of their append times, and takes a cut once all earlier inputs are in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import merge
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from app.bounds.turns import drained
from app.definitions.files import DefinitionLine
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.outcome import Applied, Rejected
from app.definitions.periods import NEVER_MS, ceil_to
from app.definitions.set_asides import named_in
from app.definitions.state import Definitions
from app.meter.usage import PeriodUsage
from app.offline.arrival_log import ArrivalLog
from app.wire.arrivals import Arrival, Arrived, MeterKey, SubscriptionKey, arrivals_of, runs_of
from app.wire.refusals import Refusal
from app.wire.usage_records import PublishedRecord
from tables.changelogged.members import Members
from tables.closing.changed import changed_at
from tables.closing.close import close_subscription, entering_history, next_cut, settle
from tables.closing.instants import instants_at
from tables.closing.schedule import Schedule
from tables.event_index.index import EventIndex
from tables.partition.conflicts import judging
from tables.partition.copies import Duplicate
from tables.partition.intake import RefusedArrival
from tables.partition.partition import Partition
from tables.partition.redirection import Renewed, refolds_of
from tables.partition.refold import Refold
from tables.reading.usage import current_usage


class EventLine(NamedTuple):
    """A record of the raw topic; the fold makes append times ascend along a partition."""

    append_time_ms: int
    partition: int
    offset: int
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    key: bytes | None = None
    """As far as it was exported; no fold asks for it."""


class OfflineMeter:
    """Both logs applied as far as they were fed, on one partition that owns everything."""

    def __init__(self, wants: Callable[[SubscriptionKey], bool] = lambda name: True) -> None:
        """Take `wants`: whether an external subscription is folded at all."""
        self._wants = wants
        self.definitions = Definitions()
        members = Members(capacity=None)
        self.partition = Partition(0, self.definitions, EventIndex(), members)
        # What was taken is found by name, whatever is defined.
        self.partition.event_ranges.most_undefined = sys.maxsize
        self.records: list[PublishedRecord] = []
        self.refused: list[RefusedArrival | Refusal] = []
        self.rejected: list[tuple[int, Rejected]] = []
        """Offsets of definitions that changed nothing, and why."""
        self._taken = ArrivalLog()
        self._slice: list[Arrival] = []
        self._schedule = Schedule(self.partition, ())
        self._closed_before_ms = -1
        self._judging = Judging()

    def run(
        self,
        definitions: Iterable[DefinitionLine],
        events: Iterable[EventLine],
        at_ms: int,
        progress: Callable[[int], None] = lambda applied: None,
    ) -> None:
        """Apply everything appended up to `at_ms` and take every cut until then.

        Both logs may come in any order. `progress` gets the number of newly applied records, 0
        after a cut: whoever takes out `records` then has few in memory.
        """
        logs: dict[int, list[EventLine]] = {}
        for line in sorted(events, key=itemgetter(1, 2)):
            logs.setdefault(line.partition, []).append(line)
        self.run_logs(definitions, list(logs.values()), at_ms, progress)

    def run_logs(
        self,
        definitions: Iterable[DefinitionLine],
        logs: Sequence[Iterable[EventLine]],
        at_ms: int,
        progress: Callable[[int], None] = lambda applied: None,
    ) -> None:
        """Do the same as `run`; `logs`: one for each raw partition, in their order, each by offset.

        The logs are read side by side, and only `ArrivalLog` keeps their events.
        """
        defined = _ascending_definitions(definitions)
        self.definitions.set_asides.foresee(named_in(line.value for _, line in defined))
        if defined:
            # The log begins with the settings, whatever was appended to the raw topic before.
            first_ms, first = defined.pop(0)
            self._define(first, first_ms)
            progress(1)
        # At the same time definitions come first, then the partitions in their order.
        in_order: Iterable[tuple[int, DefinitionLine | EventLine]] = merge(
            defined, *map(_ascending_events, logs), key=itemgetter(0)
        )
        for append_time_ms, line in in_order:
            if append_time_ms > at_ms:
                break
            self._close_before(append_time_ms, progress)
            if isinstance(line, DefinitionLine):
                self._fold_slice()
                self._define(line, append_time_ms)
            else:
                self._take(line, append_time_ms)
            progress(1)
        self._fold_slice()
        self._close_before(at_ms + 1, progress)
        self.advance(at_ms)

    def advance(self, at_ms: int) -> None:
        """Move the append times of both logs to `at_ms`: nothing more was appended until then."""
        checkpoint = self.partition.checkpoint
        checkpoint.append_time_ms = max(checkpoint.append_time_ms, at_ms)
        self.definitions.append_time_ms = max(self.definitions.append_time_ms, at_ms)

    def usage(self, name: SubscriptionKey, at_ms: int) -> PeriodUsage | None:
        """Return the current usage of an external subscription."""
        return current_usage(self.partition, name, at_ms)

    def _define(self, line: DefinitionLine, append_time_ms: int) -> None:
        outcome = apply(self.definitions, line.value, append_time_ms, line.offset)
        if outcome is None:
            return
        if isinstance(outcome, Rejected):
            self.rejected.append((line.offset, outcome))
        self._judging = Judging.by(self.definitions)
        if isinstance(outcome, Applied) and outcome.impact is not None:
            self.partition.redefinition.tell(outcome.impact)
            meter_keys = self._looked_at(self.partition.redefinition.renewing())
            if meter_keys:
                # Every cut before it is taken: what none of them billed at once nothing bills now.
                settle(self.partition, append_time_ms - 1)
            self._refold(meter_keys)

    def _take(self, line: EventLine, append_time_ms: int) -> None:
        self.partition.checkpoint.append_time_ms = append_time_ms
        aside = self.definitions.set_asides.of(line.partition)
        place = (append_time_ms, line.partition, line.offset)
        for arrived in arrivals_of(line.value, line.headers, *place, self._judging, aside):
            self._take_one(arrived)
        if len(self._slice) >= _SLICE_EVENTS:
            self._fold_slice()

    def _take_one(self, arrived: Arrived) -> None:
        if isinstance(arrived, Refusal):
            self.refused.append(arrived)
        elif not self._wants(arrived.name):
            return
        elif isinstance(arrived, Arrival):
            self._slice.append(arrived)
        else:
            self._fold_slice()
            # Every cut before it is taken, and none is for what counts from the correction on.
            settle(self.partition, arrived.append_time_ms - 1)
            if self.partition.corrected.correct(arrived):
                meter_keys = self.partition.event_ranges.meter_keys_of(arrived.name)
                self._refold(meter_keys, {arrived.name: NEVER_MS})

    def _fold_slice(self) -> None:
        taken, self._slice = self._slice, []
        if not taken:
            return
        self.definitions.append_time_ms = max(
            self.definitions.append_time_ms, taken[-1].append_time_ms
        )
        self._taken.take(taken)
        told = self.partition.fold(runs_of(taken))
        self.refused += told.refused
        self.refused += self._conflicting(told.duplicates)
        self._refold(self.partition.stale.take_displaced_keys())

    def _conflicting(self, duplicates: Iterable[Duplicate]) -> Iterator[RefusedArrival]:
        """Yield what is refused of repeated ids: those with another body than the first one."""
        suspects = (each for each in duplicates if each.identical is None)
        # In an order that has neighbours read together, wherever they are kept.
        for each in sorted(suspects, key=lambda each: (each.arrival.name, each.known.position)):
            first = self._taken.at(each.arrival.name, each.known.position)
            conflict = drained(judging(each, first))
            if conflict is not None:
                yield conflict

    def _refold(
        self, meter_keys: set[MeterKey], horizons: Mapping[SubscriptionKey, int] | None = None
    ) -> None:
        if meter_keys:
            refold, swapped = Refold(self.partition, meter_keys, horizons), False
            while not swapped:
                for name in sorted({(org, external_id) for org, external_id, _ in meter_keys}):
                    for arrivals in self._taken.of(name):
                        refold.feed(arrivals)
                swapped = refold.swap()
        self._reschedule(self.partition.cuts.take_late_names())

    def _close_before(self, append_time_ms: int, progress: Callable[[int], None]) -> None:
        """Take every cut before an append time."""
        if append_time_ms == self._closed_before_ms:
            # Whatever was appended at that time is for cuts from then on.
            return
        self._closed_before_ms = append_time_ms
        while self._earliest_cut() < append_time_ms:
            self._fold_slice()
            cut_ms = self._next_cut()
            if cut_ms >= append_time_ms:
                return
            if self.partition.standing.next_history_ms() <= cut_ms:
                self._refold(self._looked_at(entering_history(self.partition)))
                continue
            made = chain(instants_at(self.partition, cut_ms), changed_at(self.partition, cut_ms))
            self.records += (record for record in made if record is not None)
            due = set(map(self._schedule.named, self._schedule.due(cut_ms)))
            for name in sorted(due.union(self.partition.cuts.names_at(cut_ms))):
                if next_cut(self.partition, name) == cut_ms:
                    self.records += close_subscription(self.partition, name, cut_ms)
            settle(self.partition, cut_ms)
            self._schedule.take_closed()
            while self._schedule.has_taken:
                self._schedule.update(self._schedule.free()[0])
            progress(0)

    def _earliest_cut(self) -> int:
        """Return a lower bound of all cuts, whatever events still wait to be folded."""
        earliest_ms = self._next_cut()
        if not self._slice:
            return earliest_ms
        appended_ms = self._slice[0].append_time_ms
        cuts = self.partition.cuts
        late = [ceil_to(appended_ms, each) for each in cuts.revision_grids_ms]
        if self.definitions.watches_before(NEVER_MS):
            late.append(cuts.grid_cut_of(appended_ms))
        if self.partition.changed.notes:
            late.append(self.partition.changed.moment_of(appended_ms))
        return min(earliest_ms, *late)

    def _next_cut(self) -> int:
        """Return the next known cut."""
        return min(self._schedule.next_ms(), self.partition.cuts.next_ms())

    def _looked_at(self, steps: Iterable[Renewed | None]) -> set[MeterKey]:
        """Look at all whom definitions concern; return what is to be refolded."""
        renewed = [each for each in steps if each is not None]
        self._reschedule(each.name for each in renewed if each.cut_moved)
        return refolds_of(renewed)

    def _reschedule(self, names: Iterable[SubscriptionKey]) -> None:
        """Look for the next cuts of subscriptions, which definitions or late events may move."""
        for name in filter(self._wants, names):
            self._schedule.update(name)


_SLICE_EVENTS = 1_000


def _ascending_definitions(
    lines: Iterable[DefinitionLine],
) -> list[tuple[int, DefinitionLine]]:
    reached_ms = -1
    timed: list[tuple[int, DefinitionLine]] = []
    for line in sorted(lines, key=lambda line: line.offset):
        reached_ms = max(reached_ms, line.append_time_ms)
        timed.append((reached_ms, line))
    return timed


def _ascending_events(log: Iterable[EventLine]) -> Iterator[tuple[int, EventLine]]:
    reached_ms = -1
    for line in log:
        reached_ms = max(reached_ms, line.append_time_ms)
        yield reached_ms, line
