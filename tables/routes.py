"""From (organization, external_subscription_id, code) to the cells that an event of it reaches.

A route is compiled from the definitions and kept until one of them touches it. Its *spans* are the
runs of consecutive periods of one subscription in which one charge folds alike: same metric, same
filters, same groups. A period that is due keeps the definitions it was due under, so an edit ends a
span and begins the next; of a recurring metric each span holds all history before it as well.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from app.definitions.model import (
    ALL_FILTER_VALUES,
    Charge,
    ChargeFilter,
    HistoryRecord,
    Metric,
    Plan,
    Subscription,
)
from app.definitions.state import Definitions
from app.definitions.timeline import NEVER_MS, Period, Timeline, ceil_to
from app.definitions.versions import Versions
from app.expressions import (
    NO_BUDGET,
    EvaluationFailed,
    Expression,
    TooCostly,
    parse,
    result_text,
    result_value,
)
from app.limits import EXPRESSION_UNITS, VALUE_BYTES
from app.numbers import ZERO, InvalidValue, canonical, parse_value, property_text
from tables.aggregation import Aggregation, Groups
from tables.cells import Span, SpanKey
from tables.in_force import PeriodCharges, charges_in_force, covering
from tables.not_counted import Reason
from tables.presence import Presence
from tables.registry import AGGREGATIONS

Properties = Mapping[str, msgspec.Raw]


class Ignored(NamedTuple):
    """Why an event does not count for a charge: a code for trace and explain."""

    reason: Reason


class Value(NamedTuple):
    """What an event brings to one aggregation."""

    number: Decimal
    """0 where the type needs none."""
    text: str
    """unique_count: the property text."""
    adds: bool
    digest_text: str
    """The value as the digest names it (records-and-cuts §11)."""


class Bucket(NamedTuple):
    """A filter of a charge, or its default bucket (`filter_id` None)."""

    filter_id: str | None
    conditions: tuple[tuple[str, frozenset[str]], ...]
    group_keys: tuple[str, ...]


class ChargeFold:
    """How one charge folds events, compiled from the charge and its metric."""

    __slots__ = (
        "_overwrites",
        "aggregation",
        "applies",
        "buckets",
        "charge",
        "counts_after_ms",
        "default_bucket",
        "grouped",
        "key",
        "limited_after_ms",
        "metric",
        "plain",
        "properties",
        "read_value",
        "unique",
        "units",
    )

    def __init__(
        self, charge: Charge, metric: Metric, timezone: str, limited_after_ms: int = NEVER_MS
    ):
        self.charge = charge
        self.metric = metric
        self.limited_after_ms = limited_after_ms
        """Events appended later keep to the limits of `app.limits`."""
        self.counts_after_ms = metric.counts_after_ms
        self.default_bucket = Bucket(None, (), charge.group_keys(None))
        self.buckets = _buckets(charge, metric)
        self.grouped = any(bucket.group_keys for bucket in (*self.buckets, self.default_bucket))
        self.plain = not self.buckets and not self.default_bucket.group_keys
        self.aggregation = aggregation_for(metric, charge.prorated, timezone)
        self.unique = self.aggregation.reads == "operation"
        self.applies = type(self.aggregation).apply is not Aggregation.apply
        """Whether the state keeps more of an event than that it was."""
        self.read_value = _value_reader(metric, limited_after_ms)
        buckets = (*self.buckets, self.default_bucket)
        self.properties = _properties_read(metric, buckets)
        self._overwrites = overwriter(
            metric,
            {key for b in buckets for key in (*b.group_keys, *(key for key, _ in b.conditions))},
            limited_after_ms,
        )
        self.units = 0 if not metric.expression else parse(metric.expression).units
        """What evaluating its expression costs for one event, at least."""
        if self._overwrites:
            # Once for the value and once for the place.
            self.units *= 2
        self.key = (
            metric.id,
            metric.code,
            metric.aggregation_type,
            metric.field_name,
            metric.expression,
            metric.recurring,
            metric.counts_after_ms,
            metric.rounding_function,
            metric.rounding_precision,
            charge.prorated,
            timezone if charge.prorated else None,
            self.buckets,
            self.default_bucket,
        )

    @property
    def limited(self) -> bool:
        """Whether any limit of `app.limits` is about what it reads."""
        return self.unique or self.grouped or bool(self.metric.expression)

    def place_of(
        self, code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> tuple[str | None, Groups] | None:
        """Filter id and groups of the cell that an event which has a value belongs to.

        None if a value that it is grouped by is too long.
        """
        if self._overwrites is not None:
            properties = self._overwrites(code, timestamp_ms, properties, append_time_ms)
        bucket = self._bucket_of(properties)
        # A missing property and an empty text are the same null group.
        groups = tuple(_text(properties, key) or None for key in bucket.group_keys)
        if append_time_ms > self.limited_after_ms:
            for text in groups:
                if text is not None and _is_long(text):
                    return None
        return bucket.filter_id, groups

    def cell_of(
        self, code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> tuple[str | None, Groups] | None:
        """The same of any event; None if it has no value as well."""
        value = self.read_value(code, timestamp_ms, properties, append_time_ms)
        if isinstance(value, Ignored):
            return None
        return self.place_of(code, timestamp_ms, properties, append_time_ms)

    def _bucket_of(self, properties: Properties) -> Bucket:
        """The one bucket an event belongs to: most keys, fewest values, oldest; else the default.

        `buckets` is in that order, so the first match decides (metering-semantics §4.8).
        """
        for bucket in self.buckets:
            if all(_text(properties, key) in values for key, values in bucket.conditions):
                return bucket
        return self.default_bucket


def aggregation_for(metric: Metric, prorated: bool, timezone: str) -> Aggregation[Any]:
    """The aggregation of a metric as a charge uses it."""
    made = AGGREGATIONS[metric.aggregation_type]
    return made(recurring=metric.recurring, prorated=prorated, timezone=timezone)


def _buckets(charge: Charge, metric: Metric) -> tuple[Bucket, ...]:
    """The filters in the order in which they claim events."""
    allowed = {f.key: f.values for f in metric.filters}

    def bucket(charge_filter: ChargeFilter) -> Bucket:
        conditions = tuple(
            (key, frozenset(allowed.get(key, ()) if ALL_FILTER_VALUES in values else values))
            for key, values in sorted(charge_filter.values.items())
        )
        return Bucket(charge_filter.id, conditions, charge.group_keys(charge_filter))

    buckets = [bucket(charge_filter) for charge_filter in charge.filters]
    return tuple(
        sorted(buckets, key=lambda b: (-len(b.conditions), sum(len(v) for _, v in b.conditions)))
    )


def _properties_read(metric: Metric, buckets: Iterable[Bucket]) -> frozenset[str]:
    """Names of all event properties that the charge looks at."""
    names: set[str] = set()
    reads = AGGREGATIONS[metric.aggregation_type].reads
    if reads != "nothing" and metric.field_name:
        names.add(metric.field_name)
    if reads == "operation":
        names.add("operation_type")
    if metric.expression:
        names |= parse(metric.expression).properties
    for bucket in buckets:
        names.update(bucket.group_keys)
        names.update(key for key, _ in bucket.conditions)
    return frozenset(names)


Overwriter = Callable[[str, int, Properties, int], Properties]
"""(code, timestamp ms, properties, append time ms) to the properties as the metric's expression
leaves them."""


def overwriter(metric: Metric, keys: Collection[str], limited_after_ms: int) -> Overwriter | None:
    """The result of an expression stands in place of the property: filters and groups see it.

    None where that property is none of the keys that are looked at.
    """
    field = metric.field_name
    if not metric.expression or field not in keys or field is None:
        return None
    expression = parse(metric.expression)

    def overwritten(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Properties:
        units = EXPRESSION_UNITS if append_time_ms > limited_after_ms else NO_BUDGET
        text = result_text(expression.evaluate(code, timestamp_ms, properties, units))
        return {**properties, field: msgspec.Raw(msgspec.json.encode(text))}

    return overwritten


ValueReader = Callable[[str, int, Properties, int], Value | Ignored]
"""(code, timestamp ms, properties, append time ms) to the value of the event."""

_COUNTED = Value(ZERO, "", True, "")

# Plain __new__: the generated one costs three times as much, on every event.
_new = tuple.__new__


def _value_reader(metric: Metric, limited_after_ms: int) -> ValueReader:
    """How the metric reads an event's value (metering-semantics §4.1, §4.6)."""
    expression = parse(metric.expression) if metric.expression else None
    field = metric.field_name or ""
    match AGGREGATIONS[metric.aggregation_type].reads:
        case "nothing":
            return _count_reader(expression, limited_after_ms)
        case "operation":
            return _unique_reader(field, expression, limited_after_ms)
        case "number":
            return _number_reader(field, expression, limited_after_ms)


