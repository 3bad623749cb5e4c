"""Billable metrics: what may be created, changed and deleted (metering-semantics §1.3, §1.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from app.bounds.turns import Steps, weighed
from app.definitions.aggregation_types import (
    AGGREGATION_TYPES,
    NOT_FOR_SALE,
    PLACEHOLDER,
    AggregationType,
)
from app.definitions.command import Command
from app.definitions.decision import Change, Decision, Deletion, payload_body, payload_text
from app.definitions.fields import INVALID, MANDATORY, TAKEN, Fields, is_blank, scalar_text
from app.definitions.model import (
    ALL_FILTER_VALUES,
    Charge,
    ChargeFilter,
    Metric,
    MetricFilter,
    Plan,
)
from app.definitions.outcome import Impact, Rejected, Rejection, invalid, not_found
from app.definitions.state import Definitions
from app.expressions import InvalidExpression, check_size, parse

MAX_ROUNDING_DIGITS = 38
"""As many decimals as a quantity may have (records-and-cuts §6)."""

_FROZEN_IN_USE = (
    "code",
    "aggregation_type",
    "weighted_interval",
    "field_name",
    "recurring",
    "rounding_function",
    "rounding_precision",
    "expression",
)
_SHAPES_USAGE = (*_FROZEN_IN_USE, "filters")


def create(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Make a new metric.

    Events appended before an earlier metric of the code was deleted never count.
    """
    metric_id = payload_text(command, "id")
    if metric_id in definitions.metric_versions:
        raise Rejection(invalid({"lago_id": [TAKEN]}))
    base = Metric(
        id=metric_id,
        organization_id=command.organization_id,
        code="",
        name="",
        aggregation_type=PLACEHOLDER,
        created_at_ms=now_ms,
    )
    metric = _described(definitions, base, payload_body(command, "billable_metric"))
    impact = Impact(metric.organization_id, codes=frozenset({metric.code}))
    return Decision(metric, impact, (metric,))


