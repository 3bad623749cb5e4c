"""Closing: the records of one cut, from the cells and what was published before.

The cut at T of a period is a function of the log prefix at T (records-and-cuts §4). Everything here
is deterministic: the same cut computed again gives the same bytes under the same ids. A cut that is
published already gives nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Set
from itertools import chain
from typing import NamedTuple

from app.definitions.model import ChargeFilter, Plan, Subscription
from app.definitions.periods import NEVER_MS, Period
from app.definitions.terms import Shared
from app.definitions.timeline import Timeline
from app.definitions.versions import Versions
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord
from tables.cells.cell import Span
from tables.cells.figures import CellFigures
from tables.cells.keys import OPEN_CUT_MS
from tables.closing.alerts import triggered
from tables.closing.at_cut import AtCut
from tables.closing.billing import Moved
from tables.closing.daily import daily_at
from tables.closing.period_at_cut import CELLS_A_STEP, PeriodAtCut
from tables.closing.revision import Closing
from tables.partition.cuts import LateLayer
from tables.partition.partition import Partition
from tables.partition.redirection import Renewed
from tables.routing.period_charges import PeriodCharge


class DueNext(NamedTuple):
    """When periods of an external subscription are due next, as was known when it was closed."""

    done_ms: int
    """After this cut."""
    definitions_offset: int
    at_ms: int
    """NEVER_MS: none is."""


def let_go(
    partition: Partition, name: SubscriptionKey, cut_ms: int, *, was_at_hand: bool
) -> DueNext | None:
    """Let an external subscription rest again that did before its cut; return when it is due next.

    None: it was at hand. `was_at_hand`: its timelines were. Nobody else may have had a turn since
    `Packing.as_packed` was cleared, before the cut.
    """
    packed = partition.packing.as_packed.pop(name, ())
    if was_at_hand and not packed:
        return None
    # Its timelines go with that.
    due_ms = partition.timelines.next_due(name, cut_ms)
    if packed:
        partition.packing.pack(name, packed)
    else:
        partition.packing.spare(name)
    return DueNext(cut_ms, partition.definitions.offset, due_ms)


def next_cut(partition: Partition, name: SubscriptionKey, known: DueNext | None = None) -> int:
    """Return when a cut of this external subscription is due next (ms); NEVER_MS: none is known.

    `known`: what spares to make its timelines again, unless it is of another cut or definitions.
    """
    done_ms = partition.checkpoint.cut_ms
    next_ms = min(partition.cuts.next_of(name, done_ms), partition.cuts.next_first_day(name))
    if known is not None and known[:2] == (done_ms, partition.definitions.offset):
        return min(next_ms, known.at_ms)
    return min(next_ms, partition.timelines.next_due(name, done_ms))


def close_subscription(
    partition: Partition, name: SubscriptionKey, cut_ms: int
) -> Iterator[PublishedRecord]:
    """Yield records of every period of an external subscription at one cut, by period start.

    Remembers them as published; the caller writes both.
    """
    return (record for record in closing(partition, name, cut_ms) if record is not None)


def closing(
    partition: Partition, name: SubscriptionKey, cut_ms: int
) -> Iterator[PublishedRecord | None]:
    """Yield what `close_subscription` returns; None is a chance to let others go on, or to flush.

    A cut that ends early, even between two cells of a period, goes on there when it is taken again.
    A cell that already shows what the cut shows then gives no record. A period that has some cells
    of the cut still gives its completion.
    """
    revising: _Revising | None = None
    moved: Moved | None = None
    published = partition.published
    partition.snapshot.note()
    if name in partition.cuts.late.at(cut_ms):
        moved = Moved(partition, name, cut_ms)
        revising = _Revising.of(partition, name, cut_ms, moved)
    partition.work.add("close", "names", 1)
    for count, (subscription, plans, period, earlier, shared) in enumerate(
        _periods_at(partition, name, cut_ms, revising)
    ):
        if count:
            # A history record, or a correction of what recurs, may revise all there ever were.
            yield None
        partition.work.add("close", "periods", 1)
        if published.first_ms == cut_ms == period.due_at_ms:
            published.note_absent((subscription.id, period.start_ms))
        at = AtCut(partition, name, subscription, period, earlier, cut_ms)
        codes = None if revising is None else revising.codes_in(period, cut_ms)
        at_cut = PeriodAtCut(at, moved=moved, plans=plans, shared=shared)
        yield from at_cut.records(codes)
    # A state that is folded anew bills again what was lost, and tells nobody of alerts again.
    if cut_ms > partition.checkpoint.grid_ms:
        if name in partition.cuts.grid.at(cut_ms):
            yield from triggered(partition, name, cut_ms)
        if partition.definitions.settings_at(cut_ms).daily_records:
            yield from daily_at(partition, name, cut_ms)


def _periods_at(
    partition: Partition, name: SubscriptionKey, cut_ms: int, revising: _Revising | None
) -> Iterator[tuple[Subscription, Versions[Plan], Period, Period | None, Shared | None]]:
    """Yield each period that a cut may publish anything of, and the one before it.

    With its subscription, the plan of that through time, and what it shares with others.
    """
    definitions = partition.definitions
    alike = partition.timelines.due_alone(name, cut_ms - 1) if revising is None else None
    if alike is not None:
        one, due, shared = alike
        for period, earlier in due.periods if due.at_ms == cut_ms else ():
            yield one, definitions.plan_versions[one.plan_id], period, earlier, shared
        return
    table = partition.timelines
    if revising is None:
        timelines = table.running(name, cut_ms - 1)
    else:
        timelines = table.of(name) if revising.reopens else table.open(name, cut_ms - 1)
    for versions, timeline in timelines:
        periods = (
            _due_at(timeline, cut_ms) if revising is None else revising.periods(timeline, cut_ms)
        )
        for period, earlier in periods:
            subscription = versions.at(period.fixed_at_ms)
            if subscription is not None:
                yield subscription, definitions.plan_through(versions), period, earlier, None


def _due_at(timeline: Timeline, cut_ms: int) -> Iterable[tuple[Period, Period | None]]:
    """Return the periods that are due at a cut, each with the one before it."""
    due = timeline.next_due(cut_ms - 1)
    return due.periods if due.at_ms == cut_ms else ()


class _Revising(NamedTuple):
    """Which periods a revision cut may revise, beside those that are due at it."""

    times_ms: set[int]
    """Times in those that are final."""
    from_ms: int
    """A time from which on it may revise all, for a correction changed what is carried on."""
    late: Sequence[LateLayer] | None = None
    """Layers of which it shows late events, and nothing else; None: it may revise all periods that
    are not final."""

    @classmethod
    def of(
        cls, partition: Partition, name: SubscriptionKey, cut_ms: int, moved: Moved
    ) -> _Revising:
        """Return what corrections, history records and admitted events have a cut revise."""
        times_ms, from_ms = partition.cuts.reopened(name, cut_ms), NEVER_MS
        if partition.history.reopens(name, cut_ms):
            return cls(set(), -NEVER_MS)
        codes = partition.corrected.revised_codes(name)
        if not codes and not partition.definitions.pays_in_advance(*name):
            return cls(times_ms, from_ms, partition.cuts.layers_at(name, cut_ms))
        times_ms |= moved.by_start.keys()
        for code in codes:
            revised = partition.corrected.revised(name, code, cut_ms)
            revised_ms = {kept.timestamp_ms for kept in revised}
            if partition.definitions.recurs(name[0], code):
                from_ms = min([from_ms, *revised_ms])
            else:
                times_ms |= revised_ms
        return cls(times_ms, from_ms)

    @property
    def reopens(self) -> bool:
        """Whether any period that is final may be revised."""
        return bool(self.times_ms) or self.from_ms < NEVER_MS

    def periods(self, timeline: Timeline, cut_ms: int) -> Iterator[tuple[Period, Period | None]]:
        """Yield the periods that the cut may revise or that are due at it, and those before."""
        if timeline.first is None:
            return
        found = {period.start_ms: period for period in self._open_in(timeline, cut_ms)}
        for period in timeline.within(self.from_ms, cut_ms):
            found[period.start_ms] = period
        for holding in map(timeline.holding, self.times_ms):
            if holding is not None:
                found[holding.start_ms] = holding
        for start_ms, period in sorted(found.items()):
            if period.due_at_ms <= cut_ms:
                yield period, timeline.holding(start_ms - 1)

    def _open_in(self, timeline: Timeline, cut_ms: int) -> Iterable[Period]:
        """Return the periods that are not final and may be revised, and those that are due."""
        if self.late is None:
            return timeline.open_at(cut_ms)
        due = (period for period, _ in _due_at(timeline, cut_ms))
        carried_ms = min((each.start_ms for each in self.late if each.recurs), default=NEVER_MS)
        carried = () if carried_ms >= NEVER_MS else timeline.open_at(cut_ms)
        own = (timeline.holding(each.start_ms) for each in self.late if not each.recurs)
        return chain(
            due,
            (period for period in carried if period.end_ms > carried_ms),
            (period for period in own if period is not None),
        )

    def codes_in(self, period: Period, cut_ms: int) -> set[str] | None:
        """Return the metric codes whose cells the cut may revise in a period; None: of all."""
        if self.late is None or period.due_at_ms == cut_ms:
            return None
        start_ms = period.start_ms
        return {
            each.code
            for each in self.late
            if each.start_ms == start_ms or (each.recurs and each.start_ms < start_ms)
        }


class CellShown(NamedTuple):
    """A cell of a period that is published, or would be if the period closed now."""

    cell_id: str
    period_charge: PeriodCharge
    charge_filter: ChargeFilter | None
    grouped_by: tuple[tuple[str, str | None], ...]
    figures: CellFigures
    told: bool = False
    """Whether its newest record has told the figures, because the cell does not."""


def cells_shown(
    partition: Partition,
    name: SubscriptionKey,
    subscription: Subscription,
    timeline: Timeline,
    period: Period,
    codes: Set[str],
    is_told: Callable[[PeriodCharge], bool] = lambda charge: False,
) -> Iterator[CellShown | None]:
    """Yield what a cut after everything folded so far would publish of a period. Change nothing.

    None is a step. Of metrics of these codes only. `is_told`: of which charges the newest records
    tell the figures, for later events are in the balance and not in the period.
    """
    before = [p for p in timeline.until(period.start_ms) if p.end_ms <= period.start_ms]
    earlier = before[-1] if before else None
    at = AtCut(partition, name, subscription, period, earlier, OPEN_CUT_MS)
    at_cut = PeriodAtCut(at)
    for count, shown in enumerate(at_cut.closings(partition.views.route_of, codes), 1):
        if shown is None or count % CELLS_A_STEP == 0:
            yield None
        if shown is None or is_told(shown.cell.period_charge):
            continue
        if at_cut.qualifies(shown):
            yield _cell_shown(at_cut.identity(shown), shown)
    for told in at_cut.told(partition.views.route_of, codes, is_told):
        if told is None:
            yield None
        elif at_cut.qualifies(told):
            yield _cell_shown(at_cut.identity(told), told, told=True)


def _cell_shown(identity: str, shown: Closing, *, told: bool = False) -> CellShown:
    about = shown.cell.period_charge, shown.cell.charge_filter, shown.cell.grouped_by
    return CellShown(identity, *about, shown.figures, told)


def settle(partition: Partition, cut_ms: int) -> None:
    """Merge what a cut settled, in one go: it is published for the whole partition."""
    for _ in settling(partition, cut_ms):
        pass


def settling(partition: Partition, cut_ms: int) -> Generator[None, None, None]:
    """Merge what a cut settled, in small steps: it is published for the whole partition.

    Events may be folded between two of them. What is left when it ends early the next one merges.
    """
    partition.checkpoint.cut_ms = max(partition.checkpoint.cut_ms, cut_ms)
    yield from partition.corrected.settling(cut_ms)
    settled_ms = partition.cuts.settled_ms
    partition.snapshot.note()
    for name in partition.cuts.due(settled_ms):
        yield from partition.packing.unpacking(name)
        codes = partition.cuts.settled_codes(name, settled_ms)
        # In one order wherever it is done: a set of texts has another in each process.
        ordered = list(partition.event_ranges.codes_of(name)) if codes is None else sorted(codes)
        for code in ordered:
            for span in partition.packing.route_of((*name, code)).spans:
                yield from _settling_span(partition, span, settled_ms)
        partition.cuts.forget(name, settled_ms)
        # Whoever moves cuts asks for those that are followed.
        partition.corrections.followed.settle(name, partition.cuts.settled_ms)
        yield
    yield from partition.cuts.forgetting_instants()
    yield from partition.members.operations.settling(partition.checkpoint.cut_ms)


def entering_history(partition: Partition) -> Generator[Renewed | None, None, None]:
    """Put the next history records in force, now that every cut before them is published.

    No cut before them is taken any more, whatever asks for one later.
    """
    yield from settling(partition, partition.standing.next_history_ms() - 1)
    yield from partition.history.entering()


def _settling_span(partition: Partition, span: Span, settled_ms: int) -> Iterator[None]:
    for layer in list(span.layers.values()):
        for count, cell in enumerate(layer.late_cells(), 1):
            if cell.settle(settled_ms, span.fold.aggregation):
                partition.snapshot.mark(cell)
            if count % CELLS_A_STEP == 0:
                yield
