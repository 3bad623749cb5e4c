"""Regrouping: usage of the running period in other groups, of events with some values alone, or
since the subscription began.

Usage is merged from the cells if they hold what is asked for. Three cases need the events: values
that cells do not tell apart, properties that are active in several cells at once, and periods that
fold otherwise than the running one. The caller then shows the events of the codes in `to_admit`,
and after that those of the codes in `to_read`.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from app.bounds.limits import FULL_USAGE_GROUPS
from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.periods import NEVER_MS
from app.definitions.timeline import FixedPeriods, Timeline
from app.expressions import EvaluationFailed
from app.meter.errors import TooManyGroups
from app.meter.usage import ChargeInForce, PeriodUsage, Regrouping, UsageRow
from app.numbers import group_text
from app.wire.arrivals import Arrival
from tables.breakdown_fold import BreakdownFold
from tables.cells.breakdown import Breakdowns, breakdowns
from tables.cells.cell import Span
from tables.cells.figures import units_so_far
from tables.cells.full_usage import (
    CellName,
    adds_up,
    figures_since,
    holds_since,
    names_since_steps,
    paced,
    states_since,
)
from tables.cells.group_limit import ANY_NUMBER
from tables.cells.keys import SpanKey
from tables.changelogged.members import Members
from tables.charge import ChargeFold
from tables.closing.presented import presented, presenting_span, spans_of
from tables.fold import Folded, apply_members, fold_run
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.partition import Partition
from tables.reading.regrouped_rows import MergedRows, merged_rows
from tables.reading.tracing import TracedArrival
from tables.reading.usage import accrues_until, as_folded, period_shown, row_of
from tables.routing.group_admission import GroupAdmission, impose_live, is_admitted
from tables.routing.route import Route
from tables.values import Overwriter, overwriter, read_of

_NOTHING_SETTLED_MS = -1


class _Refolded(NamedTuple):
    """A charge whose events are read again."""

    in_force: ChargeInForce
    route: Route
    admitting: Route
    """Without cells, open to just the groups that count; the route has other groups, or none."""
    unknown: bool
    """Which groups count is not known before all events were noted."""
    overwrites: Overwriter | None

    @property
    def span(self) -> Span:
        """The span of what is billed; behind it is that of the second fold, if it has one."""
        return self.route.spans[0]


class Regrouped:
    """The running period of one subscription, regrouped, or all periods as the running one."""

    def __init__(self, partition: Partition, usage: PeriodUsage, wanted: Regrouping, at_ms: int):
        self._partition = partition
        self._usage = usage
        self._wanted = wanted
        self._at_ms = at_ms
        subscription = usage.subscription
        self._name = (subscription.organization_id, subscription.external_id)
        self._period = period_shown(partition, usage)
        self._from_ms = subscription.started_at_ms if wanted.full else self._period.start_ms
        self._members = Members(capacity=None)
        self._rows: list[UsageRow] = []
        self._refolded: list[_Refolded] = []
        self._admission = GroupAdmission()
        self._charges = list(usage.charges)

    def merging(self) -> Steps[None]:
        """Merge what the cells tell; afterwards it is known what has to be read."""
        for number, asked in enumerate(self._usage.charges):
            # Definitions that came since the usage was asked for may have it folded otherwise.
            about = self._partition, self._name, self._usage.subscription.id, self._period
            (in_force,) = as_folded((asked,), *about)
            charge = self._wanted.charge(in_force.charge)
            regrouped = self._charges[number] = ChargeInForce(charge, in_force.metric)
            for span in spans_of(*about[:3], in_force, self._period):
                merged = yield from self._merged(in_force, regrouped, span)
                if merged is None:
                    self._refolded.append(self._empty(in_force, regrouped, span))
                else:
                    self._rows += merged

    @property
    def to_admit(self) -> list[str]:
        """Metric codes whose events have to be noted first."""
        return sorted({each.in_force.metric.code for each in self._refolded if each.unknown})

    @property
    def to_read(self) -> list[str]:
        """Metric codes whose events have to be shown."""
        return sorted({refolded.in_force.metric.code for refolded in self._refolded})

    def dated_from_ms(self, code: str) -> int:
        """Return since when events of a metric are dated that have to be shown."""
        metrics = (each.in_force.metric for each in self._refolded)
        carries = any(metric.recurring for metric in metrics if metric.code == code)
        return FROM_THE_FIRST if carries else self._from_ms

    def note(self, traced: TracedArrival) -> None:
        """Note the group of one arrival, which a cancelled one keeps its place in as well."""
        arrival = traced.counted or traced.came
        if arrival is None or not self._from_ms <= arrival.timestamp_ms < self._period.end_ms:
            return
        for refolded in self._refolded:
            if refolded.unknown and refolded.route.code == arrival.event.code:
                self._admission.note(
                    refolded.admitting, arrival.event, arrival.timestamp_ms, arrival.position
                )

    def admitting(self) -> Steps[None]:
        """Open the charges to the groups that have the first events, once all were noted."""
        for number, each in enumerate(self._refolded):
            if each.unknown:
                admitting = yield from self._admission.imposing(each.admitting)
                self._refolded[number] = each._replace(admitting=admitting, unknown=False)

    def feed(self, counted: Arrival) -> None:
        """Fold one arrival that is taken."""
        folded = Folded()
        for refolded in self._refolded:
            code = refolded.in_force.metric.code
            if code == counted.event.code and self._takes(refolded, counted):
                fold_run(refolded.route, (counted,), _NOTHING_SETTLED_MS, self._members, folded)
                self._check(sum(len(layer.cells) for layer in refolded.span.layers.values()))
        apply_members(folded.unique, self._members, _NOTHING_SETTLED_MS, folded)

    def usage(self) -> Steps[PeriodUsage]:
        """Return the usage, once everything was fed."""
        rows = list(self._rows)
        for refolded in self._refolded:
            span = refolded.span
            names = yield from names_since_steps(span, self._period, self._from_ms)
            merging = {name: [name] for name in names}
            found: Breakdowns | None = Breakdowns({}, {})
            for second in refolded.route.spans[1:]:
                whole = self._period._replace(start_ms=self._from_ms)
                found = yield from breakdowns(second, whole, wanted=self._wanted.presented_by)
            rows += yield from self._rows_of(refolded.in_force, span, merging, found)
        return msgspec.structs.replace(
            self._usage, charges=tuple(self._charges), rows=tuple(rows), from_ms=self._from_ms
        )

    def _merged(
        self, in_force: ChargeInForce, regrouped: ChargeInForce, span: Span
    ) -> Steps[list[UsageRow] | None]:
        """Return rows merged from the cells; None when they do not tell."""
        if not holds_since(span, self._from_ms):
            return None
        merging = yield from self._merging(in_force, span)
        if merging is None:
            return None
        for name in paced(span, merging):
            if name is None:
                yield
            elif not adds_up(span, self._period, self._from_ms, merging[name]):
                return None
        parts = yield from self._merged_rows(in_force, regrouped, span)
        if not parts.tells:
            return None
        rows = yield from self._rows_of(regrouped, span, merging, parts.found)
        return rows

    def _merged_rows(
        self, in_force: ChargeInForce, regrouped: ChargeInForce, span: Span
    ) -> Steps[MergedRows]:
        """Return the rows by presentation keys that the cells tell."""
        second = presenting_span(self._partition, in_force, span, self._period)
        if second is None:
            return MergedRows(tells=True, found=Breakdowns({}, {}))
        merged = yield from merged_rows(
            second, in_force.charge, regrouped.charge, self._wanted, self._period, self._from_ms
        )
        return merged

    def _merging(
        self, in_force: ChargeInForce, span: Span
    ) -> Steps[dict[CellName, list[CellName]] | None]:
        """Return new cells with those they are made of; None when a bucket lacks a wanted key."""
        charge, wanted = in_force.charge, self._wanted
        filters = {charge_filter.id: charge_filter for charge_filter in charge.filters}
        merging: dict[CellName, list[CellName]] = {}
        names = yield from names_since_steps(span, self._period, self._from_ms)
        for number, (filter_id, groups) in enumerate(names, 1):
            if number % STEP_ITEMS == 0:
                yield
            bucket = None if filter_id is None else filters.get(filter_id)
            keys = charge.group_keys(bucket)
            if (bucket and bucket.id) != filter_id or len(keys) != len(groups):
                # It cannot be folded anew, and stands as it was folded before.
                return None
            texts = dict(zip(keys, groups, strict=True))
            if not wanted.group.keys() <= texts.keys():
                return None
            if wanted.takes(texts):
                left = tuple(texts[key] for key in wanted.keys(charge, bucket))
                merging.setdefault((filter_id, left), []).append((filter_id, groups))
                self._check(len(merging))
        return merging

    def _check(self, groups: int) -> None:
        """Raise TooManyGroups when all periods have more than one answer shows."""
        if self._wanted.full and groups > FULL_USAGE_GROUPS:
            raise TooManyGroups(f"more than {FULL_USAGE_GROUPS} groups")

    def _rows_of(
        self,
        in_force: ChargeInForce,
        span: Span,
        merging: dict[CellName, list[CellName]],
        found: Breakdowns | None,
    ) -> Steps[list[UsageRow]]:
        rows: list[UsageRow] = []
        for name in paced(span, merging):
            if name is None:
                yield
                continue
            together, so_far = merging[name], None
            figures = yield from figures_since(span, self._period, self._from_ms, together)
            accrued_ms = accrues_until(in_force, self._at_ms)
            if accrued_ms is not None:
                own_ms = self._period.start_ms
                states = yield from states_since(span, self._period, own_ms, together)
                so_far = units_so_far(span.fold, *states, self._period, accrued_ms)
            row = row_of(in_force, *name, figures, so_far)
            rows.append(msgspec.structs.replace(row, presented=presented(found, *name)))
        return rows

    def _empty(self, in_force: ChargeInForce, regrouped: ChargeInForce, live: Span) -> _Refolded:
        metric, unknown = regrouped.metric, not holds_since(live, self._from_ms)
        limits = self._partition.definitions.settings.input_limits()
        whole = self._period._replace(start_ms=self._from_ms, max_groups=ANY_NUMBER)
        key = SpanKey(self._usage.subscription.id, regrouped.charge.id, self._from_ms)
        fold = ChargeFold(regrouped.charge, metric, whole.timezone, limits)
        spans = [Span(self._name, key, fold, FixedPeriods([whole]), NEVER_MS)]
        if presenting_span(self._partition, in_force, live, self._period) is not None:
            second = BreakdownFold(regrouped.charge, metric, whole.timezone, limits)
            limited = whole._replace(max_groups=self._period.max_groups)
            key = key._replace(charge_id=second.charge.id)
            spans.append(Span(self._name, key, second, FixedPeriods([limited]), NEVER_MS))
        return _Refolded(
            regrouped,
            self._route(metric.code, *spans),
            self._unknown(live) if unknown else self._admitting(live),
            unknown and live.fold.grouped,
            overwriter(metric, self._wanted.group, limits),
        )

    def _admitting(self, live: Span) -> Route:
        """Return a route that is open to the groups that have cells."""
        admitting = self._route(live.fold.metric.code, live.emptied())
        impose_live(self._route(live.fold.metric.code, live), admitting)
        return admitting

    def _unknown(self, live: Span) -> Route:
        """Return a route for the groups that there would be if the charge had always been so."""
        key = live.key._replace(start_ms=self._from_ms)
        # Of a copy: a question must not lengthen the timeline that the fold and cuts share.
        timeline = Timeline(live.timeline.terms, published=False)
        return self._route(
            live.fold.metric.code, Span(self._name, key, live.fold, timeline, NEVER_MS)
        )

    def _route(self, code: str, *spans: Span) -> Route:
        return Route(*self._name, code, (), spans)

    def _takes(self, refolded: _Refolded, counted: Arrival) -> bool:
        """Return whether the event counts and has the values that are wanted."""
        layer = refolded.admitting.spans[0].layer_at(counted.timestamp_ms)
        if layer is not None and not is_admitted(layer, counted):
            return False
        if not self._wanted.group:
            return True
        read = read_of(counted)
        properties = read[2]
        if refolded.overwrites is not None:
            try:
                properties = refolded.overwrites(*read)
            except EvaluationFailed:
                return False
        raws = {key: properties.get(key) for key in self._wanted.group}
        return self._wanted.takes(
            {key: None if raw is None else group_text(raw) for key, raw in raws.items()}
        )
