"""One period of a subscription at one cut: its cells, which of them it publishes, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from functools import cached_property
from heapq import heappop, heappush
from itertools import chain

from msgspec.structs import replace

from app.definitions.model import Charge, ChargeFilter, Plan
from app.definitions.periods import ceil_to
from app.definitions.terms import Shared
from app.definitions.versions import Versions
from app.wire.arrivals import MeterKey
from app.wire.usage_records import (
    ARREARS,
    RECORD_IDS,
    Envelope,
    PublishedRecord,
    RevisionReason,
    completion_record,
    owner_named,
)
from tables.aggregation import Groups
from tables.cells.cell import Span
from tables.cells.figures import NO_FIGURES, CellFigures
from tables.cells.forgotten import has_forgotten
from tables.cells.keys import OPEN_CUT_MS
from tables.changelogged.packed_rows import Place
from tables.changelogged.published_period import PublishedCell, PublishedCellKey, PublishedPeriod
from tables.closing.at_cut import AtCut
from tables.closing.beside import ToldOfAll, beside, spans_named, told_of
from tables.closing.billing import (
    Moved,
    billed_at_once,
    ends_unpublished,
    is_taken_again,
    may_be_carried_on,
)
from tables.closing.looked import Looked
from tables.closing.packed_period import closings_of, shown_of
from tables.closing.period_before import PeriodBefore
from tables.closing.reasons import Reasons
from tables.closing.revision import CellsAlike, Closing, ClosingCell, figures_told, next_revision
from tables.routing.period_charges import PeriodCharge, PeriodCharges
from tables.routing.route import Route

CELLS_A_STEP = 64
"""Between two chances to let others go on."""
CHARGES_A_STEP = 8
"""The same: one without cells takes time, too."""

_UNPUBLISHED = PublishedPeriod()


_Change = tuple[Closing, PublishedCell | None, RevisionReason | None]
"""A cell that a cut may revise, as it was published last, and why."""


class PeriodAtCut:
    """One period of a subscription at one cut."""

    def __init__(
        self,
        at: AtCut,
        *,
        moved: Moved | None = None,
        plans: Versions[Plan] | None = None,
        shared: Shared | None = None,
    ):
        """Take `moved`: for all periods of the cut; `plans`: the plan through time, of who has it.

        `shared`: what others have the period, too.
        """
        self.partition, self.name, self.subscription, self.period, _, self.cut_ms = self._at = at
        before = self.partition.published.find((self.subscription.id, self.period.start_ms))
        self.before = before or _UNPUBLISHED
        self.charges = self.partition.routes.charges_of(self.subscription, self.period, plans)
        self._envelopes: dict[int, Envelope] = {}
        self._owner_named = owner_named(self.subscription)
        self._of_cut = moved
        self._shared = shared
        self._period_before = PeriodBefore(at)
        self._looked: Looked | None = None
        """What the cut looks at; None: whoever reads looks at all."""

    def records(self, codes: Set[str] | None = None) -> Iterator[PublishedRecord | None]:
        """Yield what the cut publishes, by cell id, and note it as published; None: a step.

        `codes`: of metrics of other codes it shows nothing new.
        """
        published, plan = self.partition.published, self.charges.plan
        period, period_name = self.period, (self.subscription.id, self.period.start_ms)
        if self._was_taken or plan is None:
            return
        if self.before.sums is not None:
            # To read that many took a while, and so does it to find which ones are to be shown.
            yield None
        revision = self.before.revision + 1
        completes = revision == 0 or self.before.is_half_taken(self.cut_ms)
        heap: list[tuple[str, int, _Change]] = []
        count = 0
        closings: Iterable[Closing | None] | None = self._few_packed()
        if closings is None and self._has_any:
            self._looked = Looked(self._at, self._moved)
            yield from self.partition.packing.unpacking(self.name)
            closings = self._closings(self.partition.packing.route_of, codes)
        for count, found in enumerate(closings or (), 1):
            if found is not None and (change := self._change_of(found)) is not None:
                heappush(heap, (self.identity(found), count, change))
            if found is None or count % CELLS_A_STEP == 0:
                yield None
        if count:
            self.partition.work.add("close", "cells", count)
        while heap:
            identity, count, (shown, known, reason) = heappop(heap)
            entry, record = self._revision(plan, identity, shown, known, reason)
            if record is not None and entry is not None:
                completes = True
                published.put_cell(period_name, shown.cell.name, entry)
                yield record
            elif count % CELLS_A_STEP == 0:
                yield None
        if completes:
            now = published.put_completion(period_name, revision, self.cut_ms)
            as_of_ms = max(period.fixed_at_ms, self.charges.as_of_ms)
            envelope = self._envelope(plan, as_of_ms)
            told = revision, len(now.cells), now.digest
            yield completion_record(envelope, self._owner_named, *told)
        if self._looked is not None:
            self._looked.told()

    @property
    def _was_taken(self) -> bool:
        """Whether all of the cut was taken: a state that is lost in a later one takes it again."""
        is_first = self.partition.published.first_ms == self.cut_ms or self.before is _UNPUBLISHED
        was_later = not is_first and self.before.is_ahead(self.cut_ms)
        return was_later or self.before.cut_ms >= self.cut_ms

    def _few_packed(self) -> list[Closing] | None:
        """Return the cells of a period that ends, as they are packed; None: routes tell them."""
        partition, period, charges = self.partition, self.period, self.charges
        if self.before is not _UNPUBLISHED or self.cut_ms != period.due_at_ms:
            return None
        cells = partition.packing.few_cells(self.name, self.subscription.id, CELLS_A_STEP)
        if cells is None:
            return None
        shared = self._shared
        timeline = None if shared is None else shared.timeline
        shown = charges.alike(
            ("shown", timeline, period.start_ms, period.timezone),
            lambda: shown_of(partition.routes, self.name, charges, period, timeline),
        )
        alike = CellsAlike.of(charges, self._at)
        return closings_of(alike, period, shown, shared, cells, self._period_before)

    def to_come(
        self, codes: Set[str] | None = None
    ) -> Iterator[tuple[Closing, RevisionReason | None] | None]:
        """Yield what the cut would publish: a cell with its figures, and why it is revised.

        The reason of a new cell is None. None is a step. Nothing is changed. `codes`: only of
        metrics of these codes.
        """
        plan = self.charges.plan
        if self._was_taken or plan is None:
            return
        for found in self.closings(self.partition.views.route_of, codes):
            change = None if found is None else self._change_of(found)
            if change is None:
                yield None
                continue
            shown, known, reason = change
            identity = self.identity(shown)
            entry, _ = self._revision(plan, identity, shown, known, reason)
            if entry is None:
                yield None
            else:
                yield shown, reason

    def identity(self, shown: Closing) -> str:
        """Return the id of a cell."""
        return RECORD_IDS.of(self._owner_named + shown.cell.named)

    def _revision(
        self,
        plan: Plan,
        identity: str,
        shown: Closing,
        known: PublishedCell | None,
        reason: RevisionReason | None,
    ) -> tuple[PublishedCell | None, PublishedRecord | None]:
        """Return the next revision of a cell, None when it would say nothing new."""
        charge, metric, as_of_ms, _ = shown.cell.period_charge
        instants, billing = self.partition.instants, ARREARS
        if charge.is_billed_at_once(metric) and self.period.fold_version > 1:
            billing = billed_at_once(instants, metric, identity, self.period.start_ms)
        again = known is not None and is_taken_again(
            instants, identity, self.cut_ms, self.period.start_ms
        )
        envelope = self._envelope(plan, as_of_ms)
        return next_revision(envelope, identity, shown, billing, known, reason, again)

    def _change_of(self, found: Closing) -> _Change | None:
        """Return what may have to be published of a cell; None: it neither is nor was shown."""
        known = self.before.cells.get(found.cell.name)
        # Decide the reason first: below, a cell that no longer qualifies loses figures and events.
        reason = None if known is None else self._reason(found, known)
        if self.qualifies(found):
            return found, known, reason
        if known is None:
            return None
        if found.cell.period_charge.metric.recurring and self._period_before.is_ahead(found):
            # The cut was taken before, and what the cell came to was told then.
            return None
        return replace(found, figures=NO_FIGURES, beside=None), known, reason

    def _envelope(self, plan: Plan, as_of_ms: int) -> Envelope:
        envelope = self._envelopes.get(as_of_ms)
        if envelope is None:
            envelope = self._envelopes[as_of_ms] = self._at.envelope(plan, as_of_ms)
        return envelope

    def closings(
        self, route_of: Callable[[MeterKey], Route], codes: Set[str] | None = None
    ) -> Iterator[Closing | None]:
        """Yield every cell of the period: cells of the tables, then published cells now gone.

        `route_of`: a cut makes the routes, a reader takes views of them. `codes`: only metrics of
        these codes. None is a step.
        """
        return self._closings(route_of, codes) if self._has_any else iter(())

    @property
    def _has_any(self) -> bool:
        """Whether it may have cells, or had any."""
        return bool(self.before.cells) or self.partition.routes.may_have_any(self.name)

    def _closings(
        self, route_of: Callable[[MeterKey], Route], codes: Set[str] | None
    ) -> Iterator[Closing | None]:
        charges, period = self.charges, self.period
        shows_all, own_cut = self._shows_all, self._own_cut
        alike = CellsAlike.of(charges, self._at)
        # Python makes such types anew each time that it runs over `set[str]()`.
        seen: set[PublishedCellKey] = set()
        followed: set[str] = set()
        passed: set[str] = set()
        for number, (period_charge, told_of_all) in enumerate(charges.made_of(told_of, codes), 1):
            charge, metric, *_ = period_charge
            if number % CHARGES_A_STEP == 0:
                yield None
            if metric.recurring and self._is_left_out(period_charge):
                continue
            until_ms = self.cut_ms if shows_all else self._shown_until_ms(period_charge)
            if until_ms is None:
                passed.add(charge.id)
                continue
            meter_key = (*self.name, metric.code)
            if not self.partition.routes.may_have_cells(meter_key):
                continue
            _, has_more, filters = told_of_all
            route = route_of(meter_key)
            for span in self._spans_of(charge, route):
                if has_forgotten(span, period):
                    # It is final: what could revise it has had it refolded.
                    passed.add(charge.id)
                    continue
                if not own_cut:
                    if not self._revised_before(span):
                        continue
                    followed.add(charge.id)
                told, changed = None, self._changed_in(span)
                if has_more:
                    about = charge, metric, period, until_ms
                    told = yield from beside(route, span, *about, changed)
                    # What is said beside a cell changes with it. Of too many rows none is told.
                    changed = None if charge.presents and told.found is None else changed
                if changed is not None:
                    passed.add(charge.id)
                names = span.cells_of(period) if changed is None else changed
                if metric.recurring and changed is None:
                    names.update(dict.fromkeys(self._period_before.closed(charge, filters)))
                bills_shares = period.fold_version > 1 and span.fold.charge.prorated
                for filter_id, groups in names:
                    place = charge.id, filter_id, groups
                    cell = alike.cells.get(place)
                    if cell is None:
                        cell = self._cell(alike, span, period_charge, told_of_all, place)
                    seen.add(cell.name)
                    figures = span.figures(period, filter_id, groups, until_ms)
                    if bills_shares:
                        figures = figures.billed(in_advance=span.fold.in_advance)
                    yield Closing(cell, figures, told)
        left = set(self.before.charge_ids()) - passed
        if codes is not None:
            left &= charges.ids_of(codes)
        if not left:
            return
        for count, name in enumerate(self.before.names(), 1):
            if count % CELLS_A_STEP == 0:
                yield None
            if name in seen or name[0] not in left or not (own_cut or name[0] in followed):
                continue
            yield from self._published_cell(name, NO_FIGURES, codes)

    def _cell(
        self,
        alike: CellsAlike,
        span: Span,
        period_charge: PeriodCharge,
        told_of_all: ToldOfAll,
        place: Place,
    ) -> ClosingCell:
        """Return a cell of a span that is not at hand."""
        charges, charge, (_, filter_id, groups) = self.charges, period_charge.charge, place
        bucket, keys, is_alike = None, told_of_all.default_keys, True
        if filter_id is not None:
            bucket = told_of_all.filter(filter_id)
            if bucket is None:
                # What others have there may be of another version.
                bucket, is_alike = _before(charges, span, filter_id), False
            keys = charge.group_keys(bucket)
        keys = charges.keys_that_fit(charge, filter_id, groups, keys)
        cell = alike.make(place, period_charge, bucket, keys)
        return alike.keep(place, cell) if is_alike else cell

    def _changed_in(self, span: Span) -> dict[tuple[str | None, Groups], None] | None:
        """Return the cells of a span that may show anything new; None: all of them may."""
        return None if self._looked is None else self._looked.changed_in(span)

    def _spans_of(self, charge: Charge, route: Route) -> Iterator[Span]:
        """Return the spans of a charge that hold the period."""
        reached = route.reached(self.period.start_ms)
        return spans_named(reached, self.subscription.id, charge.id, self.period)

    def _published_cell(
        self, cell: PublishedCellKey, figures: CellFigures, codes: Set[str] | None
    ) -> Iterator[Closing]:
        """Yield a published cell with some figures, if there is its charge."""
        charges = self.charges
        last = charges.last(cell[0])
        if last is not None and (codes is None or last.metric.code in codes):
            about = last, charges.filter_of(cell[0], cell[1]), charges.keys_of(cell)
            yield Closing(ClosingCell.of(cell, *about, self.period.start_ms), figures)

    def told(
        self,
        route_of: Callable[[MeterKey], Route],
        codes: Set[str],
        is_told: Callable[[PeriodCharge], bool],
    ) -> Iterator[Closing | None]:
        """Yield published cells as their newest records tell them; None is a step.

        They are those whose state is forgotten, and those of charges that `is_told` names.
        """
        gone = {each.charge.id for each in self.charges.in_force if is_told(each)}
        gone |= {
            span.key.charge_id
            for charge, metric, *_ in self.charges.in_force
            if metric.code in codes
            for span in self._spans_of(charge, route_of((*self.name, metric.code)))
            if has_forgotten(span, self.period)
        }
        if not gone:
            return
        for count, (name, cell) in enumerate(self.before.cells.items(), 1):
            if count % CELLS_A_STEP == 0:
                yield None
            if name[0] in gone:
                yield from self._published_cell(name, figures_told(cell), codes)

    @property
    def _own_cut(self) -> bool:
        """Whether it is a cut of this period; others show what comes from periods before it."""
        cut_ms, period = self.cut_ms, self.period
        return cut_ms in (period.due_at_ms, OPEN_CUT_MS) or cut_ms % period.revise_every_ms == 0

    @property
    def _shows_all(self) -> bool:
        """Whether the cut shows what was appended until then, whatever it is of."""
        cut_ms, period = self.cut_ms, self.period
        return cut_ms in (OPEN_CUT_MS, period.due_at_ms) or cut_ms <= period.carries_until_ms

    def _shown_until_ms(self, period_charge: PeriodCharge) -> int | None:
        """Return up to when appended events a later cut shows; None: earlier ones have shown all.

        Events of a recurring metric that came after the period was open are in its balance, and
        only later periods show them. Those of a metric that was gone by then are of no metric. A
        correction or a history record has the cut show everything.
        """
        cut_ms, period, metric = self.cut_ms, self.period, period_charge.metric
        open_until_ms = period.carries_until_ms
        known = self.partition.definitions.metric_by_id(metric.id, open_until_ms)
        if (known is not None and not metric.recurring) or self._is_recounted(period_charge):
            return cut_ms
        last_ms = ceil_to(open_until_ms, period.revise_every_ms)
        merged = self.partition.cuts.settled_ms > open_until_ms
        if cut_ms > last_ms or merged:
            return None
        return open_until_ms if metric.recurring else cut_ms

    def _is_recounted(self, period_charge: PeriodCharge) -> bool:
        """Return True if the cut is the first that shows a correction or history record."""
        charge, metric, *_ = period_charge
        if self.charges.named_since(charge, self._reasons.known_ms):
            return True
        fold = self.partition.routes.fold_of(charge, metric, self.period.timezone)
        return bool(self._reasons.corrected_in(fold))

    def _revised_before(self, span: Span) -> bool:
        """Return True for a cut of an earlier period's cells: a balance shows those at once."""
        if not span.fold.metric.recurring:
            return False
        late = (
            (layer, late_ms)
            for layer in span.layers.values()
            for cell in (layer.cells.values() if self._looked is None else layer.late_cells())
            for late_ms in cell.late or ()
        )
        corrected = (
            (layer, kept.since_ms)
            for kept in self._reasons.corrections(span.fold.metric.code)
            if not kept.place_only or span.fold.gives_places
            if (layer := span.layer_at(kept.timestamp_ms)) is not None
        )
        return any(
            layer.start_ms < self.period.start_ms and layer.revision_of(at_ms) == self.cut_ms
            for layer, at_ms in chain(late, corrected)
        )

    def _is_left_out(self, period_charge: PeriodCharge) -> bool:
        """Return whether the next period carries a charge on, after an upgrade, or it just ends."""
        charge, metric, as_of_ms, _ = period_charge
        about = self.subscription, charge
        if may_be_carried_on(*about, self.period) and metric.id in self._carried_on_at(as_of_ms):
            return True
        return ends_unpublished(*about, metric, self.period)

    @cached_property
    def _carried_on(self) -> dict[int, frozenset[str]]:
        return {}

    def _carried_on_at(self, as_of_ms: int) -> frozenset[str]:
        """Return recurring metrics of an upgrade's next plan too: the next period carries them."""
        if as_of_ms not in self._carried_on:
            self._carried_on[as_of_ms] = frozenset(self._following_metrics(as_of_ms))
        return self._carried_on[as_of_ms]

    def _following_metrics(self, as_of_ms: int) -> Iterator[str]:
        definitions, at_ms = self.partition.definitions, self.period.fixed_at_ms
        following = definitions.subscription_by_id(self.subscription.replaced_by or "", at_ms)
        while following is not None and following.end_ms == following.started_at_ms:
            # It ended in the very millisecond of the upgrade, so no period of it carries anything.
            following = definitions.subscription_by_id(following.replaced_by or "", at_ms)
        if following is None:
            return
        plan = definitions.plan_of(following.id).last_before_deletion(as_of_ms)
        for charge in plan.charges if plan else ():
            metric = definitions.metric_by_id(charge.metric_id, as_of_ms)
            if metric is not None and metric.recurring:
                yield metric.id

    def qualifies(self, closing: Closing) -> bool:
        """Return True if a cell is published at all (records-and-cuts §4)."""
        figures = closing.figures
        if not closing.cell.period_charge.metric.recurring:
            return figures.counts
        return figures.shows or self._period_before.closes(closing)

    @cached_property
    def _moved(self) -> Moved:
        return self._of_cut or Moved(self.partition, self.name, self.cut_ms)

    @cached_property
    def _reasons(self) -> Reasons:
        return Reasons(self._at, self._moved)

    def _reason(self, closing: Closing, known: PublishedCell) -> RevisionReason:
        """Return why the cut revises a cell."""
        return self._reasons.of(closing, known, self.charges)


def _before(charges: PeriodCharges, span: Span, filter_id: str) -> ChargeFilter:
    """Return a bucket of cells of before: a history record comes into force, and somebody reads.

    Or they cannot be folded anew.
    """
    known = told_of(span.fold.charge, span.fold.metric).filter(filter_id)
    return known or charges.filter_before(span.key.charge_id, filter_id)
