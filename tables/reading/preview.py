"""Preview: what usage would have been under other definitions, beside the live fold. Pure.

Cells of some subscriptions are folded from events that somebody reads again. The fold uses a branch
of the definitions that holds the change and a history record. At the place where the live fold
stands, the two are compared. Nothing of the live partition is changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple

import msgspec

from app.billing_periods.instants import iso_seconds
from app.bounds.turns import STEP_ITEMS, Steps, in_order
from app.definitions.model import HistoryRecord, Subscription
from app.definitions.periods import NEVER_MS, Period
from app.definitions.timeline import Timeline
from app.definitions.what_if import Branch
from app.meter.evidence import PreviewedCell
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.closing.close import CellShown, cells_shown
from tables.partition.left_out import FROM_THE_FIRST, first_due_ms
from tables.partition.partition import Partition
from tables.partition.refold import Refold
from tables.partition.tables import Carried
from tables.partition.timelines import Timelines
from tables.reading.cell_differences import figure_texts
from tables.routing.period_charges import PeriodCharge


class PreviewScope(NamedTuple):
    """What is previewed, besides periods that are not published."""

    from_ms: int
    to_ms: int
    """Published periods that start in [from_ms, to_ms)."""
    at_ms: int
    """Periods that have begun by then."""


class Preview:
    """Some external subscriptions of one partition under a branch of the definitions."""

    def __init__(
        self,
        partition: Partition,
        branch: Branch,
        names: Iterable[SubscriptionKey],
        scope: PreviewScope,
    ):
        """Take `branch`: what is defined differently, history records included, is its newest.

        Whoever makes it takes the steps of `beginning` before anything is fed.
        """
        self._branch, self._scope = branch, scope
        definitions = branch.definitions
        self.partition = partition
        self.names = sorted(names)
        at_ms = definitions.append_time_ms
        record = msgspec.structs.replace(partition.checkpoint, history_ms=at_ms)
        carried = Carried(
            record,
            partition.event_ranges,
            partition.published,
            partition.corrections,
            instants=partition.instants.decided(),
        )
        self._shadow = Partition(partition.number, definitions, partition.index, carried=carried)
        self.meter_keys = {
            meter_key
            for name in self.names
            for meter_key in partition.event_ranges.meter_keys_of(name)
            if meter_key[2] in branch.codes
        }
        self.refold = Refold(self._shadow, self.meter_keys, begins=False)
        """Is fed the events; once all are, `Refold.admitted` tells whether they come once more."""
        self._repaired = partition.stale.repaired_since(self.names)
        self._corrected = set(filter(partition.corrections.touches, self.names))
        """External subscriptions that corrections are about: all of their events are read."""
        known = len(partition.definitions.history_records)
        self._revising = definitions.history_records[known:]
        """History records of the branch alone: what they name shows everything."""

    def beginning(self) -> Steps[None]:
        """Make routes without cells, and note what need not be read for them, by steps."""
        yield from self.refold.beginning()
        compared_ms: dict[SubscriptionKey, int] = {}
        for meter_key in self.meter_keys:
            name = meter_key[:2]
            if name not in compared_ms:
                compared_ms[name] = self._compared_from(name)
            self.refold.leave_out(meter_key, self._dated_from(meter_key, compared_ms[name]))
            yield

    def _dated_from(self, meter_key: MeterKey, compared_ms: int) -> int:
        """Return since when events are dated that may be in what is compared from an instant on.

        Corrections may date an event anywhere, and of what recurs each is in all periods after it.
        """
        route = self.refold.routes[meter_key]
        corrected = meter_key[:2] in self._corrected
        if corrected or any(span.fold.metric.recurring for span in route.spans):
            return FROM_THE_FIRST
        return compared_ms

    def _compared_from(self, name: SubscriptionKey) -> int:
        """Return the start of the first period that may be compared; NEVER_MS: none is.

        Others are no more when this is done: what is published stays so.
        """
        (from_ms, to_ms, _), done_ms = self._scope, self.partition.checkpoint.cut_ms
        starts_ms = []
        for _, timeline in self._timelines(name):
            published = islice(timeline.after(from_ms - 1), 1)
            starts_ms += [period.start_ms for period in published if period.start_ms < to_ms]
            starts_ms.append(first_due_ms(timeline, done_ms))
        return min(starts_ms, default=NEVER_MS)

    def _timelines(self, name: SubscriptionKey) -> Timelines:
        """Return timelines of the subscriptions that have or had a plan that is changed."""
        changes_any, known = self._branch.changes_any, self.partition.definitions
        return [
            (versions, timeline)
            for versions, timeline in self._shadow.timelines.of(name)
            if changes_any({each.plan_id for each in versions.all()}, known)
        ]

    def differences(self) -> Iterator[list[PreviewedCell] | None]:
        """Yield the cells of each subscription in turn that would be others; None: a step.

        The live fold must stand where the last event was read.
        """
        self._shadow.routes.lend(self.refold.routes)
        for name in self.names:
            if self._has_changed(name):
                continue
            cells: list[PreviewedCell] = []
            for versions, timeline in self._timelines(name):
                for period in timeline.until(self._scope.at_ms):
                    subscription = versions.at(period.fixed_at_ms)
                    if subscription is not None and self._concerns(period):
                        about = name, subscription, timeline, period
                        cells += yield from self._compared(*about)
                    yield None
            yield cells

    @property
    def skipped(self) -> list[MeterKey]:
        """What nothing can be said of now: it is being refolded."""
        return sorted(
            meter_key for meter_key in self.meter_keys if self._has_changed(meter_key[:2])
        )

    def _has_changed(self, name: SubscriptionKey) -> bool:
        """Return whether live cells are others than when this began, or soon will be."""
        stale = self.partition.stale
        if name not in self._corrected and self.partition.corrections.touches(name):
            # It may be of an event that was left out, and of which the live cells know now.
            return True
        codes = self.partition.event_ranges.codes_of(name)
        meter_keys = self.meter_keys.intersection((*name, code) for code in codes)
        if not self.refold.sought_all(meter_keys):
            return True
        return stale.folds_anew(name) or name in self._repaired

    def _concerns(self, period: Period) -> bool:
        scope = self._scope
        if period.due_at_ms >= NEVER_MS > period.fixed_at_ms:
            return False
        return not self._is_published(period) or scope.from_ms <= period.start_ms < scope.to_ms

    def _is_told(
        self, period: Period, revising: Sequence[HistoryRecord], period_charge: PeriodCharge
    ) -> bool:
        """Return whether only the records tell what a period shows of a balance.

        It is open no more, so later events are in the balance alone, until a record of history
        has it show everything.
        """
        charge, metric, *_ = period_charge
        return (
            metric.recurring
            and self._is_published(period)
            and period.carries_until_ms < self.partition.checkpoint.append_time_ms
            and not any(record.names(charge) for record in revising)
        )

    def _is_published(self, period: Period) -> bool:
        return period.due_at_ms <= self.partition.checkpoint.cut_ms

    def _compared(
        self,
        name: SubscriptionKey,
        subscription: Subscription,
        timeline: Timeline,
        period: Period,
    ) -> Steps[list[PreviewedCell]]:
        about = (name, subscription, timeline, period, self._branch.codes)
        is_told = partial(self._is_told, period, ())
        before = yield from _by_id(cells_shown(self.partition, *about, is_told))
        is_told = partial(self._is_told, period, self._revising)
        after = yield from _by_id(cells_shown(self._shadow, *about, is_told))
        found: list[PreviewedCell] = []
        cell_ids = yield from in_order({**before, **after})
        for count, cell_id in enumerate(cell_ids, 1):
            if count % STEP_ITEMS == 0:
                yield
            old, new = before.get(cell_id), after.get(cell_id)
            one = new or old
            if one is None or (old and new and _same_figures(old, new)):
                continue
            charge, metric, *_ = one.period_charge
            bucket = one.charge_filter
            found.append(
                PreviewedCell(
                    external_customer_id=subscription.external_customer_id,
                    external_subscription_id=subscription.external_id,
                    period_from=iso_seconds(period.start_ms),
                    period_to=iso_seconds(period.to_ms),
                    published=self._is_published(period),
                    charge_id=charge.id,
                    charge_code=charge.code,
                    metric_code=metric.code,
                    filters=None if bucket is None else bucket.values,
                    grouped_by=one.grouped_by,
                    before=None if old is None else figure_texts(old.figures),
                    after=None if new is None else figure_texts(new.figures),
                )
            )
        return found


def _by_id(cells: Iterable[CellShown | None]) -> Steps[dict[str, CellShown]]:
    """Return cells by id; None is a step."""
    found: dict[str, CellShown] = {}
    for cell in cells:
        if cell is None:
            yield
        else:
            found[cell.cell_id] = cell
    return found


def _same_figures(old: CellShown, new: CellShown) -> bool:
    """Return whether a cell would not be another; of some the record tells."""
    if old.told or new.told:
        return figure_texts(old.figures) == figure_texts(new.figures)
    return old.figures == new.figures
