"""One home partition: everything of its subscriptions, as a pure fold of the logs.

It knows no Kafka, Redis, clock or web. The shell feeds it arrivals and definitions, writes what
`taking_changes` hands out in one transaction, and asks it for figures between slices. Its state
depends on how far each log is applied, not on how the reading interleaved. If a definition changes
anything for events already folded, they are refolded (`tables.partition.refold`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps, batches, drained, in_steps
from app.bounds.work_done import WorkDone
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.kernel import by_literals, fold_led
from app.kernel.twin import Operations
from app.wire.arrivals import Arrival, Run, SubscriptionKey
from tables.cells.cell import Alone, Cell
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.members import MemberKey, Members, SetKey
from tables.changelogged.presence import REST, EventRanges
from tables.changelogged.presence_table import EventRangesTable
from tables.charge import Literals, place_named
from tables.event_index.index import EventIndex
from tables.event_index.rows import ROW_BYTES
from tables.fold import Folded, apply_members, fold_run, members_wanted, operate
from tables.not_counted import NotCounted, Reason
from tables.partition.at_hand import AtHand
from tables.partition.changed import Changed
from tables.partition.copies import NO_COPIES, Copies, Duplicate
from tables.partition.corrected import Corrected
from tables.partition.cuts import CutsToCome
from tables.partition.earlier_copies import EarlierCopies
from tables.partition.history import History
from tables.partition.intake import Intake, Led, RefusedArrival
from tables.partition.packing import Packing
from tables.partition.redefinition import Redefinition
from tables.partition.redirection import Redirection
from tables.partition.route_table import RouteTable
from tables.partition.snapshot import Changes, Snapshot, SomeRows, rows_of
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Carried, Tables
from tables.partition.timelines import TimelineTable
from tables.partition.views import Views
from tables.registry import AGGREGATIONS
from tables.routing.route import LateRoute, Route

UNIQUE = tuple(name for name, each in AGGREGATIONS.items() if each.reads == "operation")
"""Aggregation types that have members."""

Operated = tuple[Route, Cell, SetKey | None, Operations]
"""Operations of a run: how they were led, and the cell and set of members they fall into."""


class Slice(NamedTuple):
    """What folding a slice came to, besides changed cells."""

    accepted: int
    refused: list[RefusedArrival]
    duplicates: list[Duplicate]


class Straight(NamedTuple):
    """What folding straight came to, besides changed cells."""

    accepted: int
    rest: list[Run]
    """What is to be folded closely."""
    missing: list[MemberKey]
    """Members that must be learnt before; if there are any, nothing is folded."""
    copies: Copies
    """What was known already."""


class Partition:
    """State of one partition and the operations on it. Synchronous, single-threaded."""

    def __init__(
        self,
        number: int,
        definitions: Definitions,
        index: EventIndex,
        members: Members | None = None,
        carried: Carried | None = None,
        work: WorkDone | None = None,
    ):
        carried = carried or Carried()
        self.work = work or WorkDone()
        self.number = number
        self.definitions = definitions
        self.index = index
        self.checkpoint = carried.checkpoint
        self.event_ranges = carried.event_ranges or _event_ranges(definitions, self.checkpoint)
        self.published = carried.published
        self.corrections = carried.corrections
        self.evaluations = carried.evaluations
        self.instants = carried.instants
        self.members = members or Members(operations=self.instants.operations)
        self.daily = carried.daily
        tables = Tables(
            definitions,
            index,
            self.members,
            self.checkpoint,
            self.event_ranges,
            self.published,
            self.corrections,
            self.evaluations,
            self.instants,
            self.daily,
            self.work,
        )
        self.stale = Staleness()
        self.at_hand = AtHand()
        self.timelines = TimelineTable(definitions, self.at_hand)
        self.cuts = CutsToCome(tables, self.timelines, carried.is_home)
        self.standing = Standing(definitions, self.checkpoint)
        self.snapshot = Snapshot(tables)
        self.routes = RouteTable(
            tables, self.snapshot, self.standing, self.timelines, self.at_hand, self.stale
        )
        self.packing = Packing(tables, self.snapshot, self.standing, self.routes, self.stale)
        self.views = Views(tables, self.standing, self.routes, self.packing)
        self.changed = Changed(tables, self.routes)
        self.corrected = Corrected(tables, self.cuts, self.packing, self.changed)
        self.intake = Intake(tables, self.routes, self.packing, self.corrected)
        self.earlier_copies = EarlierCopies(
            tables, self.cuts, self.packing, self.snapshot, self.stale, self.standing, self.changed
        )
        self.redirection = Redirection(
            tables, self.standing, self.routes, self.packing, self.stale, carried
        )
        self.redefinition = Redefinition(
            tables,
            self.corrected,
            self.standing,
            self.routes,
            self.packing,
            self.redirection,
            self.cuts,
            self.changed,
        )
        self.history = History(
            tables, self.cuts, self.standing, self.routes, self.packing, self.redirection
        )
        self.ignored: Counter[Reason] = Counter()
        self.not_counted = NotCounted()

    @property
    def settings(self) -> SettingsRecord:
        """The settings in force now."""
        return self.definitions.settings_at()

    def missing_members(self, runs: Iterable[Run]) -> list[MemberKey]:
        """Return members that must be learnt before the slice can be folded."""
        unknown: dict[MemberKey, None] = {}
        by_type, members = self.definitions.metric_index.codes_of_type, self.members
        counted = list(self._counted_runs(runs) if self.corrections else runs)
        for codes in (by_type[each] for each in UNIQUE if each in by_type):
            for meter_key, arrivals in counted:
                if meter_key[2] in codes:
                    names = members_wanted(self.packing.route_of(meter_key), arrivals, members)
                    unknown.update((n, None) for n in names if members.is_missing(n))
        return list(unknown)

    def _counted_runs(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Yield runs, and whatever corrections that are known already may make of their events.

        Not what they make of them now: folding an event decides which of them are in force.
        """
        for meter_key, arrivals in runs:
            yield meter_key, arrivals
            if not self.corrections.awaits(meter_key[:2]):
                continue
            for arrival in arrivals:
                for stored in self.corrections.history(arrival.identity):
                    event = stored.event
                    if event is not None:
                        yield (*meter_key[:2], event.code), (replace(arrival, event=event),)

    def fold(self, runs: Iterable[Run]) -> Slice:
        """Fold a slice, straight and closely. What `WaitForDefinitions` stops may come again."""
        straight = self.fold_straight(list(runs))
        first = self.fold_first(straight.rest)
        closely = self.fold_closely(first.rest)
        return closely._replace(
            accepted=straight.accepted + first.accepted + closely.accepted,
            duplicates=[
                *straight.copies.duplicates(),
                *first.copies.duplicates(),
                *closely.duplicates,
            ],
        )

    def fold_straight(self, runs: list[Run]) -> Straight:
        """Fold the runs whose events are new and lead straight into a cell, as most do."""
        led = self.intake.lead(runs, self.members.complete)
        missing = self.missing_members(led.unsure) if led.unsure else []
        return Straight(0, runs, missing, NO_COPIES) if missing else self._fold_led(led, ())

    def fold_first(self, runs: list[Run]) -> Straight:
        """Fold the first events of meter keys that lead straight into a new cell, as most do.

        Their routes are compiled here, if they are not yet.
        """
        first = self.intake.aimed(runs, self.members)
        if not first:
            return Straight(0, runs, [], NO_COPIES)
        led = self.intake.lead(runs, self.members.complete, first)
        return self._fold_led(led, first.values())

    def _fold_led(self, led: Led, first: Iterable[Route]) -> Straight:
        """Fold what leads straight into a cell. `first`: routes that have no event, or had none."""
        if not (led.routes or led.late or led.known):
            for route in first:
                route.lose_aim()
            return Straight(0, led.rest, [], NO_COPIES)
        if self.changed.notes:
            for route, (_, run) in zip(led.routes, led.runs, strict=True):
                self.changed.note_run(route, run, self._noted_in(route))
        for route, (_, run) in led.farther:
            noted = self._noted_in(route)
            # One that is new is marked.
            if noted.note(run) and noted.written:
                self.event_ranges.mark(route.meter_key, noted)
            route.reach()
        folded, operations = Folded(), list[Operated]()
        fold = folded.dirty, operations, place_named, self.members.complete
        unread, odd = fold_led(led.routes, led.runs, *fold)
        for route in first:
            route.keep_cell()
        if unread or odd:
            led = led.without(self._left_odd(led, unread, odd))
        if led.late:
            self._fold_beside(led, folded, operations)
        if self.definitions.plan_index.in_advance:
            for route, (_, run) in zip(led.routes, led.runs, strict=True):
                if route.bills_at_once:
                    folded.billed_at_once += run
        for route, cell, set_key, found in operations:
            if set_key is not None:
                cut_ms = 0
                if isinstance(route, LateRoute) and isinstance(cell, Alone):
                    cell, cut_ms = cell.own, route.cut_ms
                operate(cell, cut_ms, set_key, found, self.members, folded)
        self.index.add_rows(led.rows)
        known = self.intake.copies(led)
        apply_members(folded.unique, self.members, self.cuts.settled_ms, folded)
        copies, closely = self.earlier_copies.take_runs(known, folded)
        self.take_folded(folded)
        accepted = len(led.rows) // ROW_BYTES
        self.work.add("fold", "index_rows", accepted)
        self.work.add("fold", "cells", len(folded.dirty))
        return Straight(accepted, [*led.rest, *closely], [], copies)

    def _fold_beside(self, led: Led, folded: Folded, operations: list[Operated]) -> None:
        """Fold runs that lead to several spans into the others, and have a flush write all."""
        beside, runs = list[Route](), list[Run]()
        if any(late.beside for late in led.late):
            for route, run in zip(led.routes, led.runs, strict=True):
                if isinstance(route, LateRoute):
                    beside += route.beside
                    runs += [run] * len(route.beside)
        more = folded.dirty, operations, place_named, self.members.complete
        if beside and fold_led(beside, runs, *more) != ([], []):
            raise AssertionError("what one charge of a metric reads, the others do")
        dirty, folded.dirty = folded.dirty, []
        for cell in dirty:
            if isinstance(cell, Alone):
                cell.dirty, cell = False, cell.own
                if cell.dirty:
                    continue
                cell.dirty = True
            folded.dirty.append(cell)

    def _left_odd(
        self, led: Led, unread: Iterable[int], odd: Iterable[tuple[int, list[Literals]]]
    ) -> set[int]:
        """Return the places, among all events, of those that were not folded."""
        ends, left = led.ends, set[int]()
        for number in unread:
            left.update(range(ends[number] - len(led.runs[number][1]), ends[number]))
        for number, literals in odd:
            (_, run), parting = led.runs[number], led.routes[number].parting
            names = () if parting is None else parting.fold.place_names
            first = ends[number] - len(run)
            left.update(
                first + place
                for place in range(len(run))
                if any(one in literals for one in by_literals(run[place : place + 1], names))
            )
        return left

    def fold_closely(self, runs: Sequence[Run]) -> Slice:
        """Fold a slice. Raises `WaitForDefinitions` before anything is changed."""
        if not runs:
            return Slice(0, [], [])
        settled_ms, intake, members = self.cuts.settled_ms, self.intake, self.members
        changed, event_ranges = self.changed if self.changed.notes else None, self.event_ranges
        taken, ids, rows, refused = intake.admit(runs)
        stored = self.index.find_many(ids)
        folded = Folded()
        duplicates: list[Duplicate] = []
        if any(stored) or len(set(ids)) < len(ids) or self.corrections:
            taken, rows = intake.only_new(taken, ids, rows, stored, duplicates, folded)
        for route, run in taken:
            noted = self._noted_in(route)
            if changed is not None:
                changed.note_run(route, run, noted)
            # One that is new is marked.
            if noted.note(run) and noted.written:
                event_ranges.mark(route.meter_key, noted)
            if fold_run(route, run, settled_ms, members, folded):
                route.aim()
            else:
                self._note_unrouted(route, run, folded)
        event_ranges.note_early(copy.arrival for copy in duplicates)
        self.index.add_rows(rows)
        apply_members(folded.unique, members, settled_ms, folded)
        earlier = intake.take_earlier()
        if earlier:
            folded.unique = []
            if changed is not None:
                # What was noted of the later copies only a refold takes back.
                folded.displaced.update(copy.arrival.meter_key for copy in earlier)
            self.earlier_copies.take(earlier, folded)
        self.take_folded(folded)
        accepted = len(rows) // ROW_BYTES
        self.work.add("fold", "index_rows", accepted)
        self.work.add("fold", "cells", len(folded.dirty))
        return Slice(accepted, refused, duplicates)

    def _noted_in(self, route: Route) -> EventRanges:
        """Return the entry that says where the events of a route lie, made at the first of them."""
        noted = route.event_ranges
        if noted is None:
            name = (route.organization_id, route.external_subscription_id)
            is_counted = bool(route.spans)
            noted = self.event_ranges.entry_of(name, route.code, is_counted=is_counted)
            route.event_ranges = noted
        return noted

    def take_folded(self, folded: Folded) -> None:
        """Remember what a fold changed, for the next flush and for the cuts to come."""
        self.snapshot.mark_folded(folded.dirty)
        if folded.ignored:
            self.ignored += folded.ignored
            self.not_counted.take(folded.not_counted)
        if folded.displaced:
            self.stale.displace(folded.displaced)
        if folded.late:
            self.cuts.expect_late(folded.late)
        # Very many are appended at one time.
        by_append_time = defaultdict[int, list[Arrival]](list)
        for arrival in folded.billed_at_once:
            by_append_time[arrival.append_time_ms].append(arrival)
        for append_time_ms, arrivals in by_append_time.items():
            cut_ms = self.cuts.grid_cut_of(append_time_ms)
            if cut_ms > self.checkpoint.billed_ms:
                self.cuts.expect_instants(self.instants.add(arrivals), cut_ms)

    def _note_unrouted(self, route: Route, run: Sequence[Arrival], folded: Folded) -> None:
        """Count what no charge was asked about, by the reason."""
        for arrival in run:
            timestamp_ms = arrival.timestamp_ms
            priced = (span for span in route.spans if span.fold.prices)
            if all(span.layer_at(timestamp_ms) is None for span in priced):
                folded.ignore(self.unrouted(route, arrival), arrival)

    def unrouted(self, route: Route, arrival: Arrival) -> Reason:
        """Return why no charge of a route is asked about an event."""
        organization_id, _, code = route.meter_key
        if self.definitions.metric(organization_id, code) is None and not route.spans:
            return "unknown_code"
        if not route.timelines:
            return "outside_periods" if route.spans else "unknown_subscription"
        for timeline in route.timelines:
            if timeline.holding(arrival.timestamp_ms) is not None:
                return "no_charge"
        starts_ms = (t.terms[0].subscription.active_from_ms for t in route.timelines if t.terms)
        if min(starts_ms, default=-1) > arrival.append_time_ms:
            return "pending"
        return "outside_periods"

    def refolding(self, organization_id: str, external_id: str) -> bool:
        """Return whether figures of an external subscription may not show all definitions yet."""
        name = (organization_id, external_id)
        if self.stale.includes(name) or self.standing.is_behind(name):
            return True
        searched_for = self.redefinition.is_searched_for(organization_id)
        return searched_for and REST[:2] in self.stale.names

    def close(self) -> None:
        """Let go of its files on local disk."""
        self.index.close()
        self.published.close()
        self.instants.close()

    def take_changes(self) -> Changes:
        """Return what changed since the last flush; advance `checkpoint` to describe it."""
        return drained(self.taking_changes())

    def taking_changes(self) -> Steps[Changes]:
        """Do `take_changes` by small steps; nothing may be folded or swapped between them."""
        return self.snapshot.taking_changes()

    def rows_of(self, changes: Changes) -> Iterator[SomeRows]:
        """Yield changelogs with some of their changes each, but for those of the index.

        Raises:
            TooLargeForChangelog: no changelog would take one of them.
        """
        return rows_of(changes, self.routes.spans)

    def loaded(self) -> Steps[None]:
        """Make ready what was loaded, now that it is all there; nothing is asked for meanwhile."""
        self.event_ranges.loaded()
        yield from self.packing.packing_loaded()
        yield from self.corrections.loaded(self.index.find_many)

    def restored(self) -> Steps[bool]:
        """Return, by small steps, whether counts and hash sums of what was `loaded` agree.

        Then `announcing` makes cuts to come known again, but for what alerts wait for: whoever
        looks at all of its subscriptions has these announced.
        """
        self.not_counted.since_ms = self.checkpoint.append_time_ms
        self.standing.note_restored()
        self.redefinition.search_for_all()
        if not self.snapshot.is_whole():
            return False
        yield from in_steps(self.checkpoint.leaving, self.members.leave)
        known = self.definitions.subscription_versions
        for some in batches(list(self.packing.late), STEP_ITEMS):
            if not all(map(known.__contains__, some)):
                return False
            yield
        return True

    def announcing(self) -> Steps[None]:
        """Have the cuts taken that a restored state waits for, by small steps."""
        yield from self.cuts.expect_undecided()
        yield from self.history.announcing()
        yield from self.cuts.announcing_days()
        yield from self.changed.loaded()
        yield from self._announcing_late()

    def _announcing_late(self) -> Steps[None]:
        """Have the revision cuts taken that restored cells wait for, one subscription at a time."""
        while self.packing.late:
            versions = self.definitions.subscription_versions[self.packing.late.pop()]
            subscription = next(versions.all())
            name = (subscription.organization_id, subscription.external_id)
            yield from self.packing.unpacking_all(name)
            yield from self._expecting_cuts(name)
            yield
            yield from self.packing.packing(name)

    def _expecting_cuts(self, name: SubscriptionKey) -> Steps[None]:
        """Remember the revision cuts that cells of an external subscription wait for."""
        for code in self.event_ranges.codes_of(name):
            for span in self.packing.route_of((*name, code)).spans:
                for layer in list(span.layers.values()):
                    for count, cell in enumerate(list(layer.cells.values()), 1):
                        self.cuts.remember(cell)
                        if count % STEP_ITEMS == 0:
                            yield


def _event_ranges(definitions: Definitions, checkpoint: Checkpoint) -> EventRangesTable:
    # Nothing in it may lead back to the partition, which is let go of without the collector.
    is_defined = partial(_is_defined, definitions)
    begin_rest = partial(_rest, definitions, checkpoint)
    return EventRangesTable(is_defined, begin_rest)


def _is_defined(definitions: Definitions, name: SubscriptionKey, code: str) -> bool:
    """Return whether anything is or was defined that may count events of a name."""
    return definitions.was_ever_known(*name, code)


def _rest(definitions: Definitions, checkpoint: Checkpoint) -> EventRanges:
    """Return what is known of undefined names not kept one by one, before the first is."""
    checkpoint.searched_ms = definitions.append_time_ms
    return EventRanges(raw_first=checkpoint.raw_next, rekeyed_first=checkpoint.rekeyed_next)
