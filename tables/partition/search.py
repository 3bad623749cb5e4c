"""Search: names that were undefined when their events came, and are defined now.

Beyond a limit such names are not kept one by one. A refold of the rest reads the logs from its
first event on, and finds here which meter keys it has to fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey
from tables.changelogged.presence import LogsKept
from tables.partition.partition import Partition


class Search:
    """What one refold looks for among undefined names."""

    def __init__(self, partition: Partition):
        self._partition = partition
        self._defined_ms = (partition.checkpoint.searched_ms, partition.definitions.append_time_ms)
        self._searched_for = partition.redefinition.searched_for()
        self.found: set[MeterKey] = set()
        """Meter keys that were undefined, with events that may be noted with the rest only."""
        self.kept = LogsKept()
        """What the logs have, for whoever reads from them."""
        self.lacking: set[MeterKey] = set()
        """What cannot be folded anew: some events that are noted apart are deleted."""
        self.reads_all = True
        """Whether all events of what was found are read, also those that are noted apart."""

    def begin(self) -> None:
        """Have everything fed again."""
        self.found, self.reads_all = set(), True

    def finding(self, arrivals: Iterable[Arrival], known: set[MeterKey]) -> Iterator[MeterKey]:
        """Yield each meter key of names that were undefined and are defined now, once.

        Only by events that were taken: one that was refused names nothing. `known`: those all of
        whose events are read.
        """
        corrections, index = self._partition.corrections, self._partition.index
        for arrival in arrivals:
            name, codes = arrival.name, [arrival.event.code]
            if corrections.touches(name):
                history = corrections.history(arrival.identity)
                codes += [event.code for held in history if (event := held.event) is not None]
            for code in codes:
                meter_key = (*name, code)
                if meter_key in self.found:
                    continue
                if not self._is_sought(meter_key):
                    self._note_later(meter_key)
                    continue
                entry = index.find(arrival.identity)
                if entry is None or entry[1:5] != arrival.place:
                    continue
                own = self._partition.event_ranges.find(name, code)
                if own is not None and self.kept.lacks(own):
                    self.lacking.add(meter_key)
                    continue
                self.found.add(meter_key)
                if meter_key not in known:
                    self.reads_all &= self._partition.event_ranges.rest_covers(meter_key)
                yield meter_key

    def _is_sought(self, meter_key: MeterKey) -> bool:
        """Return whether some of its events may be noted with the rest only."""
        first_ms, last_ms = self._defined_ms
        if not first_ms <= self._partition.definitions.known_since_ms(*meter_key) <= last_ms:
            return False
        return self._may_rest(meter_key)

    def _note_later(self, meter_key: MeterKey) -> None:
        """Note one that may be sought once it is defined, as long as not all of these are known."""
        partition = self._partition
        rest_names, definitions = partition.event_ranges.rest_names, partition.definitions
        if rest_names.is_whole or definitions.known_since_ms(*meter_key) <= self._defined_ms[1]:
            return
        if self._may_rest(meter_key):
            rest_names.add(meter_key[:2], meter_key[2])

    def _may_rest(self, meter_key: MeterKey) -> bool:
        event_ranges = self._partition.event_ranges
        entry, rest = event_ranges.find(meter_key[:2], meter_key[2]), event_ranges.rest
        return entry is None or (rest is not None and not entry.begins_before(rest))

    def keep(self) -> set[SubscriptionKey]:
        """Keep what was found by itself; return names that corrections are about."""
        partition, recorrected = self._partition, set[SubscriptionKey]()
        for org, external_id, code in sorted(self.found):
            entry = partition.event_ranges.of((org, external_id), code)
            if partition.event_ranges.rest is not None:
                entry.merge(partition.event_ranges.rest)
            if partition.corrections.touches((org, external_id)):
                recorrected.add((org, external_id))
        partition.event_ranges.rest_names.is_whole = True
        partition.redefinition.note_searched(self._defined_ms[1], self._searched_for)
        return recorrected
