"""Repair: corrections put in force by a difference, instead of a refold of all events.

The event as its cells show it is taken out, and as its corrections have it it is folded in. That is
done only where it comes to the bytes of a refold; whatever else there is, a refold has to tell.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from app.bounds.turns import Steps
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey
from tables.changelogged.correction_rows import StoredCorrection
from tables.changelogged.members import MemberKey
from tables.changelogged.presence import REST
from tables.event_index.entries import Entry
from tables.fold import Folded, apply_members, fold_run, members_wanted
from tables.not_counted import NotCounted
from tables.partition.changed import steps_of, versions_of
from tables.partition.partition import Partition
from tables.partition.revised import Counted
from tables.unfold import Unfolded, has_room, unfold


class Original(NamedTuple):
    """An event that corrections are about, as it came."""

    entry: Entry
    arrival: Arrival

    @staticmethod
    def of(entry: Entry, arrival: Arrival) -> Original:
        """Return an event that was read again, at the position that the index has of it."""
        placed = replace(
            arrival, append_time_ms=entry.append_time_ms, rekeyed_offset=entry.rekeyed_offset
        )
        return Original(entry, placed)


class Repair:
    """Corrections of one external subscription that its next cut shows, and its cells do not."""

    def __init__(self, partition: Partition, name: SubscriptionKey, next_cut_ms: int):
        self._partition = partition
        self._name = name
        self._horizon_ms = next_cut_ms
        self.dated_ms = NEVER_MS
        """Since when events are dated that are left to a refold."""
        done_ms = partition.checkpoint.cut_ms
        # As with a refold: no cut before the next one is taken for them.
        last_ms = next_cut_ms - 1 if next_cut_ms < NEVER_MS else -1
        self._untaken = range(done_ms + 1, last_ms + 1)

    @property
    def is_folded(self) -> bool:
        """Whether a refold finds anything of the subscription.

        Else nobody defined it, and too many others that nobody defined have come before.
        """
        return bool(self._partition.event_ranges.codes_of(self._name))

    @property
    def is_possible(self) -> bool:
        """Whether nothing but corrections is to be done for the subscription."""
        partition, name = self._partition, self._name
        stale = partition.stale
        if (
            name in stale.names
            or name in stale.parked
            or REST in stale.refolding_keys
            or partition.standing.is_behind(name)
        ):
            return False
        return not self.is_folded or partition.corrections.followed.is_clear(name)

    def turning(self) -> Iterator[bytes]:
        """Yield ids of events with corrections to be put in force; some may come again."""
        return self._partition.corrections.followed.turning(self._name, self._horizon_ms)

    @property
    def is_done(self) -> bool:
        """Whether no correction is to be put in force."""
        return next(self.turning(), None) is None

    def _turning_of(self, identity: bytes) -> list[StoredCorrection]:
        return [
            stored
            for stored in self._partition.corrections.history(identity)
            if stored.followed and stored.applied != (stored.append_time_ms <= self._horizon_ms)
        ]

    def missing_members(self, originals: Mapping[bytes, Original | None]) -> list[MemberKey]:
        """Return members that must be learnt before these events can be repaired."""
        partition, unknown = self._partition, dict[MemberKey, None]()
        for identity, original in originals.items():
            if original is None:
                continue
            for counted in self._versions(identity, original.arrival):
                if counted is not None:
                    arrival, members = counted.arrival, partition.members
                    route = partition.packing.route_of(arrival.meter_key)
                    names = members_wanted(route, (arrival,), members)
                    unknown.update((n, None) for n in names if members.is_missing(n))
        return list(unknown)

    def _versions(self, identity: bytes, arrival: Arrival) -> tuple[Counted | None, Counted | None]:
        """Return an event as the cells show it, and as the next cut has to."""
        corrected = self._partition.corrected
        now = corrected.counted(identity, arrival)
        return now, corrected.counted(identity, arrival, self._horizon_ms)

    def repairing(self, originals: Mapping[bytes, Original | None]) -> Steps[set[MeterKey] | None]:
        """Put corrections of these events in force, a step for each; None: it cannot be known.

        Return the meter keys that a refold has to fold instead, because some of their events cannot
        be taken out and in; None: all of the subscription. What was repaired stays so. `dated_ms`
        says since when.
        """
        partition, left = self._partition, set[MeterKey]()
        for identity, original in originals.items():
            stored = self._turning_of(identity)
            entry = partition.index.find(identity)
            if original is None:
                if entry is not None and self.is_folded:
                    return None
                self._put_in_force(stored)
            elif stored:
                partition.work.add("correction", "index_rows", 1)
                if entry != original.entry:
                    return None
                history = partition.corrections.history(identity)
                partition.corrections.note_code(history, original.arrival.event.code)
                versions = list(versions_of(original.arrival, history))
                concerned = {version.meter_key for version in versions}
                if not any(partition.event_ranges.find(key[:2], key[2]) for key in concerned):
                    # Nothing is folded of names that nobody defined, so a refold would not find it.
                    self._put_in_force(stored)
                elif not (concerned <= left or self._repair(identity, original, stored)):
                    left |= concerned
                    dated_ms = (version.timestamp_ms for version in versions)
                    self.dated_ms = min(self.dated_ms, *dated_ms)
            yield
        return left

    def _put_in_force(self, turning: Iterable[StoredCorrection]) -> None:
        for stored in turning:
            self._partition.corrections.followed.put_in_force(stored, self._horizon_ms)

    def finish(self) -> None:
        """Follow no more what cuts have told, once all of them are in force."""
        partition = self._partition
        partition.corrections.followed.settle(self._name, partition.cuts.settled_ms)

    def _repair(self, identity: bytes, original: Original, turning: list[StoredCorrection]) -> bool:
        partition, arrival = self._partition, original.arrival
        history = partition.corrections.history(identity)
        since_ms = self._newest_in_force(history, turning)
        if since_ms is None or any(s.append_time_ms <= arrival.append_time_ms for s in turning):
            return False
        later = sum(stored.append_time_ms > since_ms for stored in history)
        if partition.changed.notes and later > len(turning):
            # Of what was corrected after them another version counts now.
            return False
        now, then = self._versions(identity, arrival)
        unfolded = self._unfolded(now, then)
        if unfolded is None or not self._fits(arrival, now, then):
            return False
        for cell, state in unfolded:
            cell.state = state
            partition.snapshot.mark(cell)
        self._put_in_force(turning)
        partition.stale.note_repaired(self._name)
        self._note_changed(arrival, history)
        partition.corrected.revise_more(
            partition.corrected.revised_by(identity, arrival, self._horizon_ms, since_ms)
        )
        touched = 0 if then is None else self._fold(then)
        for cell, _ in unfolded:
            partition.snapshot.delete_blank(cell)
        partition.work.add("correction", "cells", len(unfolded) + touched)
        return True

    def _note_changed(self, arrival: Arrival, history: list[StoredCorrection]) -> None:
        partition = self._partition
        for at_ms, version in steps_of(arrival, history) if partition.changed.notes else ():
            route = partition.packing.route_of(version.meter_key)
            entry = partition.event_ranges.of(self._name, route.code)
            partition.changed.note_step(route, version, at_ms, entry)

    def _newest_in_force(
        self, history: list[StoredCorrection], turning: Iterable[StoredCorrection]
    ) -> int | None:
        """Return the append time after which all corrections of an event come in force now.

        None if some go out of force, or come in before others.
        """
        coming = {stored.row for stored in turning}
        shown = [s for s in history if s.append_time_ms <= self._horizon_ms]
        first = next((i for i, s in enumerate(shown) if s.row in coming), None)
        if first is None or {s.row for s in shown[first:]} != coming:
            return None
        since_ms = shown[first - 1].append_time_ms if first else -1
        return since_ms if since_ms < shown[first].append_time_ms else None

    def _unfolded(self, now: Counted | None, then: Counted | None) -> list[Unfolded] | None:
        if now is None:
            return []
        partition = self._partition
        return unfold(
            partition.packing.route_of(now.arrival.meter_key),
            now.arrival,
            now.since_ms,
            partition.cuts.settled_ms,
            partition.members,
            None if then is None else then.arrival,
            NEVER_MS if then is None else then.since_ms,
        )

    def _fits(self, arrival: Arrival, now: Counted | None, then: Counted | None) -> bool:
        """Return whether the event as it is to count certainly finds a cell."""
        route_of = self._partition.packing.route_of
        if then is None:
            # Cancelled, it claims a place for the group that it came with; amended, it did not.
            amended = now is not None and now.since_ms >= 0
            return not (amended and route_of(arrival.meter_key).grouped)
        if now is None and route_of(arrival.meter_key).grouped:
            # While it was cancelled the group that it came with had a place.
            return False
        return has_room(route_of(then.arrival.meter_key), then.arrival)

    def _fold(self, then: Counted) -> int:
        """Fold an event in as it counts; return how many cells it has changed besides."""
        partition, folded = self._partition, Folded()
        route, settled_ms = (
            partition.packing.route_of(then.arrival.meter_key),
            partition.cuts.settled_ms,
        )
        members, since_ms = partition.members, then.since_ms
        run = (then.arrival,)
        fold_run(route, run, settled_ms, members, folded, since_ms, self._untaken)
        apply_members(folded.unique, members, settled_ms, folded)
        # They were told when they came.
        folded.ignored.clear()
        folded.not_counted = NotCounted()
        partition.take_folded(folded)
        return len(folded.dirty)
