"""Freed ids: what counts under the id of an event that a refold refuses (records-and-cuts §3).

The live fold took the event under definitions that it did not have all of. It left out each copy
that came after it. Of these the first that is not refused counts now, whatever code it has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec.structs import replace

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey
from app.wire.identity import event_body_hash
from tables.event_index.entries import Entry
from tables.partition.changed import codes_of
from tables.partition.intake import RefusedArrival
from tables.partition.partition import Partition

Refused = tuple[bytes, Entry, RefusedArrival]
"""An identity, what the event index has of it, and why that is refused."""


class FreedIds:
    """The ids that one refold frees, and the copies that count under them."""

    def __init__(self, partition: Partition):
        self._partition = partition
        self._counting: dict[bytes, Arrival | None] = {}
        """By identity what counts; None: no copy that was met may count."""
        self._met: dict[bytes, Arrival] = {}
        """By identity the first copy that may count, of those fed since the refold began."""
        self.names: set[SubscriptionKey] = set()
        """Subscriptions with such ids: copies of any code may count."""
        self.appended_ms = NEVER_MS
        """Least append time of what is refused: the copies came after it."""

    def begin(self) -> None:
        """Have everything fed again."""
        self._met = {}

    def widened(
        self, offsets: tuple[int | None, int | None], since: tuple[int, int]
    ) -> tuple[int | None, int | None]:
        """Return where to begin on raw and rekeyed: nobody noted where copies lie.

        `offsets`: the first noted events, or None; `since`: what came after `appended_ms`.
        """
        if not self.names:
            return offsets
        raw, rekeyed = (s if o is None else min(s, o) for s, o in zip(since, offsets, strict=True))
        return raw, rekeyed

    def counted(
        self,
        identity: bytes,
        copy: Arrival,
        known: Entry | None,
        is_refused: Callable[[Arrival], object],
    ) -> Arrival | None:
        """Return a copy of what the event index knows, if it counts in place of that."""
        if identity not in self._counting or known is None:
            return None
        if known.raw_partition == copy.raw_partition:
            # Scanning may begin anywhere: the log had reached that time before the copy.
            append_time_ms = max(copy.append_time_ms, known.append_time_ms)
            copy = replace(copy, append_time_ms=append_time_ms)
        if is_refused(copy):
            return None
        met = self._met.get(identity)
        if met is None or copy.position < met.position:
            self._met[identity] = copy
        counting = self._counting[identity]
        return copy if counting is not None and counting.place == copy.place else None

    def agree(self, refused: Iterable[Refused]) -> bool:
        """Return whether what was counted is what counts, after all was fed; else feed it again."""
        refused = list(refused)
        counting = {identity: self._met.get(identity) for identity, *_ in refused}
        if counting == self._counting:
            return True
        self._counting = counting
        self.names = {told.arrival.name for *_, told in refused}
        self.appended_ms = min((entry.append_time_ms for _, entry, _ in refused), default=NEVER_MS)
        return False

    def widen(self, meter_keys: set[MeterKey]) -> None:
        """Add to what is refolded all that the copies count in: they may have another code."""
        partition, wider = self._partition, set[MeterKey]()
        for arrival in filter(None, self._counting.values()):
            history = partition.corrections.history(arrival.identity)
            wider |= partition.event_ranges.meter_keys_of(arrival.name)
            wider.update((*arrival.name, code) for code in codes_of(arrival, history))
        # Definitions that come meanwhile have them refolded once more.
        partition.stale.queue(wider - meter_keys)
        meter_keys |= wider

    def keep(self) -> set[SubscriptionKey]:
        """Have the event index know what counts; return names with corrections to be taken anew."""
        partition, recorrected = self._partition, set[SubscriptionKey]()
        for identity, arrival in self._counting.items():
            if arrival is not None:
                row = (*arrival.position, arrival.rekeyed_offset, event_body_hash(arrival.event))
                partition.index.add_many([identity], [Entry(*row)])
                partition.corrections.rows.note_event(identity, came=True)
                partition.corrected.take_earlier(arrival)
                if partition.corrections.touches(arrival.name):
                    recorrected.add(arrival.name)
        return recorrected
