"""Refold: meter keys recomputed from their events, beside the live fold, and swapped in.

New routes and empty cells are made under the definitions that may show now. A reader feeds every
event of the meter keys again. When it has reached what the live fold has taken, the swap replaces
the old cells. The event index says which arrival of an id counts, so a refold counts what the live
fold counted.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import Self

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps, drained, freeing
from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey
from tables.cells.cell import GroupCell
from tables.cells.keys import append_time_of
from tables.changelogged.members import Members, SetKey
from tables.changelogged.presence import REST, EventRanges, LogsKept, first_offsets
from tables.event_index.entries import Entry
from tables.fold import Folded, apply_members, fold_run
from tables.not_counted import NotCounted
from tables.partition.changed import Anew
from tables.partition.freed import FreedIds, Refused
from tables.partition.intake import RefusedArrival, WaitForDefinitions
from tables.partition.left_out import (
    CLOCKS_APART_MS,
    FROM_THE_FIRST,
    appended_unless_early,
    dated_from,
    first_kept_ms,
    with_over,
    without_over,
)
from tables.partition.partition import Partition
from tables.partition.recorrection import Recorrection
from tables.partition.search import Search
from tables.routing.dropping import dropping
from tables.routing.group_admission import GroupAdmission
from tables.routing.route import Route


class Refold:
    """One refold of some meter keys of one partition."""

    def __init__(
        self,
        partition: Partition,
        meter_keys: Iterable[MeterKey],
        horizons: Mapping[SubscriptionKey, int] | None = None,
        *,
        redefined: Container[MeterKey] = (),
        dated: Mapping[SubscriptionKey, int] | None = None,
        begins: bool = True,
        merges: bool = True,
    ):
        """Take meter keys; `REST` stands for those of undefined names that are defined by now.

        `horizons`: subscriptions that are refolded under the corrections appended until their next
        cut, as `Recorrection` has it; others keep those that are in force. NEVER_MS: under all
        corrections. `redefined`: those that nothing asks for but definitions, and corrections of
        events dated from `dated` on; what is forgotten of them stays so where it can. `begins`:
        False for whoever takes the steps of `beginning` first. `merges`: False for whoever asks for
        figures as of cuts that are settled.
        """
        self.partition = partition
        self._merges = merges
        self._history_ms = partition.standing.history_ms
        self.meter_keys = set(meter_keys)
        self._names = {(org, external_id) for org, external_id, _ in self.meter_keys}
        self._search = Search(partition) if REST in self.meter_keys else None
        self.recorrected: set[SubscriptionKey] = set()
        """Once it is swapped in: names that were found and that corrections are about."""
        self._recorrection = Recorrection(partition, self.meter_keys, horizons or {})
        self.routes: dict[MeterKey, Route] = {}
        self._shown_until_ms: int | None = None
        """As `Standing` had it, if some route does not show all definitions; else None."""
        self._redefined = redefined
        self._dated = dated or {}
        self.dated_from: dict[MeterKey, int] = {}
        """Since when events are dated that are folded, where what is forgotten stays so."""
        self.appended_from: dict[MeterKey, int] = {}
        """Since when all that is folded was appended, unless some came early; not of the others."""
        self._whole: dict[MeterKey, Route] = {}
        """Routes with the spans, too, that are left out because they are over, and stay so."""
        self._freed = FreedIds(partition)
        if begins:
            drained(self.beginning())

    @classmethod
    def of_routes(
        cls, partition: Partition, routes: dict[MeterKey, Route], dated_from: dict[MeterKey, int]
    ) -> Self:
        """Return one that has just begun with routes that were compiled elsewhere."""
        job = cls(partition, routes, begins=False)
        job.dated_from = dated_from
        job._look_ahead()
        job._begin(routes)
        return job

    @property
    def stands_alone(self) -> bool:
        """Whether it was not fed yet, and what it comes to follows from routes and index alone.

        Then another process may feed it.
        """
        partition = self.partition
        if self._search or self._recorrection.horizons or self.seeks_copies:
            return False
        if self._anew is not None:
            return False
        spans = (span for route in self.routes.values() for span in route.spans)
        corrected = any(map(partition.corrections.touches, self._names))
        return not (corrected or any(span.layers for span in spans))

    def _look_ahead(self) -> None:
        self._codes: set[str] | None = None
        """Codes of which events were sought; None: of all."""
        self._recorrection.begin(self.dated_from)
        self.group_admission = GroupAdmission()

    def beginning(self) -> Steps[None]:
        """Make routes without cells, a step for each.

        Definitions may come meanwhile: meter keys that these concern are refolded once more.
        """
        routes: dict[MeterKey, Route] = {}
        self.dated_from, self.appended_from, self._shown_until_ms = {}, {}, None
        self._whole = {}
        for meter_key in self.meter_keys - {REST}:
            route = routes[meter_key] = self._compile(meter_key)
            if meter_key in self._redefined and not self.seeks_copies:
                yield from self.partition.packing.unpacking(meter_key[:2])
                old = self.partition.packing.route_of(meter_key)
                self.leave_out_forgotten(meter_key, old, route)
                routes[meter_key] = self._leave_out_over(meter_key, old, route)
            yield
        cells = yield from dropping(self.routes.values())
        # Corrections that came meanwhile are known as it begins.
        self._look_ahead()
        self._begin(routes)
        yield from freeing(cells)

    def leave_out_forgotten(self, meter_key: MeterKey, old: Route, new: Route) -> None:
        """Leave out what is forgotten of a meter key, and stays so with a new route."""
        partition = self.partition
        known = partition.event_ranges.find(meter_key[:2], meter_key[2])
        if known is not None and known.forgotten_ms >= 0:
            corrected_ms = None
            if meter_key[:2] in self._recorrection.horizons:
                corrected_ms = self._dated.get(meter_key[:2], FROM_THE_FIRST)
            from_ms = dated_from(partition, meter_key, old, new, known, corrected_ms)
            self.leave_out(meter_key, from_ms)

    def _leave_out_over(self, meter_key: MeterKey, old: Route, new: Route) -> Route:
        """Return a new route without what is over of the old one, and stays so."""
        if meter_key[:2] in self._recorrection.horizons:
            return new
        kept = without_over(self.partition, old, new)
        if kept is not new:
            self._whole[meter_key] = new
        return kept

    def _whole_route(self, meter_key: MeterKey) -> Route | None:
        """Return the route that takes the place of the old one, with what was left out."""
        route, whole = self.routes.get(meter_key), self._whole.get(meter_key)
        if route is not None and whole is not None:
            route = with_over(route, whole)
            self._renumber(route)
        return route

    def leave_out(self, meter_key: MeterKey, dated_ms: int) -> None:
        """Leave out what is dated before an instant, before anything is fed."""
        known = self.partition.event_ranges.find(meter_key[:2], meter_key[2])
        if known is not None and dated_ms > FROM_THE_FIRST:
            self.dated_from[meter_key] = dated_ms
            appended_ms = appended_unless_early(known, dated_ms)
            if appended_ms is not None:
                self.appended_from[meter_key] = appended_ms

    def _compile(self, meter_key: MeterKey) -> Route:
        until_ms = self.partition.standing.shown_until_ms
        if until_ms is not None:
            self._shown_until_ms = until_ms
        return self.partition.routes.compile(meter_key, until_ms, self._history_ms)

    def _begin(self, routes: dict[MeterKey, Route]) -> None:
        self.routes = routes
        self._generation = self.partition.routes.next_generation()
        for route in routes.values():
            self._renumber(route)
        changed, corrections = self.partition.changed, self.partition.corrections
        self._anew = Anew(changed, corrections) if changed.notes else None
        self.members = Members(capacity=None)
        self.folded = Folded()
        self.events = 0
        if self._search is not None:
            self._search.begin()
        self.refused: list[Refused] = []
        """What the live fold took under definitions that it did not have all of."""
        self._freed.begin()
        self.waits_past_ms = -1
        """Definitions must be applied past it, or some event cannot be judged."""

    def search_in(self, kept: LogsKept) -> None:
        """Search for undefined names in what the logs still have."""
        if self._search is not None:
            self._search.kept = kept

    def unsure(self, kept: LogsKept) -> list[MeterKey]:
        """Return which of the names that were found may have events that are deleted."""
        search = self._search
        if search is None:
            return []
        found = search.found | search.lacking
        names = self.partition.event_ranges.names_lacking(found, kept)
        return sorted(key for key in found if key[:2] in names)

    def drop(self) -> None:
        """Drop the spans made here: it came to nothing, or to what was taken over."""
        for route in self.routes.values():
            for span in route.spans:
                if self.partition.routes.spans.get(span.key) is not span:
                    span.drop()

    def _renumber(self, route: Route) -> None:
        for span in route.spans:
            # Sets of members of earlier ones are void once it is swapped in.
            span.generation = self._generation

    @property
    def seeks_copies(self) -> bool:
        """Whether events are sought, too, that were copies of what turned out to be refused."""
        return bool(self._freed.names)

    @property
    def appended_from_ms(self) -> int | None:
        """Since when what is to be fed was appended; None: since the first of the meter keys."""
        if self.seeks_copies:
            return max(0, self._freed.appended_ms - CLOCKS_APART_MS)
        return min(self.appended_from.values(), default=None)

    def start_offsets(self, since: tuple[int, int] = (0, 0)) -> tuple[int | None, int | None]:
        """Do what `starting` does, in one go."""
        return drained(self.starting(since))

    def starting(self, since: tuple[int, int]) -> Steps[tuple[int | None, int | None]]:
        """Return where to begin on raw and rekeyed; None where no event of the meter keys lies.

        `since`: where what was appended from `appended_from_ms` on begins.
        """
        find, entries = self.partition.event_ranges.find, list[EventRanges]()
        for number, key in enumerate(self.meter_keys):
            if (entry := find(key[:2], key[2])) is not None:
                entries.append(entry.since(*since) if key in self.appended_from else entry)
            if number % STEP_ITEMS == 0:
                yield
        return self._freed.widened(first_offsets(entries), since)

    def sought(self) -> tuple[set[SubscriptionKey], set[str] | None]:
        """Return whose events to feed, of which codes; no names, or no codes: any may be wanted."""
        if self._search is not None:
            return set(), None
        if self.seeks_copies or any(map(self.partition.corrections.rows.has_unread, self._names)):
            # An amend may have given an event one of the codes.
            return self._names, None
        self._codes = {code for _, _, code in self.meter_keys}
        self._codes.update(*(self._sources(meter_key) for meter_key in self.meter_keys))
        return self._names, self._codes

    def sought_all(self, meter_keys: Iterable[MeterKey]) -> bool:
        """Return whether events were sought of each code that may count in some meter keys.

        One that was amended before it came may have come since.
        """
        codes = self._codes
        return codes is None or all(codes.issuperset(self._sources(key)) for key in meter_keys)

    def _sources(self, meter_key: MeterKey) -> Collection[str]:
        return self.partition.corrections.rows.sources(meter_key[:2], meter_key[2])

    def feed(self, arrivals: Sequence[Arrival]) -> None:
        """Fold those of the arrivals that are of the meter keys and count."""
        partition = self.partition
        if self._search is not None:
            self._find(arrivals, self._search)
        wanted = [arrival for arrival in arrivals if self._wants(arrival)]
        ids = [arrival.identity for arrival in wanted]
        partition.work.add("refold", "index_rows", len(ids))
        settled_ms = partition.cuts.settled_ms if self._merges else -1
        done_ms = partition.checkpoint.cut_ms
        for arrival, identity, entry in zip(
            wanted, ids, partition.index.find_many(ids), strict=True
        ):
            placed = self._placed(arrival, identity, entry)
            if placed is None:
                continue
            self._recorrection.foresee(placed, self._route_of(placed))
            if self._anew is not None:
                self._anew.note(placed, identity, self.routes)
            corrected = self._recorrection.counted(identity, placed)
            if corrected is None:
                if not self._is_left_out(placed.meter_key, placed.timestamp_ms):
                    self._note_cancelled(placed)
                continue
            counted, since_ms, _ = corrected
            if 0 <= since_ms <= placed.append_time_ms:
                # Amended before it came.
                self._recorrection.foresee(counted, self._route_of(counted))
            route = self._route_of(counted)
            # Most of those are not looked up at all; one that names no time has it only now.
            if route is None or self._is_left_out(counted.meter_key, counted.timestamp_ms):
                continue
            self.events += 1
            if route.grouped:
                self.group_admission.note(
                    route, counted.event, counted.timestamp_ms, counted.position
                )
            untaken = range(done_ms + 1, self._recorrection.taken_ms(placed.name) + 1)
            fold_run(route, (counted,), settled_ms, self.members, self.folded, since_ms, untaken)
            self.folded.bills_as_it_came(placed)
        cuts = partition.cuts
        self.folded.billed_at_once = [
            arrival
            for arrival in self.folded.billed_at_once
            if cuts.grid_cut_of(arrival.append_time_ms) > done_ms
        ]
        operations, self.folded.unique = self.folded.unique, []
        apply_members(operations, self.members, settled_ms, self.folded)

    def _placed(self, arrival: Arrival, identity: bytes, entry: Entry | None) -> Arrival | None:
        """Return an event that is the one to count by its id; `entry`: what the index has of it."""
        if entry is None or entry[1:5] != arrival.place:
            return self._freed.counted(identity, arrival, entry, self._judged)
        # Scanning may begin anywhere; the index knows the append time that the log had reached.
        placed = replace(arrival, append_time_ms=entry[0])
        # As it came: what a correction makes of it is never too late.
        refused = self._judged(placed) if placed.meter_key in self.routes else None
        if refused is not None:
            self.refused.append((identity, entry, refused))
            return None
        return placed

    def _is_left_out(self, meter_key: MeterKey, timestamp_ms: int) -> bool:
        return timestamp_ms < self.dated_from.get(meter_key, FROM_THE_FIRST)

    def _find(self, arrivals: Iterable[Arrival], search: Search) -> None:
        """Take in the meter keys of names that were undefined and are defined now."""
        for meter_key in search.finding(arrivals, self.meter_keys):
            self.meter_keys.add(meter_key)
            self._names.add(meter_key[:2])
            if meter_key not in self.routes:
                route = self.routes[meter_key] = self._compile(meter_key)
                self._renumber(route)

    def _note_cancelled(self, arrival: Arrival) -> None:
        """Keep the place of a cancelled event's group."""
        route = self._route_of(arrival)
        if route is not None and route.grouped:
            self.group_admission.note(route, arrival.event, arrival.timestamp_ms, arrival.position)

    def _wants(self, arrival: Arrival) -> bool:
        name = arrival.name
        if name in self._freed.names or self.partition.corrections.touches(name):
            # A copy may have another code, and an amend may have given it one of these.
            return name in self._names
        meter_key, dated_ms = arrival.meter_key, arrival.event.timestamp_ms
        if dated_ms is not None and self._is_left_out(meter_key, dated_ms):
            return False
        return meter_key in self.routes

    def _judged(self, arrival: Arrival) -> RefusedArrival | None:
        try:
            return self.partition.intake.refusal(arrival, arrival.timestamp_ms)
        except WaitForDefinitions as wait:
            self.waits_past_ms = max(self.waits_past_ms, wait.past_ms)
            return None

    def _route_of(self, arrival: Arrival) -> Route | None:
        return self.routes.get(arrival.meter_key)

    def admitted(self) -> Steps[bool]:
        """Return whether the groups that have cells are those that are admitted, once all was fed.

        Otherwise it begins anew, open only to those.
        """
        if (yield from self.group_admission.all_agreeing(self.routes.values())):
            return True
        yield from self.opening_as(self)
        return False

    def opening_as(self, fed: Refold) -> Steps[None]:
        """Begin anew, open only to the groups that are admitted, as one that was fed has found."""
        self.group_admission = fed.group_admission
        routes: dict[MeterKey, Route] = {}
        for meter_key in self.routes:
            known = fed if meter_key in fed.routes else self
            routes[meter_key] = yield from self.group_admission.imposing(known.routes[meter_key])
            yield
        cells = yield from dropping(self.routes.values())
        self._begin(routes)
        yield from freeing(cells)

    def swap(self) -> bool:
        """Do what `swapping` does, in one go."""
        return drained(self.swapping())

    def swapping(self) -> Steps[bool]:
        """Put the new cells in place of the old ones, a step for each meter key.

        The live fold must stand where this does until the end. Ids of `refused` are free again; the
        caller owes each of these events a dead letter.
        Return False if nothing was swapped and all events must be fed again from the start: only
        now is it known which groups are admitted, when the next cut is, or which ids are free.
        """
        partition = self.partition
        for name in list(self._names):
            yield from partition.packing.unpacking(name)
        reads_all = self._search is None or self._search.reads_all
        reads_all = reads_all and self.sought_all(self.meter_keys)
        if not (self._recorrection.is_foreseen() and reads_all and self._freed.agree(self.refused)):
            self._freed.widen(self.meter_keys)
            yield from self.beginning()
            return False
        if self._shown_until_ms is not None:
            if partition.standing.shown_until_ms != self._shown_until_ms:
                # What waited was looked at meanwhile, without these routes.
                yield from self.beginning()
                return False
            # One that waits may be of the millisecond of one that these routes are made for.
            for name in self._names:
                partition.standing.look_again(name)
        for meter_key, from_ms in self.dated_from.items():
            if first_kept_ms(partition.packing.route_of(meter_key)) < from_ms:
                # A late event came meanwhile, of a period that had none.
                yield from self.beginning()
                return False
            yield
        if not (yield from self.admitted()):
            return False
        for route in self.routes.values():
            cells = sum(len(layer.cells) for span in route.spans for layer in span.layers.values())
            partition.work.add("refold", "cells", cells)
            for settled in self.group_admission.settle(route):
                if settled is None:
                    yield
                    continue
                cell, is_first = settled
                self.folded.touch(cell)
                if is_first:
                    self._await_pair(cell)
            yield
        self.folded.displaced.clear()
        # They were told when they came.
        self.folded.not_counted = NotCounted()
        self._free_refused()
        # Whatever history records concern was queued before they were in force, so it is in here.
        partition.checkpoint.history_ms = max(partition.checkpoint.history_ms, self._history_ms)
        # Which the cells alone would not tell when none is left.
        partition.checkpoint.generation = partition.routes.next_generation()
        gone: list[SetKey] = []
        for meter_key in self.meter_keys | self.routes.keys():
            keeps = meter_key in self.dated_from or meter_key in self._whole
            whole = self._whole_route(meter_key)
            gone += yield from partition.packing.replacing(meter_key, whole, keeps=keeps)
        partition.members.leave(gone)
        yield from partition.members.replacing(self.members)
        yield from self._recorrection.enforcing()
        self.recorrected |= self._freed.keep()
        if self._search is not None:
            self.recorrected |= self._search.keep()
        if self._anew is not None:
            for meter_key in self.routes:
                self._anew.keep(meter_key)
                yield
        partition.take_folded(self.folded)
        return True

    def _free_refused(self) -> None:
        for identity, entry, _ in self.refused:
            self.partition.index.refuse(identity, entry)
            # Corrections of it are about a copy that may come.
            self.partition.corrections.rows.note_event(identity, came=False)

    def _await_pair(self, cell: GroupCell) -> None:
        """Have the cut taken that may be the first to show too many rows, for a cancelled event.

        An empty state of that cut asks for it, also after a restore.
        """
        layer, span = cell.layer, cell.layer.span
        since_ms = append_time_of(cell.first)
        if not span.fold.spare_groups or since_ms <= layer.due_at_ms:
            return
        cut_ms = span.cut_of(layer, since_ms)
        settled_ms = self.partition.cuts.settled_ms if self._merges else -1
        if layer.revision_of(cut_ms) > settled_ms:
            cell.state_at(cut_ms, span.fold.aggregation)
            self.folded.late.append(cell)
