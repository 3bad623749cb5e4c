"""A partition whose corrections are put in force by repairs, as a worker puts them."""

from __future__ import annotations

from collections import Counter

from app.bounds.turns import drained
from app.wire.arrivals import CorrectionArrival, MeterKey, SubscriptionKey
from tables.closing.close import next_cut
from tables.partition.refold import Refold
from tables.partition.repair import Original, Repair
from tests.world.definitions import ORG, SUBSCRIPTION, CommandAt
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)


class Repaired(Live):
    """A partition whose corrections are put in force by repairs, or by refolds alone."""

    def __init__(self, definitions: list[CommandAt], *, repairs: bool):
        super().__init__(definitions)
        self.outcomes: Counter[str] = Counter()
        self._repairs = repairs
        self._dated: dict[SubscriptionKey, int] = {}
        """Since when events are dated that the next refold is for."""
        self.define_all()

    def correct(self, arrival: CorrectionArrival) -> None:
        """Take a correction in, and put it in force if the next cut shows it."""
        self.partition.corrected.correct(arrival)
        self.mend()

    def close_until(self, at_ms: int) -> None:
        """Publish every cut up to a time; after each the next one may show other corrections."""
        while (cut_ms := next_cut(self.partition, NAME)) <= at_ms:
            super().close_until(cut_ms)
            self.mend()
        super().close_until(at_ms)

    def mend(self) -> None:
        """Do what an owner does while cells show other corrections than the next cut."""
        corrections = self.partition.corrections
        while corrections.followed.wrong_since(NAME, next_cut(self.partition, NAME)) is not None:
            left = self._repaired() if self._repairs else None
            if left is None or left:
                self._refolded(left or self.partition.event_ranges.meter_keys_of(NAME))
                self._dated = {}

    def _repaired(self) -> set[MeterKey] | None:
        """Repair what can be; return what a refold has to fold, None: all."""
        job = Repair(self.partition, NAME, next_cut(self.partition, NAME))
        if not job.is_possible:
            self.outcomes["not possible"] += 1
            return None
        placed = {arrival.place: arrival for arrival in self.arrived()}
        originals: dict[bytes, Original | None] = {}
        for identity in job.turning():
            entry = self.partition.index.find(identity)
            originals[identity] = entry and Original.of(entry, placed[entry[1:5]])
        self._fill(job.missing_members(originals))
        left = drained(job.repairing(originals))
        if left is None:
            self.outcomes["left"] += 1
        elif left:
            self._dated = {NAME: job.dated_ms}
            self.outcomes["left"] += 1
            self.outcomes["narrow"] += left < self.partition.event_ranges.meter_keys_of(NAME)
        else:
            self.outcomes["repaired"] += len(originals)
            job.finish()
        return left

    def _refolded(self, meter_keys: set[MeterKey]) -> None:
        horizons = {NAME: next_cut(self.partition, NAME)}
        kept = meter_keys if self._dated else set[MeterKey]()
        dated, swapped = self._dated, False
        refold = Refold(self.partition, meter_keys, horizons, redefined=kept, dated=dated)
        self.outcomes["late"] += bool(refold.dated_from)
        while not swapped:
            refold.feed(self.read_for(refold))
            swapped = refold.swap()

    def revised(self) -> dict[object, list[tuple[int, int, bool]]]:
        """Return what cuts to come revise, without the events themselves."""
        return {
            (name, *key): sorted(
                {(kept.since_ms, kept.timestamp_ms, kept.place_only) for kept in found}
            )
            for name, of_name in self.partition.corrected._revised.items()
            for key, found in of_name.items()
        }
