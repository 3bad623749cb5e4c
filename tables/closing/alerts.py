"""Alerts at a grid cut: which are looked at again, what their metric comes to, what they cross."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from decimal import Decimal
from functools import cached_property

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.model import Alert, Metric
from app.numbers import ZERO, plain
from app.wire.alert_records import alert_record
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord
from tables.cells.cell import Span
from tables.cells.full_usage import full_figures_steps
from tables.cells.grids import told_until
from tables.changelogged.evaluations import Evaluation
from tables.closing.at_cut import AtCut
from tables.closing.period_at_cut import CELLS_A_STEP
from tables.crossing import crossed
from tables.lifetime_fold import lifetime_id
from tables.partition.partition import Partition
from tables.partition.timelines import Timelines
from tables.routing.period_charges import charges_in_force

ALERTS_A_STEP = 16


def triggered(
    partition: Partition, name: SubscriptionKey, cut_ms: int
) -> Iterator[PublishedRecord | None]:
    """Yield the messages of a cut, and note what was looked at; None: a step.

    Everything is as of the cut: whatever came after it is as if it had not come yet.
    """
    definitions = partition.definitions
    alerts = list(definitions.alerts.of(name, cut_ms))
    for versions, timeline in _timelines_at(partition, name, cut_ms) if alerts else ():
        subscription = versions.at(cut_ms)
        if subscription is None or subscription.status_at(cut_ms) != "active":
            continue
        period = timeline.holding(max(cut_ms, subscription.started_at_ms))
        if period is not None:
            at_cut = _AlertsAtCut(AtCut(partition, name, subscription, period, None, cut_ms))
            for count, alert in enumerate(alerts, 1):
                yield from at_cut.evaluate(alert)
                if count % ALERTS_A_STEP == 0:
                    yield None


def _timelines_at(partition: Partition, name: SubscriptionKey, cut_ms: int) -> Timelines:
    later = partition.definitions.has_commands_after(cut_ms)
    return partition.timelines.of(name, cut_ms if later else None)


def forgetting_alerts(partition: Partition, name: SubscriptionKey) -> Steps[None]:
    """Drop what alerts came to that no cut looks at any more, and no query shows, by steps.

    It is that of deleted alerts, and of ended subscriptions whose external id another one has.
    """
    evaluations, alerts = partition.evaluations, partition.definitions.alerts
    done_ms, later = partition.checkpoint.grid_done_ms, set[str]()
    alert_ids = list[str]()
    for count, alert_id in enumerate(alerts.by_name.ids(name), 1):
        alert_ids.append(alert_id)
        if count % STEP_ITEMS == 0:
            yield
    for versions in reversed(list(partition.definitions.subscriptions(*name))):
        newest, subscription_id = versions.at(), next(versions.all()).id
        is_over = newest is None or newest.status_at(done_ms) != "active"
        for count, alert_id in enumerate(alert_ids, 1):
            if (subscription_id, alert_id) in evaluations.rows:
                changes = alerts.versions[alert_id]
                is_deleted = changes.at() is None and (
                    partition.cuts.grid_cut_of(changes.changes[-1]) <= done_ms
                )
                if is_deleted or (is_over and alert_id in later):
                    evaluations.drop((subscription_id, alert_id))
                later.add(alert_id)
            if count % STEP_ITEMS == 0:
                yield


class _AlertsAtCut:
    """The alerts of one subscription at one cut."""

    def __init__(self, at: AtCut):
        self._partition, self._name, self._subscription, self._period, _, self._cut_ms = at

    def evaluate(self, alert: Alert) -> Iterator[PublishedRecord | None]:
        """Look at one alert, if anything may have changed; yield its message, and steps."""
        cut_ms, start_ms = self._cut_ms, self._start_of(alert)
        evaluations, known_as = self._partition.evaluations, (self._subscription.id, alert.id)
        before = evaluations.rows.get(known_as)
        metric = self._partition.definitions.metric_by_id(alert.metric_id, cut_ms)
        if metric is None or (before is not None and before.cut_ms >= cut_ms):
            return
        yield from self._partition.packing.unpacking(self._name)
        # An event touches the alerts of its metric, of hundreds.
        if not (yield from self._is_touched(alert, metric)):
            return
        charge_ids = self._charge_ids.get(metric.id)
        if charge_ids is None:
            return
        current = yield from self._value(alert, metric, charge_ids, cut_ms)
        previous = ZERO
        if before is not None and before.start_ms == start_ms:
            previous = Decimal(before.units)
        elif before is None and self._is_lost(alert):
            previous = yield from self._value(alert, metric, charge_ids, cut_ms - 1)
        evaluations.put(known_as, Evaluation(start_ms, plain(current), cut_ms))
        reached = crossed(alert.thresholds, previous, current)
        if reached:
            yield alert_record(
                alert,
                self._subscription,
                metric.code,
                start_ms,
                (previous, current),
                reached,
                cut_ms,
            )

    def _is_lost(self, alert: Alert) -> bool:
        """Return whether an evaluation that went before this one may be lost."""
        made_ms = self._partition.definitions.alerts.versions[alert.id].changes[0]
        first_ms = max(self._start_of(alert), self._partition.cuts.grid_cut_of(made_ms))
        return first_ms <= self._partition.checkpoint.evaluations_lost_ms

    @cached_property
    def _charge_ids(self) -> Mapping[str, Set[str]]:
        """Charges in force, by their metric."""
        definitions, found = self._partition.definitions, dict[str, set[str]]()
        plans = definitions.plan_of(self._subscription.id)
        for charge, metric in charges_in_force(definitions, plans, None, self._cut_ms):
            found.setdefault(metric.id, set()).add(charge.id)
        return found

    def _spans(self, metric: Metric) -> list[Span]:
        route = self._partition.packing.route_of((*self._name, metric.code))
        subscription_id = self._subscription.id
        return [
            span
            for span in route.spans
            if span.key.subscription_id == subscription_id and not span.fold.by_day
        ]

    def _start_of(self, alert: Alert) -> int:
        """Return since when its value counts (ms)."""
        return self._subscription.started_at_ms if alert.is_of_life else self._period.start_ms

    def _value(
        self, alert: Alert, metric: Metric, charge_ids: Set[str], at_ms: int
    ) -> Steps[Decimal]:
        """Return the greatest of the units that cells of the metric show; 0 without cells."""
        greatest = self._greatest_of_life if alert.is_of_life else self._greatest
        value = yield from greatest(metric, charge_ids, at_ms)
        return value

    def _greatest_of_life(self, metric: Metric, charge_ids: Set[str], at_ms: int) -> Steps[Decimal]:
        lifetime_ids, greatest = {lifetime_id(charge_id) for charge_id in charge_ids}, ZERO
        for span in self._spans(metric):
            if span.key.charge_id in lifetime_ids:
                since_ms = span.key.start_ms
                found = yield from full_figures_steps(span, self._period, since_ms, at_ms)
                greatest = max([greatest, *(figures.units for figures in (found or {}).values())])
        return greatest

    def _greatest(self, metric: Metric, charge_ids: Set[str], at_ms: int) -> Steps[Decimal]:
        period, greatest = self._period, ZERO
        for span in self._spans(metric):
            if span.key.charge_id not in charge_ids or not (
                span.key.start_ms <= period.start_ms < span.end_ms
            ):
                continue
            for count, (filter_id, groups) in enumerate(span.cells_of(period), 1):
                units = span.figures(period, filter_id, groups, at_ms).units
                greatest = max(greatest, units)
                if count % CELLS_A_STEP == 0:
                    yield
        return greatest

    def _is_touched(self, alert: Alert, metric: Metric) -> Steps[bool]:
        """Return whether anything that the cut decides may have changed the value."""
        cut_ms, definitions = self._cut_ms, self._partition.definitions
        if any(map(self._is_decided, definitions.alerts.versions[alert.id].changes)):
            return True
        if self._is_corrected(metric) or self._is_redefined(metric):
            return True
        for span in self._spans(metric):
            layers = list(span.layers.values())
            cells = (cell for layer in layers for cell in layer.late_cells())
            for count, cell in enumerate(cells, 1):
                if cell.late is not None and cut_ms in cell.late:
                    return True
                if count % CELLS_A_STEP == 0:
                    yield
        return False

    def _is_decided(self, append_time_ms: int) -> bool:
        """Return whether it is the cut at which what was appended then is decided."""
        return self._partition.cuts.grid_cut_of(append_time_ms) == self._cut_ms

    def _is_corrected(self, metric: Metric) -> bool:
        revised = self._partition.corrected.revised(self._name, metric.code, self._cut_ms)
        return any(self._is_decided(kept.since_ms) for kept in revised)

    def _is_redefined(self, metric: Metric) -> bool:
        """Return whether a definition that the cut decides makes other cells of the metric."""
        cut_ms, definitions = self._cut_ms, self._partition.definitions
        grids = definitions.close_grids_ms(cut_ms)
        longest_ms = max(each_ms for _, each_ms in grids)
        defined_ms = definitions.times_after_ms(cut_ms - longest_ms, cut_ms)
        before_ms = next((at_ms for at_ms in defined_ms if self._is_decided(at_ms)), 0) - 1
        if before_ms < 0:
            return False
        compiled, meter_key = self._partition.routes.compile, (*self._name, metric.code)
        reach, told_ms = (self._period.end_ms - 1, cut_ms), told_until(cut_ms, grids)
        before, after = (compiled(meter_key, at_ms).priced() for at_ms in (before_ms, told_ms))
        return not before.leads_like(after, *reach)