def update(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """Change the given keys; of a metric in use only name, description and filters change."""
    old = definitions.metric(command.organization_id, payload_text(command, "code"))
    if old is None:
        raise Rejection(not_found("billable_metric"))
    given = payload_body(command, "billable_metric")
    if definitions.families_using(old.id):
        given = {key: value for key, value in given.items() if key not in _FROZEN_IN_USE}
    metric = _described(definitions, old, _body_of(old) | dict(given))
    if metric == old:
        return Decision(old, None, ())
    trimmed: list[Plan] = []
    if metric.filters != old.filters:
        trimmed = yield from _trimmed_plans(definitions.plans_using(old.id), metric)
    return Decision(metric, _impact_of_change(old, metric), (metric, *trimmed))


def delete(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """End the metric and its charges in all plans."""
    metric = definitions.metric(command.organization_id, payload_text(command, "code"))
    if metric is None:
        raise Rejection(not_found("billable_metric"))
    changes: list[Change] = [Deletion(metric)]
    for some in weighed(definitions.plans_using(metric.id), _items_of):
        for plan in some:
            if plan is not None:
                kept = tuple(charge for charge in plan.charges if charge.metric_id != metric.id)
                changes.append(msgspec.structs.replace(plan, charges=kept))
        yield
    impact = Impact(metric.organization_id, codes=frozenset({metric.code}))
    return Decision(metric, impact, tuple(changes))


def _described(definitions: Definitions, metric: Metric, body: Mapping[str, Any]) -> Metric:
    """Return the metric with every field taken from the body."""
    if body.get("aggregation_type") == NOT_FOR_SALE:
        raise Rejection(Rejected(403, "feature_unavailable"))
    fields = Fields(body)
    code = fields.mandatory_text("code")
    if code and _taken(definitions, metric, code):
        fields.fail("code", TAKEN)
    aggregation_type = fields.choice("aggregation_type", tuple(AGGREGATION_TYPES))
    described = msgspec.structs.replace(
        metric,
        code=code,
        name=fields.mandatory_text("name"),
        description=fields.text("description"),
        aggregation_type=_aggregation_type(fields, aggregation_type),
        field_name=_field_name(fields, aggregation_type),
        expression=_expression(definitions, fields, metric.expression),
        recurring=_recurring(fields, aggregation_type),
        rounding_function=fields.choice("rounding_function", ("round", "ceil", "floor")),
        rounding_precision=fields.integer(
            "rounding_precision", -MAX_ROUNDING_DIGITS, MAX_ROUNDING_DIGITS
        ),
        weighted_interval=_weighted_interval(fields, aggregation_type),
        counts_after_ms=definitions.code_deleted_at_ms(metric.organization_id, code),
    )
    fields.require_valid()
    # Lago looks at the filters only once the metric itself is valid.
    filters = _filters(fields)
    fields.require_valid()
    return _with_filters(described, filters)


def _taken(definitions: Definitions, metric: Metric, code: str) -> bool:
    holder = definitions.metric(metric.organization_id, code)
    return holder is not None and holder.id != metric.id


def _aggregation_type(fields: Fields, given: AggregationType | None) -> AggregationType:
    if given is None:
        fields.fail("aggregation_type", INVALID)
        return PLACEHOLDER
    return given


def _field_name(fields: Fields, aggregation_type: AggregationType | None) -> str | None:
    if aggregation_type is not None and not AGGREGATION_TYPES[aggregation_type].needs_field:
        return None
    return fields.mandatory_text("field_name")


def _expression(definitions: Definitions, fields: Fields, before: str | None) -> str | None:
    text = fields.text("expression")
    if text is None or is_blank(text):
        return None
    try:
        # What was taken before there were limits stays valid.
        if text != before and definitions.settings_at().input_limits:
            check_size(text)
        parse(text)
    except InvalidExpression:
        fields.fail("expression", "invalid_expression")
    return text


def _recurring(fields: Fields, aggregation_type: AggregationType | None) -> bool:
    recurring = fields.flag("recurring") or False
    if (
        recurring
        and aggregation_type is not None
        and not AGGREGATION_TYPES[aggregation_type].recurring
    ):
        fields.fail("recurring", "not_compatible_with_aggregation_type")
    return recurring


def _weighted_interval(fields: Fields, aggregation_type: AggregationType | None) -> Any:
    interval = fields.choice("weighted_interval", ("seconds",))
    over_time = aggregation_type is not None and AGGREGATION_TYPES[aggregation_type].over_time
    return "seconds" if over_time else interval


def _filters(fields: Fields) -> tuple[MetricFilter, ...]:
    """Return filters by key; of two with one key the later holds, as when it replaces."""
    by_key: dict[str, MetricFilter] = {}
    for body in fields.objects("filters") or ():
        key, values = _filter_key(fields, body.get("key")), _filter_values(fields, body)
        by_key[key] = MetricFilter(key, values)
    return tuple(by_key[key] for key in sorted(by_key))


def _filter_key(fields: Fields, key: object) -> str:
    if is_blank(key):
        fields.fail("key", MANDATORY)
    elif scalar_text(key) is None:
        fields.fail("key", INVALID)
    return scalar_text(key) or ""


def _filter_values(fields: Fields, body: Mapping[str, Any]) -> tuple[str, ...]:
    values = body.get("values")
    if is_blank(values):
        fields.fail("values", MANDATORY)
        return ()
    texts = [scalar_text(value) for value in (values if isinstance(values, list) else [values])]
    if None in texts:
        fields.fail("values", INVALID)
    return tuple(sorted({text for text in texts if text is not None}))


def _with_filters(metric: Metric, filters: tuple[MetricFilter, ...]) -> Metric:
    # What did not change stays the same object, so that a version costs what it says anew.
    return msgspec.structs.replace(
        metric, filters=metric.filters if filters == metric.filters else filters
    )


def _body_of(metric: Metric) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(metric)
    body["filters"] = [{"key": f.key, "values": list(f.values)} for f in metric.filters]
    return body


def _impact_of_change(old: Metric, new: Metric) -> Impact | None:
    if all(getattr(old, field) == getattr(new, field) for field in _SHAPES_USAGE):
        return None
    return Impact(new.organization_id, codes=frozenset({old.code, new.code}))


def _trimmed_plans(plans: Iterable[Plan | None], metric: Metric) -> Steps[list[Plan]]:
    """Return plans whose charge filters used a value that the metric lost, without that value."""
    allowed = metric.allowed_values
    trimmed: list[Plan] = []
    for some in weighed(plans, _items_of):
        for plan in some:
            if plan is None:
                continue
            charges = tuple(
                _trimmed_charge(charge, allowed) if charge.metric_id == metric.id else charge
                for charge in plan.charges
            )
            if charges != plan.charges:
                trimmed.append(msgspec.structs.replace(plan, charges=charges))
        yield
    return trimmed


def _items_of(plan: Plan | None) -> int:
    return 1 if plan is None else plan.items


def _trimmed_charge(charge: Charge, allowed: Mapping[str, frozenset[str]]) -> Charge:
    filters = tuple(_trimmed_filter(charge_filter, allowed) for charge_filter in charge.filters)
    return msgspec.structs.replace(charge, filters=tuple(f for f in filters if f.values))


def _trimmed_filter(
    charge_filter: ChargeFilter, allowed: Mapping[str, frozenset[str]]
) -> ChargeFilter:
    values = {
        key: tuple(
            text for text in texts if text in allowed[key] or text == ALL_FILTER_VALUES
        )
        for key, texts in charge_filter.values.items()
        if key in allowed
    }  # fmt: skip
    if values == charge_filter.values:
        return charge_filter
    return msgspec.structs.replace(
        charge_filter, values={key: texts for key, texts in values.items() if texts}
    )
