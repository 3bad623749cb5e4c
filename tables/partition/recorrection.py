"""Recorrection: the corrections that one refold puts in force (records-and-cuts §9).

It may be of some codes of a subscription, and of what is dated from some time on. A correction then
comes in force with it if all that its event was, or is to be, is folded: other cells would not show
it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey
from tables.changelogged.correction_rows import StoredCorrection
from tables.partition.changed import versions_of
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.partition import Partition
from tables.partition.revised import Counted, Revised, Versions
from tables.routing.route import Route
from tables.spool import Spool


class Recorrection:
    """What one refold makes of the corrections of its subscriptions."""

    def __init__(
        self,
        partition: Partition,
        meter_keys: set[MeterKey],
        horizons: Mapping[SubscriptionKey, int],
    ):
        """Take the meter keys of the refold, which may find more, and the next cut of each name.

        Names without one keep the corrections that are in force. NEVER_MS: all come in force.
        """
        self._partition = partition
        self._meter_keys = meter_keys
        self.horizons = dict(horizons)

    def begin(self, dated_from: Mapping[MeterKey, int]) -> None:
        """Take in what is known now: events fed before would not show what comes later.

        `dated_from`: since when events are dated that are folded, of meter keys not folded whole.
        """
        self._dated_from = dated_from
        partition, followed = self._partition, self._partition.corrections.followed
        self._standing = {
            name: followed.until(name, horizon_ms) for name, horizon_ms in self.horizons.items()
        }
        self._known = {row for standing in self._standing.values() for row in standing.rows}
        whole = self._meter_keys - dated_from.keys()
        meter_keys_of = partition.event_ranges.meter_keys_of
        self._narrow = {name for name in self.horizons if not meter_keys_of(name) <= whole}
        """Subscriptions of which other codes, or earlier periods, stay as they are."""
        self._turned: dict[SubscriptionKey, list[bytes]] = {}
        """By subscription of `_narrow`, events whose corrections come in force or go out of it."""
        # Under corrections events may count that did not when their cuts were taken: another group
        # has their place. No cut before the next is taken for them.
        self._taken_ms = {
            name: next_cut_ms - 1
            for name, next_cut_ms in self.horizons.items()
            if next_cut_ms < NEVER_MS
        }
        self._unforeseen: dict[SubscriptionKey, int] = {}
        """Cuts before the next that was known, of late events that nothing counted so far."""
        self._asked: dict[SubscriptionKey, int] = {}
        """Grid cuts before it, of events that somebody watches and nothing counted by then."""
        self._revised: dict[Revised, Versions] = {}
        self._spool = Spool(partition.corrections.spool.directory)
        """Has those events; what was put there goes when other ones take their place."""

    def taken_ms(self, name: SubscriptionKey) -> int:
        """Return until when no cut is taken for what is found of a subscription; -1: any is."""
        return self._taken_ms.get(name, -1)

    def foresee(self, arrival: Arrival, route: Route | None) -> None:
        """Note an event that may have been appended for an earlier cut than the next known.

        It has come since then, or its copy that counts now has. What corrections later than that
        make of it, the cut must not show yet. `route`: of the event, if it is folded here.
        """
        partition, name, append_time_ms = self._partition, arrival.name, arrival.append_time_ms
        taken_ms, done_ms = self.taken_ms(name), partition.checkpoint.cut_ms
        if append_time_ms > taken_ms:
            return
        between = range(done_ms + 1, taken_ms + 1)
        asked = [cut_ms for cut_ms in _asked_cuts(route, arrival) if cut_ms in between]
        if asked:
            self._asked[name] = min(*asked, self._asked.get(name, NEVER_MS))
        cuts = [c for c in partition.cuts.revisions_after(append_time_ms) if c in between]
        if not cuts:
            return
        recurs = partition.definitions.recurs(name[0], arrival.event.code)
        if partition.timelines.is_late(name, arrival.timestamp_ms, append_time_ms, recurs):
            self._unforeseen[name] = min(*cuts, self._unforeseen.get(name, NEVER_MS))

    def is_foreseen(self) -> bool:
        """Return whether the next cuts are those that were known; else have the earlier taken."""
        cuts = self._partition.cuts
        for name, cut_ms in self._unforeseen.items():
            cuts.expect(name, cut_ms)
        for name, cut_ms in self._asked.items():
            cuts.grid.add(name, cut_ms)
        for name, cut_ms in (*self._unforeseen.items(), *self._asked.items()):
            self.horizons[name] = min(cut_ms, self.horizons[name])
        return not (self._unforeseen or self._asked)

    def counted(self, identity: bytes, placed: Arrival) -> Counted | None:
        """Return an event as corrections have it; None when it is cancelled."""
        partition, name = self._partition, placed.name
        if not partition.corrections.touches(name):
            return Counted(placed, -1)
        if partition.corrections.rows.has_unread(name):
            partition.corrections.note_code(self._history(identity), placed.event.code)
        corrected, horizon_ms = partition.corrected, self.horizons.get(name)
        if horizon_ms is None:
            return corrected.counted(identity, placed)
        known: Container[int] = self._known
        if name in self._narrow and not self._turns(identity, placed):
            # As the cells have it.
            horizon_ms, known = NEVER_MS, ()
        for revised, version in corrected.revised_by(identity, placed, horizon_ms, known=known):
            if (*name, revised[1]) in self._meter_keys:
                if revised not in self._revised:
                    self._revised[revised] = Versions(self._spool)
                self._revised[revised].add(version)
        return corrected.counted(identity, placed, horizon_ms, known)

    def _turns(self, identity: bytes, placed: Arrival) -> bool:
        """Return whether corrections of an event come in force here, or go out of it.

        Not if an event counts in cells that stay, by those in force or by those that come in.
        """
        name = placed.name
        history = [s for s in self._history(identity) if s.applied or s.row in self._known]
        if not any(self._is_turning(stored) for stored in history):
            return False
        if not all(map(self._is_folded, versions_of(placed, history))):
            return False
        self._turned.setdefault(name, []).append(identity)
        return True

    def _is_folded(self, version: Arrival) -> bool:
        meter_key = version.meter_key
        from_ms = self._dated_from.get(meter_key, FROM_THE_FIRST)
        return meter_key in self._meter_keys and version.timestamp_ms >= from_ms

    def _history(self, identity: bytes) -> list[StoredCorrection]:
        return self._partition.corrections.history(identity)

    def _is_turning(self, stored: StoredCorrection) -> bool:
        shows = stored.append_time_ms <= self.horizons[stored.name]
        return (
            stored.followed and stored.applied != shows and (not shows or stored.row in self._known)
        )

    def enforcing(self) -> Steps[None]:
        """Note by small steps that the cells show this, now that they are swapped in."""
        partition, settled_ms = self._partition, self._partition.cuts.settled_ms
        followed = partition.corrections.followed
        for name, standing in self._standing.items():
            if name in self._narrow:
                for some in batches(self._turned.get(name, []), STEP_ITEMS):
                    for stored in self._turning(some):
                        followed.put_in_force(stored, self.horizons[name])
                    yield
                followed.settle(name, settled_ms)
            else:
                yield from followed.enforcing(name, standing, settled_ms)
        concerned = {each for each in self._meter_keys if each[:2] in self.horizons}
        partition.corrected.revise(concerned, self._revised)

    def _turning(self, identities: Sequence[bytes]) -> Iterator[StoredCorrection]:
        for identity in identities:
            yield from filter(self._is_turning, self._history(identity))


def _asked_cuts(route: Route | None, arrival: Arrival) -> Iterator[int]:
    """Yield the grid cuts at which somebody asks what an event changes; 0: it is taken."""
    timestamp_ms, append_time_ms = arrival.timestamp_ms, arrival.append_time_ms
    for span in () if route is None else route.reached(timestamp_ms):
        watch = span.watching(append_time_ms)
        if watch is None or span.layer_at(timestamp_ms) is None:
            continue
        if watch.days is not None:
            yield watch.day_cut_of(timestamp_ms, append_time_ms)
        else:
            yield watch.cut_until(NEVER_MS, append_time_ms)