def _count_reader(expression: Expression | None, limited_after_ms: int) -> ValueReader:
    def read(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Value | Ignored:
        if expression is not None:
            units = EXPRESSION_UNITS if append_time_ms > limited_after_ms else NO_BUDGET
            try:
                expression.evaluate(code, timestamp_ms, properties, units)
            except TooCostly:
                return Ignored("expression_too_costly")
            except EvaluationFailed:
                return Ignored("expression_failed")
        return _COUNTED

    return read


def _number_reader(field: str, expression: Expression | None, limited_after_ms: int) -> ValueReader:
    def read(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Value | Ignored:
        try:
            if expression is not None:
                units = EXPRESSION_UNITS if append_time_ms > limited_after_ms else NO_BUDGET
                number = result_value(expression.evaluate(code, timestamp_ms, properties, units))
            else:
                raw = properties.get(field)
                if raw is None:
                    return Ignored("missing_property")
                literal = str(raw, "utf-8")
                value = _NUMBERS.get(literal)
                if value is not None:
                    return value
                number = parse_value(raw)
                if number is not None:
                    return _remember_number(literal, number)
        except InvalidValue:
            return Ignored("invalid_value")
        except TooCostly:
            return Ignored("expression_too_costly")
        except EvaluationFailed:
            return Ignored("expression_failed")
        if number is None:
            return Ignored("not_numeric")
        return _new(Value, (number, "", True, canonical(number)))

    return read


# Streams repeat numbers, so that most literals are one lookup.
_NUMBERS: dict[str, Value] = {}
_MAX_NUMBERS = 8192


def _remember_number(literal: str, number: Decimal) -> Value:
    if len(_NUMBERS) >= _MAX_NUMBERS:
        _NUMBERS.clear()
    value = _NUMBERS[literal] = _new(Value, (number, "", True, canonical(number)))
    return value


def _unique_reader(field: str, expression: Expression | None, limited_after_ms: int) -> ValueReader:
    def read(
        code: str, timestamp_ms: int, properties: Properties, append_time_ms: int
    ) -> Value | Ignored:
        limited = append_time_ms > limited_after_ms
        text: str | None
        if expression is not None:
            units = EXPRESSION_UNITS if limited else NO_BUDGET
            try:
                text = result_text(expression.evaluate(code, timestamp_ms, properties, units))
            except TooCostly:
                return Ignored("expression_too_costly")
            except EvaluationFailed:
                return Ignored("expression_failed")
        else:
            text = _text(properties, field)
        if text is None:
            return Ignored("missing_property")
        if limited and _is_long(text):
            return Ignored("value_too_long")
        operation = _text(properties, "operation_type")
        if operation not in (None, "", "add", "remove"):
            return Ignored("unknown_operation_type")
        if operation == "remove":
            return _new(Value, (ZERO, text, False, f"remove:{text}"))
        return _new(Value, (ZERO, text, True, f"add:{text}"))

    return read


def _is_long(text: str) -> bool:
    """Whether a unique value or a group value is longer than one may be."""
    # A character has at most four bytes: most texts are never encoded.
    return len(text) > VALUE_BYTES // 4 and len(text.encode()) > VALUE_BYTES


def _text(properties: Properties, key: str) -> str | None:
    raw = properties.get(key)
    return None if raw is None else property_text(raw)


_UNITS_AN_EVENT = 12
"""Folding an event takes as long as evaluating so many units of an expression."""

_UNITS_A_SPAN = 4
"""Folding it into one more span takes as long as so many."""


class Route:
    """Where the events of one (organization, external_subscription_id, code) go."""

    __slots__ = (
        "code",
        "external_subscription_id",
        "grouped",
        "made_at",
        "organization_id",
        "presence",
        "spans",
        "timelines",
        "weight",
    )

    def __init__(
        self,
        organization_id: str,
        external_subscription_id: str,
        code: str,
        timelines: tuple[Timeline, ...],
        spans: tuple[Span, ...],
    ):
        self.organization_id = organization_id
        self.external_subscription_id = external_subscription_id
        self.code = code
        self.timelines = timelines
        self.spans = spans
        self.presence: Presence | None = None
        """Its entry in the presence table, once an event has come."""
        self.grouped = any(span.fold.grouped for span in spans)
        self.made_at = 0
        """How many definitions the partition had been told of by then."""
        units = sum(_UNITS_A_SPAN + span.fold.units for span in spans) - _UNITS_A_SPAN
        self.weight = 1 + max(0, units) // _UNITS_AN_EVENT
        """How many events of one charge, without an expression, take as long as one of it does."""

    @property
    def pair(self) -> tuple[str, str, str]:
        """(organization_id, external_subscription_id, code)"""
        return self.organization_id, self.external_subscription_id, self.code

    def shape(self, newest_ms: int, appended_ms: int) -> tuple[object, ...]:
        """Everything that decides where events up to these times go.

        Two routes of equal shape send every event dated up to `newest_ms` and appended up to
        `appended_ms` to the same cells and cuts, so that no refold is needed between them.
        """
        spans = tuple(
            (
                span.key,
                span.fold.key,
                _history_groups(span),
                min(span.fold.limited_after_ms, appended_ms) if span.fold.limited else 0,
                _reached(span, newest_ms, appended_ms),
            )
            for span in self.spans
            if span.fold.metric.recurring or span.key.start_ms <= newest_ms
        )
        refusing = tuple(
            (period.start_ms, min(period.end_ms, newest_ms + 1), period.refused_after_ms)
            for timeline in self.timelines
            for period in timeline.until(newest_ms)
            if period.refused_after_ms < appended_ms
        )
        return spans, refusing


def _history_groups(span: Span) -> int:
    """The most groups of what is carried on, also where no period of the span is reached yet."""
    fold = span.fold
    return span.max_groups if fold.metric.recurring and not fold.plain else 0


def _reached(span: Span, newest_ms: int, appended_ms: int) -> tuple[object, ...]:
    """What `shape` says of the periods of a span."""
    recurring = span.fold.metric.recurring
    periods = [
        period
        for period in span.timeline.until(max(newest_ms, appended_ms) if recurring else newest_ms)
        if span.key.start_ms <= period.start_ms < span.end_ms
    ]
    last_cut_ms = appended_ms
    if recurring:
        # A late event of a recurring metric counts from a cut of a later period on, if one is due
        # before the next revision.
        every_ms = {period.revise_every_ms for period in periods}
        last_cut_ms = max((ceil_to(appended_ms, each) for each in every_ms), default=appended_ms)
    return tuple(
        (
            period.start_ms,
            min(period.end_ms, newest_ms + 1),
            min(period.due_at_ms, last_cut_ms),
            period.revise_every_ms if period.due_at_ms < appended_ms else 0,
            0 if span.fold.plain else period.max_groups,
        )
        for period in periods
    )


class SpanPlan(NamedTuple):
    """A span to be: which charge folds how from which period on, until which."""

    key: SpanKey
    fold: ChargeFold
    timeline: Timeline
    end_ms: int


def plan_spans(
    definitions: Definitions,
    subscription: Versions[Subscription],
    timeline: Timeline,
    code: str,
    folds: ChargeFolds,
    until_ms: int | None = None,
    history: Sequence[HistoryRecord] = (),
) -> list[SpanPlan]:
    """Runs of periods of one subscription in which a charge of the metric code folds alike.

    `history`: history records of the organization that are in force, in order.
    """
    newest = subscription.at(until_ms)
    if newest is None:
        return []
    plan = definitions.plan_versions[newest.plan_id]
    limited_after_ms = definitions.limited_after_ms(until_ms)
    changes_ms = [
        at_ms for at_ms in _changes_ms(definitions, plan) if until_ms is None or at_ms <= until_ms
    ]
    running: dict[str, SpanPlan] = {}
    planned: list[SpanPlan] = []
    before_in_force: list[tuple[Charge, Metric]] | None = None
    before_timezone = ""
    for period, in_force in _charges_by_period(
        definitions, plan, timeline, code, changes_ms, history
    ):
        if in_force is before_in_force and period.timezone == before_timezone:
            # As in the period before: that is so for years, and for hundreds of charges.
            continue
        before_in_force, before_timezone = in_force, period.timezone
        folding = {
            c.id: folds.fold_of(c, m, period.timezone, limited_after_ms) for c, m in in_force
        }
        gone = [charge_id for charge_id in running if charge_id not in folding]
        planned += [running.pop(i)._replace(end_ms=period.start_ms) for i in gone]
        for charge_id, fold in folding.items():
            before = running.get(charge_id)
            if before is not None and before.fold.key == fold.key:
                continue
            if before is not None:
                planned.append(before._replace(end_ms=period.start_ms))
            key = SpanKey(newest.id, charge_id, period.start_ms)
            running[charge_id] = SpanPlan(key, fold, timeline, NEVER_MS)
    return [*planned, *running.values()]


def _changes_ms(definitions: Definitions, plan: Versions[Plan]) -> list[int]:
    """Append times at which the charges of a plan, or their metrics, changed."""
    moments = set(plan.changes)
    for version in plan.all():
        for charge in version.charges:
            moments.update(definitions.metric_versions[charge.metric_id].changes)
    return sorted(moments)


def _charges_by_period(
    definitions: Definitions,
    plan: Versions[Plan],
    timeline: Timeline,
    code: str,
    changes_ms: list[int],
    history: Sequence[HistoryRecord],
) -> Iterator[tuple[Period, list[tuple[Charge, Metric]]]]:
    """(period, charges of the code under the definitions it is fixed under, or that history says).

    Stops at the first period that no change known today can come before: the later ones are alike
    until their timezone changes.
    """
    last_change_ms = changes_ms[-1] if changes_ms else 0
    last_terms_ms = timeline.terms[-1].since_ms if timeline.terms else 0
    last_history_ms = history[-1].append_time_ms if history else 0
    seen: tuple[int, list[tuple[Charge, Metric]]] = (-1, [])
    for period in timeline:
        version = bisect_right(changes_ms, period.fixed_at_ms)
        if version != seen[0]:
            as_of_ms = changes_ms[version - 1] if version else -1
            seen = (version, charges_in_force(definitions, plan, code, as_of_ms))
        if covering(history, period):
            charges = PeriodCharges(definitions, plan, period, history).in_force
            yield period, [(c, m) for c, m, *_ in charges if m.code == code]
        else:
            yield period, seen[1]
        # A later period may be fixed before this one, but not before it begins.
        if min(period.fixed_at_ms, period.end_ms) >= max(
            last_change_ms, last_terms_ms, last_history_ms
        ):
            break


class ChargeFolds:
    """Compiled charges, shared by all subscriptions of a plan."""

    def __init__(self) -> None:
        self._folds: dict[tuple[int, int, str, int], ChargeFold] = {}

    def fold_of(
        self, charge: Charge, metric: Metric, timezone: str, limited_after_ms: int
    ) -> ChargeFold:
        """The compiled charge; versions are told apart by identity, for they never change."""
        name = (id(charge), id(metric), timezone if charge.prorated else "", limited_after_ms)
        fold = self._folds.get(name)
        if fold is None:
            fold = self._folds[name] = ChargeFold(charge, metric, timezone, limited_after_ms)
        return fold
