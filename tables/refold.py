"""Refold: pairs recomputed from their events, beside the live fold, and swapped in.

New routes and empty cells are made under the definitions as they are now; a reader feeds every
event of the pairs again; when it has reached what the live fold has taken, the swap replaces the
old cells. Which arrival of an id counts is what the event index says, so a refold counts what the
live fold counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from app.definitions.timeline import NEVER_MS
from tables.cells import Span, SpanKey
from tables.census import Census
from tables.dedupe import Entry
from tables.fold import Arrival, Folded, apply_members, fold_run
from tables.members import Members
from tables.partition import Counted, Pair, Partition, Refused, Revised, WaitForDefinitions
from tables.presence import SubscriptionName
from tables.routes import Route


class Refold:
    """One refold of some pairs of one partition."""

    def __init__(
        self,
        partition: Partition,
        pairs: Iterable[Pair],
        horizons: Mapping[SubscriptionName, int] | None = None,
    ):
        """`horizons`: subscriptions all of whose pairs are refolded, under the corrections appended
        until their next cut; others keep those that are in force. NEVER_MS: under all corrections.
        """
        self.partition = partition
        self._history_ms = partition.history_ms
        self.pairs = frozenset(pairs)
        self._names = frozenset((org, external_id) for org, external_id, _ in self.pairs)
        self._begin_until(horizons or {})

    def _begin_until(self, horizons: Mapping[SubscriptionName, int]) -> None:
        partition = self.partition
        self._horizons = dict(horizons)
        self._standing = {
            name: partition.corrections.standing(name, horizon_ms)
            for name, horizon_ms in self._horizons.items()
        }
        # Under corrections events may count that did not when their cuts were taken: another group
        # has their place. No cut before the next is taken for them.
        self._taken_ms = {
            name: next_cut_ms - 1
            for name, next_cut_ms in self._horizons.items()
            if next_cut_ms < NEVER_MS
        }
        self._unforeseen: dict[SubscriptionName, int] = {}
        """Cuts before the next that was known, of late events that nothing counted so far."""
        self._revised: dict[Revised, list[Counted]] = {}
        self.census = Census()
        self._begin({pair: partition.compile(pair, None, self._history_ms) for pair in self.pairs})

    def _begin(self, routes: dict[Pair, Route]) -> None:
        self.routes, generation = routes, self.partition.next_generation()
        for route in routes.values():
            for span in route.spans:
                # Sets of members of earlier ones are void once it is swapped in.
                span.generation = generation
        self.members = Members(capacity=None)
        self.folded = Folded()
        self.events = 0
        self.refused: list[tuple[bytes, Entry, Refused]] = []
        """What the live fold took under definitions that it did not have all of."""
        self.waits_past_ms = -1
        """Definitions must be applied past it, or some event cannot be judged."""

    def start_offsets(self) -> tuple[int | None, int | None]:
        """Where to begin on raw and rekeyed; None where no event of the pairs lies."""
        entries = [
            entry
            for *name, code in self.pairs
            if (entry := self.partition.presence.find((name[0], name[1]), code)) is not None
        ]
        raw = [entry.raw_first for entry in entries if entry.raw_first >= 0]
        rekeyed = [entry.rekeyed_first for entry in entries if entry.rekeyed_first >= 0]
        return min(raw, default=None), min(rekeyed, default=None)

    def feed(self, arrivals: Sequence[Arrival]) -> None:
        """Fold those of the arrivals that are of the pairs and count."""
        partition = self.partition
        wanted = [arrival for arrival in arrivals if self._wants(arrival)]
        ids = [arrival.identity for arrival in wanted]
        settled_ms, done_ms = partition.settled_ms, partition.record.cut_ms
        for arrival, identity, entry in zip(
            wanted, ids, partition.index.find_many(ids), strict=True
        ):
            if entry is None or entry[1:5] != arrival[3:7]:
                continue
            # Scanning may begin anywhere; the index knows the append time that the log had reached.
            placed = arrival._replace(append_time_ms=entry[0])
            # As it came: what a correction makes of it is never too late, but one of an event that
            # was not taken has nothing to correct.
            refused = self._refusal(placed)
            if refused is not None:
                self.refused.append((identity, entry, refused))
                continue
            self._foresee(placed)
            corrected = self._corrected(identity, placed)
            if corrected is None:
                self._note_cancelled(placed)
                continue
            counted, since_ms = corrected
            route = self._route_of(counted)
            if route is None:
                continue
            self.events += 1
            if route.grouped:
                self.census.note(route, counted.event, counted.timestamp_ms, counted.position)
            untaken = range(done_ms + 1, self._taken_ms.get(placed.name, -1) + 1)
            fold_run(route, (counted,), settled_ms, self.members, self.folded, since_ms, untaken)
        operations, self.folded.unique = self.folded.unique, []
        apply_members(operations, self.members, settled_ms, self.folded)

    def _foresee(self, arrival: Arrival) -> None:
        """The copy of an event that counts now may have been appended for an earlier cut.

        What corrections later than that make of it, the cut must not show yet.
        """
        partition, name, append_time_ms = self.partition, arrival.name, arrival.append_time_ms
        taken_ms, done_ms = self._taken_ms.get(name, -1), partition.record.cut_ms
        if append_time_ms > taken_ms:
            return
        cuts = partition.revisions_after(append_time_ms)
        cuts = {cut_ms for cut_ms in cuts if done_ms < cut_ms <= taken_ms}
        if not cuts:
            return
        period = partition.period_at(name, arrival.timestamp_ms)
        if period is not None and period.due_at_ms < append_time_ms:
            self._unforeseen[name] = min(*cuts, self._unforeseen.get(name, NEVER_MS))

    def _note_cancelled(self, arrival: Arrival) -> None:
        """The group of a cancelled event keeps its place."""
        route = self._route_of(arrival)
        if route is not None and route.grouped:
            self.census.note(route, arrival.event, arrival.timestamp_ms, arrival.position)

    def _corrected(self, identity: bytes, placed: Arrival) -> Counted | None:
        """The event as corrections have it; None when it is cancelled."""
        partition, name = self.partition, placed.name
        if not partition.corrections.touches(name):
            return Counted(placed, -1)
        horizon_ms = self._horizons.get(name)
        if horizon_ms is not None:
            for revised, version in partition.revised_by_corrections(identity, placed, horizon_ms):
                self._revised.setdefault(revised, []).append(version)
        return partition.counted(identity, placed, horizon_ms)

    def _wants(self, arrival: Arrival) -> bool:
        if self.partition.corrections.touches(arrival.name):
            # An amend may have given it one of the codes.
            return arrival.name in self._names
        return arrival.pair in self.routes

    def _refusal(self, arrival: Arrival) -> Refused | None:
        if arrival.pair not in self.routes:
            return None
        try:
            return self.partition.refusal(arrival, arrival.timestamp_ms)
        except WaitForDefinitions as wait:
            self.waits_past_ms = max(self.waits_past_ms, wait.past_ms)
            return None

    def _route_of(self, arrival: Arrival) -> Route | None:
        return self.routes.get(arrival.pair)

    def admitted(self) -> bool:
        """Whether the groups that have cells are those that are admitted, once all was fed.

        Otherwise it begins anew, open only to those.
        """
        if all(self.census.agrees(route) for route in self.routes.values()):
            return True
        self._begin({pair: self.census.impose(r) for pair, r in self.routes.items()})
        return False

    def swap(self) -> bool:
        """Put the new cells in place of the old ones. The live fold must stand where this does.

        Ids of `refused` are free again; the caller owes each of these events a dead letter.
        False: nothing is done, and all events must be fed again from the start; only now is it
        known which groups are admitted, or what the next cut is.
        """
        if self._unforeseen:
            for name, cut_ms in self._unforeseen.items():
                self.partition.expect_cut(name, cut_ms)
            self._begin_until(self._horizons | self._unforeseen)
            return False
        if not self.admitted():
            return False
        for route in self.routes.values():
            for cell in self.census.settle(route):
                cell.dirty = True
                self.folded.dirty.append(cell)
        self.folded.displaced.clear()
        partition = self.partition
        for identity, entry, _ in self.refused:
            partition.index.refuse(identity, entry)
        # Whatever history records concern was queued before they were in force, so it is in here.
        partition.record.history_ms = max(partition.record.history_ms, self._history_ms)
        partition.forget(self.pairs)
        for pair, route in self.routes.items():
            partition.routes[pair] = route
            for span in route.spans:
                partition.spans[span.key] = span
        for name, standing in self._standing.items():
            partition.corrections.enforce(name, standing, partition.record.cut_ms)
        for revised in [one for one in partition.corrected if one[0] in self._horizons]:
            del partition.corrected[revised]
        partition.corrected.update(self._revised)
        partition.take_folded(self.folded)
        partition.members.replace(self.members)
        return True


def cells_of(route: Route) -> dict[SpanKey, dict[bytes, bytes]]:
    """Packed cells of a route by span and key: what verify compares."""
    return {span.key: packed_cells(span) for span in route.spans}


def packed_cells(span: Span) -> dict[bytes, bytes]:
    """Packed cells of a span that are not empty."""
    return {
        msgspec.msgpack.encode(cell.key): cell.packed()
        for layer in span.layers.values()
        for cell in layer.cells.values()
        if not cell.blank(span.fold.aggregation)
    }
