"""Regrouping: usage of the running period in other groups, or of events with some values alone.

Usage is merged from the cells if they hold what is asked for. The events are needed for values that
cells do not tell apart, and for properties that are active in several groups at once. The caller
then feeds the events of the codes in `to_read`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from app.definitions.timeline import NEVER_MS, FixedPeriods
from app.expressions import EvaluationFailed
from app.meter.usage import ChargeInForce, PeriodUsage, Regrouping, UsageRow
from app.numbers import group_text
from app.wire.arrivals import Arrival
from app.wire.properties import read_properties
from tables.aggregation import Groups
from tables.cells.cell import Span
from tables.cells.group_limit import ANY_NUMBER
from tables.cells.keys import SpanKey
from tables.changelogged.members import Members
from tables.charge import ChargeFold
from tables.fold import Folded, apply_members, fold_run
from tables.partition.partition import Partition
from tables.reading.usage import accrues_until, period_shown, row_of, spans_of
from tables.routing.group_admission import impose_live, is_admitted
from tables.routing.route import Route
from tables.values import Overwriter, overwriter

_NOTHING_SETTLED_MS = -1

_CellName = tuple[str | None, Groups]


class _Refolded(NamedTuple):
    """A charge whose events are read again."""

    in_force: ChargeInForce
    route: Route
    admitting: Span
    """Without cells, open to just the groups that count; the route has other groups, or none."""
    overwrites: Overwriter | None

    @property
    def span(self) -> Span:
        """The one span there is."""
        return self.route.spans[0]


class Regrouped:
    """The running period of one subscription, regrouped."""

    def __init__(self, partition: Partition, usage: PeriodUsage, wanted: Regrouping, at_ms: int):
        self._partition = partition
        self._usage = usage
        self._wanted = wanted
        self._at_ms = at_ms
        subscription = usage.subscription
        self._name = (subscription.organization_id, subscription.external_id)
        self._period = period_shown(partition, usage)
        self._members = Members(capacity=None)
        self._rows: list[UsageRow] = []
        self._refolded: list[_Refolded] = []
        self._charges = tuple(
            ChargeInForce(wanted.charge(c.charge), c.metric) for c in usage.charges
        )
        for in_force, regrouped in zip(usage.charges, self._charges, strict=True):
            merged = self._merged(in_force, regrouped)
            if merged is None:
                self._refolded.append(self._empty(regrouped, self._admitting(in_force)))
            else:
                self._rows += merged

    @property
    def to_read(self) -> list[str]:
        """Metric codes whose events have to be shown."""
        return sorted({refolded.in_force.metric.code for refolded in self._refolded})

    def feed(self, counted: Arrival) -> None:
        """Fold one arrival that is taken."""
        folded = Folded()
        for refolded in self._refolded:
            code = refolded.in_force.metric.code
            if code == counted.event.code and self._takes(refolded, counted):
                fold_run(refolded.route, (counted,), _NOTHING_SETTLED_MS, self._members, folded)
        apply_members(folded.unique, self._members, _NOTHING_SETTLED_MS, folded)

    def usage(self) -> PeriodUsage:
        """Return the usage, once everything was fed."""
        rows = list(self._rows)
        for refolded in self._refolded:
            names = [(name, [name]) for name in refolded.span.cells_of(self._period)]
            rows += self._rows_of(refolded.in_force, refolded.span, names)
        return msgspec.structs.replace(self._usage, charges=self._charges, rows=tuple(rows))

    def _merged(self, in_force: ChargeInForce, regrouped: ChargeInForce) -> list[UsageRow] | None:
        """Return rows merged from the cells; None when they do not tell."""
        rows: list[UsageRow] = []
        for span in self._spans_of(in_force):
            names = self._merging(in_force, span)
            if names is None or (
                span.fold.unique and any(len(together) > 1 for together in names.values())
            ):
                return None
            rows += self._rows_of(regrouped, span, list(names.items()))
        return rows

    def _merging(
        self, in_force: ChargeInForce, span: Span
    ) -> dict[_CellName, list[_CellName]] | None:
        """Return new cells with those they are made of; None when a bucket lacks a wanted key."""
        charge, wanted = in_force.charge, self._wanted
        filters = {charge_filter.id: charge_filter for charge_filter in charge.filters}
        merging: dict[_CellName, list[_CellName]] = {}
        for filter_id, groups in span.cells_of(self._period):
            bucket = None if filter_id is None else filters[filter_id]
            texts = dict(zip(charge.group_keys(bucket), groups, strict=True))
            if not wanted.group.keys() <= texts.keys():
                return None
            if wanted.takes(texts):
                left = tuple(texts[key] for key in wanted.keys(charge, bucket))
                merging.setdefault((filter_id, left), []).append((filter_id, groups))
        return merging

    def _rows_of(
        self,
        in_force: ChargeInForce,
        span: Span,
        names: list[tuple[_CellName, list[_CellName]]],
    ) -> Iterator[UsageRow]:
        accrued_ms = accrues_until(in_force, self._at_ms)
        for (filter_id, groups), together in names:
            figures = span.figures_together(self._period, together)
            so_far = None
            if accrued_ms is not None:
                so_far = span.units_so_far(self._period, together, accrued_ms)
            yield row_of(in_force, filter_id, groups, figures, so_far)

    def _admitting(self, in_force: ChargeInForce) -> Span:
        (live,) = self._spans_of(in_force)
        code = in_force.metric.code
        admitting = Route(*self._name, code, (), (live.emptied(),))
        impose_live(Route(*self._name, code, (), (live,)), admitting)
        return admitting.spans[0]

    def _spans_of(self, in_force: ChargeInForce) -> Iterator[Span]:
        subscription_id = self._usage.subscription.id
        return spans_of(self._partition, self._name, subscription_id, in_force, self._period)

    def _empty(self, regrouped: ChargeInForce, admitting: Span) -> _Refolded:
        period, metric = self._period, regrouped.metric
        limited_after_ms = self._partition.definitions.limited_after_ms()
        span = Span(
            self._name,
            SpanKey(self._usage.subscription.id, regrouped.charge.id, period.start_ms),
            ChargeFold(regrouped.charge, metric, period.timezone, limited_after_ms),
            FixedPeriods([period._replace(max_groups=ANY_NUMBER)]),
            NEVER_MS,
        )
        route = Route(*self._name, metric.code, (), (span,))
        return _Refolded(
            regrouped, route, admitting, overwriter(metric, self._wanted.group, limited_after_ms)
        )

    def _takes(self, refolded: _Refolded, counted: Arrival) -> bool:
        """Return whether the event counts and has the values that are wanted."""
        layer = refolded.admitting.layer_at(counted.timestamp_ms)
        if layer is not None and not is_admitted(layer, counted):
            return False
        if not self._wanted.group:
            return True
        properties = read_properties(counted.event.properties)
        if refolded.overwrites is not None:
            try:
                properties = refolded.overwrites(
                    counted.event.code, counted.timestamp_ms, properties, counted.append_time_ms
                )
            except EvaluationFailed:
                return False
        raws = {key: properties.get(key) for key in self._wanted.group}
        return self._wanted.takes(
            {key: None if raw is None else group_text(raw) for key, raw in raws.items()}
        )
