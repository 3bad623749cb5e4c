"""Instants at a cut: the figures of events, and of corrections, that were appended by then.

Each step of a chain is taken in order of position, under the definitions appended until the cut.
What was decided once stays: a cut that is taken again finds it and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple

import msgspec

from app.bounds.at_hand import keep
from app.bounds.turns import Steps, in_order
from app.definitions.periods import NEVER_MS
from app.numbers import ZERO
from app.wire.arrivals import Arrival, MeterKey, Position, SubscriptionKey
from app.wire.usage_records import PublishedRecord, cell_id
from tables.aggregation import Groups
from tables.cells.cell import Span
from tables.cells.keys import SpanKey
from tables.changelogged.instants import InstantTable, StoredChain, StoredFigure
from tables.changelogged.members import MemberKey
from tables.closing.beside import told_of
from tables.closing.instant_records import (
    CELLS_AT_HAND,
    FigureChange,
    InstantRecords,
    subscription_at,
)
from tables.instants.book import Book
from tables.instants.chain import NO_FIGURE, Chain, Figure, take_out
from tables.instants.deciding import CountedInstant, counted_in, decided
from tables.instants.sweep import Sweep
from tables.partition.partition import Partition
from tables.routing.route import Route

STEPS_AT_ONCE = 64
"""Between two chances to let others go on."""
LOOKED_UP_AT_ONCE = 512
"""Events whose figures are looked up together, in some 3 ms."""
_Cell = tuple[Span, int, str | None, Groups]
"""(span, start of the period in ms, filter_id, groups)"""


class Step(NamedTuple):
    """One event, or what a correction makes of one, in the chains that it moves."""

    position: Position
    """Position of the event, or of the correction."""
    name: SubscriptionKey
    identity: bytes
    arrival: Arrival | None
    """The event as it counts; None: it is canceled."""
    corrects: bool


def instants_at(partition: Partition, cut_ms: int) -> Iterator[PublishedRecord | None]:
    """Decide everything that waits for a cut; yield its records, in order; None: a step.

    A flush may come at a step only: what was decided before has all of its records by then.
    """
    # Whoever folds anew may not know that an event came before: its log has lost it.
    checkpoint = partition.checkpoint
    again = partition.instants.may_be_decided(cut_ms, checkpoint.append_time_ms)
    again = again or checkpoint.was_folded_anew
    deciding = Deciding(partition, partition.instants, cut_ms, again=again)
    records = InstantRecords(partition, cut_ms)
    says = partition.definitions.settings_at(cut_ms).fold_version >= 2
    done = list[tuple[SubscriptionKey, Position]]()
    for count, step in enumerate(deciding.in_order(partition.instants.names()), 1):
        if step is not None:
            for change in deciding.take(step) if says else ():
                yield records.record(change)
            if not step.corrects:
                done.append((step.name, step.position))
        if step is None or count % STEPS_AT_ONCE == 0:
            partition.instants.drop(done)
            done.clear()
            yield None
    partition.instants.drop(done)
    yield from _forgetting_corrections(partition, cut_ms)


def _forgetting_corrections(partition: Partition, cut_ms: int) -> Iterator[None]:
    count = 0
    for name, identities in list(partition.instants.corrected.items()):
        done: set[bytes] = set()
        for identity in list(identities):
            if all(
                partition.cuts.grid_cut_of(stored.append_time_ms) <= cut_ms
                for stored in partition.corrections.history(identity)
            ):
                done.add(identity)
            count += 1
            if count % STEPS_AT_ONCE == 0:
                yield None
        partition.instants.forget_corrections(name, done)


def members_wanted(partition: Partition, cut_ms: int) -> Steps[list[MemberKey]]:
    """Return members that `instants_at` will ask for and that the store has to be asked for."""
    deciding = Deciding(partition, partition.instants, cut_ms)
    found = yield from _wanted_by(partition, deciding, partition.instants.names())
    return found


def members_ahead(
    partition: Partition, name: SubscriptionKey, arrival: Arrival | None = None
) -> Steps[list[MemberKey]]:
    """Return members that `chains_ahead` will ask for and that the store has to be asked for.

    `arrival`: an event that would come now.
    """
    if arrival is None and not partition.instants.waits(name):
        return []
    deciding = Deciding(partition, partition.instants, NEVER_MS, partition.views.route_of)
    found = yield from _wanted_by(partition, deciding, [name])
    for _, counted in deciding.places(arrival, groups_known=False) if arrival is not None else ():
        member = counted.member(partition.members)
        if member is not None and deciding.sweep.is_missing(member):
            found.append(member)
    return found


def _wanted_by(
    partition: Partition, deciding: Deciding, names: Iterable[SubscriptionKey]
) -> Steps[list[MemberKey]]:
    wanted: dict[MemberKey, None] = {}
    for step in deciding.steps(names, asking=True):
        yield
        arrival = None if step is None else step.arrival
        for _, counted in deciding.places(arrival) if arrival is not None else ():
            member = counted.member(partition.members)
            if member is not None and deciding.sweep.is_missing(member):
                wanted[member] = None
    return list(wanted)


def chains_ahead(partition: Partition, name: SubscriptionKey) -> Steps[Book]:
    """Return the chains of an external subscription as if a cut decided all that waits now."""
    book = Book(partition.instants)
    if partition.instants.waits(name):
        deciding = Deciding(partition, book, NEVER_MS, partition.views.route_of)
        for step in deciding.in_order([name]):
            if step is not None:
                deciding.take(step)
            yield
    return book


class Deciding:
    """What one cut decides, one step after another."""

    def __init__(
        self,
        partition: Partition,
        book: InstantTable | Book,
        cut_ms: int,
        route_of: Callable[[MeterKey], Route] | None = None,
        *,
        again: bool = True,
    ):
        """Take `book`, which keeps what is decided; `route_of` for who must change no route.

        `again`: events may be decided already.
        """
        self._partition = partition
        self._book = book
        self._cut_ms = cut_ms
        self._again = again
        self.sweep = Sweep(partition.members)
        """What is known of unique counts; steps have to be taken in order of position."""
        self._live = route_of or partition.packing.route_of
        definitions = partition.definitions
        self._as_of_ms = None if cut_ms == NEVER_MS else cut_ms
        limits = definitions.settings.input_limits(self._as_of_ms)
        self._blank_after_ms = limits.blank_after_ms
        self._is_newest = definitions.last_offset_at(cut_ms) == definitions.last_offset_at(NEVER_MS)
        self._routes: dict[MeterKey, Route] = {}
        self._first_cuts: dict[int, int] = {}
        """By append time; of events that are all at hand."""
        self._cells: dict[_Cell, tuple[str, StoredChain]] = {}
        """Ids of cells, and their chains before the first event."""
        self._chains: dict[str, StoredChain] = {}
        """Chains of cells by their ids, as the book has them."""

    def steps(
        self, names: Iterable[SubscriptionKey], *, asking: bool = False
    ) -> Iterator[Step | None]:
        """Yield all that waits for the cut, in no order; None: a chance to let others go on.

        `asking`: without events that surely ask for no member.
        """
        names = list(names)
        waiting = self._waiting(names)
        while some := list(islice(waiting, STEPS_AT_ONCE)):
            yield from self._events(list(filter(self._may_ask, some)) if asking else some)
            yield None
        corrections = chain.from_iterable(map(self._corrections, names))
        for count, step in enumerate(corrections, 1):
            if step is not None:
                yield step
            if count % STEPS_AT_ONCE == 0:
                yield None

    def _waiting(self, names: Iterable[SubscriptionKey]) -> Iterator[Arrival]:
        for name in names:
            # Others may come while this waits for its turn.
            yield from list(self._partition.instants.undecided.get(name, {}).values())

    def _may_ask(self, arrival: Arrival) -> bool:
        """Return False for an event that no unique count takes, also not by a correction."""
        if self._partition.corrections:
            return True
        spans = self._route_of(arrival.meter_key).spans
        return any(span.fold.bills_at_once and span.fold.unique for span in spans)

    def in_order(self, names: Iterable[SubscriptionKey]) -> Iterator[Step | None]:
        """Yield what `steps` does, in order of position; None: a chance to let others go on."""
        found: list[Step] = []
        for step in self.steps(names):
            if step is None:
                yield None
            else:
                found.append(step)
        ordered = yield from in_order(found, attrgetter("position"))
        while some := list(islice(ordered, LOOKED_UP_AT_ONCE)):
            self._book.look_up([step.identity for step in some if self._may_be_decided(step)])
            yield from some

    def _may_be_decided(self, step: Step) -> bool:
        return self._again or step.corrects

    def _events(self, some: Iterable[Arrival]) -> Iterator[Step]:
        """Yield those of some events that are not of a later cut."""
        partition, cut_ms = self._partition, self._cut_ms
        due = [(each, at_ms) for each in some if (at_ms := self._first_cut_of(each)) <= cut_ms]
        identities = [arrival.identity for arrival, _ in due]
        entries = partition.index.find_many(identities)
        corrections = partition.corrections
        for (arrival, first_ms), identity, entry in zip(due, identities, entries, strict=True):
            position = arrival.position
            counts: Arrival | None = arrival
            if entry is None or entry[:4] != position or self._has_passed(first_ms):
                # Another copy of it came earlier, it was refused after all, or no charge counted
                # it when its cut came: then none bills it at once, whatever is defined later.
                counts = None
            for stored in corrections.history(identity) if counts and corrections else ():
                if stored.append_time_ms <= min(first_ms, cut_ms):
                    event = stored.event
                    counts = (
                        None if event is None else msgspec.structs.replace(arrival, event=event)
                    )
            yield Step(position, arrival.name, identity, counts, corrects=False)

    def _first_cut_of(self, arrival: Arrival) -> int:
        """Return the grid cut that decides an event."""
        append_time_ms = arrival.append_time_ms
        cut_ms = self._first_cuts.get(append_time_ms)
        if cut_ms is None:
            cut_ms = self._partition.cuts.grid_cut_of(append_time_ms)
            self._first_cuts[append_time_ms] = cut_ms
        return cut_ms

    def _corrections(self, name: SubscriptionKey) -> Iterator[Step | None]:
        """Yield the corrections of a name; None for an event that this cut does not correct."""
        partition, cut_ms = self._partition, self._cut_ms
        for identity in list(partition.instants.corrected.get(name, ())):
            entry = partition.index.find(identity)
            if entry is None:
                yield None
                continue
            first_ms = partition.cuts.grid_cut_of(entry.append_time_ms)
            later = [
                stored
                for stored in partition.corrections.history(identity)
                if first_ms < stored.append_time_ms
                and partition.cuts.grid_cut_of(stored.append_time_ms) <= cut_ms
            ]
            if not later or self._has_passed(partition.cuts.grid_cut_of(later[-1].append_time_ms)):
                yield None
                continue
            holds, event = later[-1], later[-1].event
            arrival = None if event is None else Arrival(event, name[0], *entry[:5])
            yield Step(holds.position, name, identity, arrival, corrects=True)

    def _has_passed(self, cut_ms: int) -> bool:
        """Return True for a cut before this one; for who looks ahead, before what is published."""
        if self._as_of_ms is None:
            return cut_ms <= self._partition.checkpoint.cut_ms
        return cut_ms < self._as_of_ms

    def places(
        self, arrival: Arrival, *, groups_known: bool = True
    ) -> Iterator[tuple[Span, CountedInstant]]:
        """Yield where an event counts in charges that are paid in advance."""
        for span in self._route_of(arrival.meter_key).spans:
            if span.fold.bills_at_once:
                known = groups_known and self._is_newest
                counted = counted_in(span, arrival, self._blank_after_ms, groups_known=known)
                # A period that was due by the rules of version 1 is billed at its end as a whole.
                if counted is None or counted.period.fold_version <= 1:
                    continue
                living = self._living(span, counted)
                # What was compiled as of the cut has no cells; those that live do know the groups.
                asks = groups_known and living.layer is not counted.layer and living.groups
                if not asks or (living.filter_id, living.groups) in living.layer.cells:
                    yield span, living

    def _route_of(self, meter_key: MeterKey) -> Route:
        route = self._routes.get(meter_key)
        if route is None:
            if self._is_newest:
                route = self._live(meter_key)
            else:
                route = self._partition.routes.compile(meter_key, self._as_of_ms)
            self._routes[meter_key] = route
        return route

    def _living(self, span: Span, counted: CountedInstant) -> CountedInstant:
        """Return the same in the span that has the cells, if definitions have moved on."""
        if self._is_newest:
            return counted
        live = self._live_span(span.name, span.fold.metric.code, span.key)
        if live is None or live.fold.key != span.fold.key:
            return counted
        layer = live.layer_starting(counted.period.start_ms)
        return counted if layer is None else counted._replace(layer=layer)

    def _live_span(self, name: SubscriptionKey, code: str, key: SpanKey) -> Span | None:
        spans = self._live((*name, code)).spans
        return next((span for span in spans if span.key == key), None)

    def take(self, step: Step) -> Iterable[FigureChange]:
        """Take a step; return the figures that it changes, those that it takes out first."""
        figures = self._book.figures(step.identity) if self._may_be_decided(step) else ()
        known = {figure.cell_id: figure for figure in figures}
        if known and not (
            step.corrects and all(figure.decided_ms < self._cut_ms for figure in known.values())
        ):
            # A partition that folds anew comes to what it decided before.
            return ()
        changes: dict[str, FigureChange] = {}
        at = step.position
        if step.corrects:
            at = self._partition.index.find(step.identity).position  # type: ignore[union-attr]
            changes = {f.cell_id: self._taken_out(f, at) for f in known.values() if f.counts}
        for span, counted in self.places(step.arrival) if step.arrival is not None else ():
            change = self._taken_in(span, counted, step, at, known)
            # One that is taken in again comes behind those that are only taken out.
            changes.pop(change.stored.cell_id, None)
            changes[change.stored.cell_id] = change
        if changes:
            now = {cell: change.stored for cell, change in changes.items()}
            self._book.put_figures(step.identity, (known | now).values())
        return changes.values()

    def _taken_out(self, figure: StoredFigure, at: Position) -> FigureChange:
        chain = self._chains.get(figure.cell_id) or self._book.chain(figure.cell_id)
        if chain is None:
            raise LookupError(f"cell {figure.cell_id} has a figure and no chain")
        left = take_out(
            Chain(chain.current, chain.peak, chain.billed),
            Figure(figure.part, figure.units, ZERO, figure.prorated_units),
        )
        stored = msgspec.structs.replace(
            figure,
            part=ZERO,
            units=ZERO,
            prorated_units=None if figure.prorated_units is None else ZERO,
            revision=figure.revision + 1,
            counts=False,
            decided_ms=self._cut_ms,
        )
        now = self._put(figure.cell_id, chain, left)
        gone = NO_FIGURE._replace(prorated_units=stored.prorated_units)
        return FigureChange(stored, figure, gone, now, None, None, None, at)

    def _taken_in(
        self,
        span: Span,
        counted: CountedInstant,
        step: Step,
        at: Position,
        known: dict[str, StoredFigure],
    ) -> FigureChange:
        arrival = counted.arrival
        identity, new = self._cell_of(span, counted)
        before = self._chains.get(identity) or self._book.chain(identity, new.start_ms)
        chain = Chain() if before is None else Chain(before.current, before.peak, before.billed)
        as_of = step.position if step.corrects else None
        chain, figure = decided(counted, chain, self.sweep, as_of)
        previous = known.get(identity)
        stored = StoredFigure(
            identity,
            arrival.event.transaction_id,
            arrival.timestamp_ms,
            figure.part,
            figure.units,
            figure.prorated_units,
            0 if previous is None else previous.revision + 1,
            counts=True,
            decided_ms=self._cut_ms,
        )
        now = self._put(identity, before or new, chain)
        return FigureChange(stored, previous, figure, now, arrival, span, counted.period, at)

    def _cell_of(self, span: Span, counted: CountedInstant) -> tuple[str, StoredChain]:
        """Return the id of a cell, and its chain before its first event."""
        start_ms, filter_id, groups = counted.period.start_ms, counted.filter_id, counted.groups
        key = (span, start_ms, filter_id, groups)
        found = self._cells.get(key)
        if found is None:
            charge, subscription_id = span.fold.charge, span.key.subscription_id
            subscription = subscription_at(self._partition, subscription_id, self._as_of_ms)
            bucket = told_of(charge, span.fold.metric).filter(filter_id)
            keys = charge.group_keys(bucket) if groups else ()
            grouped_by = tuple(zip(keys, groups, strict=False))
            identity = cell_id(subscription, charge.id, filter_id, grouped_by, start_ms)
            new = StoredChain(
                subscription_id,
                charge.id,
                filter_id,
                grouped_by,
                start_ms,
                ZERO,
                ZERO,
                ZERO,
                self._cut_ms,
            )
            found = keep(self._cells, key, (identity, new), CELLS_AT_HAND)
        return found

    def _put(self, identity: str, known: StoredChain, chain: Chain) -> StoredChain:
        now = StoredChain(
            known.subscription_id,
            known.charge_id,
            known.filter_id,
            known.grouped_by,
            known.start_ms,
            chain.current or ZERO,
            chain.peak or ZERO,
            chain.billed,
            self._cut_ms,
        )
        keep(self._chains, identity, now, CELLS_AT_HAND)
        self._book.put_chain(identity, now)
        return now
