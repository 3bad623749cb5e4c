"""What an event costs by what its charge does with it: groups, filters, an expression.

The core alone, as `bench.pairs` has it: 1,000 subscriptions of one metric, five events of each at
once. Reading is not in it.

    python -m bench.charges [--rounds N] [KIND ...]
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from msgspec.structs import replace

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from bench.pairs import Load, ValueOf, tell_kinds
from bench.world import apply_definition, charge_of, event_value, plan_of, subscription_of

SUBSCRIPTIONS = 1_000
DAY_S = 86_400
REGIONS = ("eu", "us", "asia")


def value_of(number: int, subscription: int, now_s: float) -> bytes:
    """Return an event as Lago's own producer writes it."""
    own = number // 5
    groups = {"region": REGIONS[own % 3], "model": f"m{own % 7}"}
    return event_value(number, subscription, now_s, "calls", **groups)


def value_of_projects(number: int, subscription: int, now_s: float) -> bytes:
    """Return an event of one of the ten projects that each subscription has."""
    project = f"p{subscription}-{number % 10}"
    return event_value(number, subscription, now_s, "calls", project=project)


def value_alone(number: int, _: int, now_s: float) -> bytes:
    """Return an event whose subscription has no other for as long as others have one each."""
    return value_of(number, number * 7919 % (5 * SUBSCRIPTIONS), now_s)


def value_of_month_before(number: int, subscription: int, now_s: float) -> bytes:
    """Return an event that comes when its period is due."""
    return value_of(number, subscription, now_s - 20 * DAY_S)


def value_of_no_filter(number: int, subscription: int, now_s: float) -> bytes:
    """Return an event with a text of its own, which no filter names."""
    return event_value(number, subscription, now_s, "calls", model=f"own {number}")


class Kind(NamedTuple):
    """A metric beside what every metric has, and a charge beside what every charge has."""

    metric: dict[str, Any]
    properties: Mapping[str, Any] = MappingProxyType({})
    charge: Mapping[str, Any] = MappingProxyType({})
    other: Mapping[str, Any] | None = None
    """Properties of a second charge on the metric."""
    alerted: bool = False
    """Whether each subscription has an alert on the metric."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """Beside what settings are by default."""
    value: ValueOf = value_of
    subscriptions: int = SUBSCRIPTIONS
    since: Mapping[str, str] = MappingProxyType({})
    """When the subscriptions began, if it was before."""


SUM: dict[str, Any] = {"aggregation_type": "sum_agg", "field_name": "gb"}
UNIQUE: dict[str, Any] = {"aggregation_type": "unique_count_agg", "field_name": "user"}
BY_REGION = {"pricing_group_keys": ["region"]}
BY_PROJECT = {"pricing_group_keys": ["project"]}
BEFORE = {"subscription_at": "2025-10-01T00:00:00Z"}
ALERT: dict[str, Any] = {
    "alert_type": "billable_metric_current_usage_units",
    "code": "much",
    "billable_metric_code": "calls",
    "thresholds": [{"value": "1000000000"}],
}
FILTERS = [
    {"values": {"region": [region]}, "properties": {"amount": "1"}} for region in REGIONS[:2]
]
MODELS = [f"m{number}" for number in range(50)]
BY_MODEL = [{"values": {"model": [model]}, "properties": {"amount": "1"}} for model in MODELS]
KINDS = {
    "count": Kind({"aggregation_type": "count_agg"}),
    "sum": Kind(SUM),
    "maximum": Kind({**SUM, "aggregation_type": "max_agg"}),
    "latest": Kind({**SUM, "aggregation_type": "latest_agg"}),
    "weighted sum": Kind(
        {**SUM, "aggregation_type": "weighted_sum_agg", "weighted_interval": "seconds"}
    ),
    "unique count": Kind(UNIQUE),
    "sum, recurring": Kind({**SUM, "recurring": True}),
    "sum, prorated": Kind({**SUM, "recurring": True}, {}, {"prorated": True}),
    "sum, two filters": Kind(
        {**SUM, "filters": [{"key": "region", "values": list(REGIONS)}]}, {}, {"filters": FILTERS}
    ),
    "sum, by 3 groups": Kind(SUM, BY_REGION),
    "sum, by 21 groups": Kind(SUM, {"pricing_group_keys": ["region", "model"]}),
    "sum, by 10 groups of its own": Kind(SUM, BY_PROJECT, value=value_of_projects),
    "sum, one event each": Kind(SUM, value=value_alone, subscriptions=5 * SUBSCRIPTIONS),
    "sum, by 3 groups, one event each": Kind(
        SUM, BY_REGION, value=value_alone, subscriptions=5 * SUBSCRIPTIONS
    ),
    "sum, by 3 groups, late": Kind(SUM, BY_REGION, value=value_of_month_before, since=BEFORE),
    "sum, by 3 groups, with an alert": Kind(SUM, BY_REGION, alerted=True),
    "sum, by 3 groups, with daily records": Kind(SUM, BY_REGION, settings={"daily_records": True}),
    "sum, 50 filters, none claims it": Kind(
        {**SUM, "filters": [{"key": "model", "values": MODELS}]},
        {},
        {"filters": BY_MODEL},
        value=value_of_no_filter,
    ),
    "unique count, by 3 groups": Kind(UNIQUE, BY_REGION),
    "sum, shown by 3 groups": Kind(SUM, {"presentation_group_keys": [{"value": "region"}]}),
    "sum, and one by 3 groups": Kind(SUM, other=BY_REGION),
    "sum, of an expression": Kind({**SUM, "expression": "event.properties.gb * 2"}),
    "sum, paid in advance": Kind(SUM, {}, {"pay_in_advance": True}),
    "sum, with an alert": Kind(SUM, alerted=True),
    "sum, told when it changes": Kind(SUM, settings={"usage_changed": True}),
    "sum, with daily records": Kind(SUM, settings={"daily_records": True}),
}


def definitions_of(kind: Kind) -> Definitions:
    """Define subscriptions of one charge."""
    definitions = Definitions()
    record = replace(SettingsRecord(), **kind.settings)
    apply_definition(definitions, commands.set_settings(record))
    body = {"name": "calls", "code": "calls", **kind.metric}
    metric = apply_definition(definitions, commands.create_billable_metric(ORG, body)).object
    charges = [{**charge_of(metric.id, **kind.properties), **kind.charge}]
    if kind.other is not None:
        charges.append({**charge_of(metric.id, **kind.other), "code": "other"})
    apply_definition(definitions, commands.create_plan(ORG, plan_of(charges)))
    for number in range(kind.subscriptions):
        body = {**subscription_of(number), **kind.since}
        apply_definition(definitions, commands.create_subscription(ORG, body))
        if kind.alerted:
            apply_definition(definitions, commands.create_alert(ORG, body["external_id"], ALERT))
    return definitions


def load_of(kind: Kind) -> Load:
    """Return a partition that takes events of one charge."""
    return Load(5 * kind.subscriptions, definitions_of(kind), kind.value)


def main() -> None:
    """Measure each kind, or those that are named."""
    tell_kinds(__doc__, {name: partial(load_of, kind) for name, kind in KINDS.items()})


if __name__ == "__main__":
    main()
