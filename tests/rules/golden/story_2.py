"""What the golden log of version 2 tells: four months of what only records of version 2 say.

Charges paid in advance, alerts, presentation keys, lists of single events, and terms of a
subscription's own. Files and digests are made as those of `story`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.commands import SubscriptionCharge
from app.definitions.files import definition_line
from app.definitions.model import SettingsRecord
from app.kafka.log_readers import LogRecord
from app.offline.export import event_line
from tests.rules.golden.story import DAY_MS, HOUR_MS, ORG, with_own_ids
from tests.world import bodies
from tests.world.clock import ms

SEED = 20_260_101
EVENTS = 360
BEGIN_MS = ms("2026-01-01")
LAST_MS = ms("2026-04-28")
END_MS = ms("2026-05-05")
NAMES = ("plain", "own", "own", "moving", "ending", "nobody")
"""Whom events name; the last one has no subscription."""

Json = dict[str, Any]

METRICS: dict[str, Json] = {
    "calls": {"aggregation_type": "count_agg"},
    "traffic": {
        "aggregation_type": "sum_agg",
        "field_name": "v",
        "rounding_function": "round",
        "rounding_precision": 1,
        "filters": [{"key": "region", "values": ["eu", "us"]}],
    },
    "balance": {"aggregation_type": "sum_agg", "field_name": "v", "recurring": True},
    "seats": {"aggregation_type": "unique_count_agg", "field_name": "u", "recurring": True},
    "users": {"aggregation_type": "unique_count_agg", "field_name": "u"},
}
SETTINGS = SettingsRecord(
    late_window_s=30 * 86_400, max_groups=4, default_organization_id=ORG, input_limits=1
)
CLOUD = {"presentation_group_keys": [{"value": "cloud", "options": {"display_in_invoice": True}}]}
EU: Json = {"values": {"region": ["eu"]}, "properties": {"amount": "2"}}
TIERS = [
    {"from_value": 0, "to_value": 10, "per_unit_amount": "2", "flat_amount": "0"},
    {"from_value": 11, "to_value": None, "per_unit_amount": "1", "flat_amount": "0"},
]


def definitions() -> bytes:
    """Return the definitions log as a file."""
    lines = [
        definition_line(command, ms(at), offset) for offset, (at, command) in enumerate(_commands())
    ]
    return with_own_ids(b"".join(lines))


def events() -> bytes:
    """Return the log of events as a file."""
    return b"".join(line + b"\n" for line in _lines(random.Random(SEED)))


def _commands() -> Iterator[tuple[str, Command]]:
    yield "2025-12-01", commands.set_settings(SETTINGS)
    for code, metric in METRICS.items():
        body = {"name": code, "code": code, **metric}
        yield "2025-12-01", commands.create_billable_metric(ORG, body)
    plan = bodies.plan("plan", _charges(), amount_cents=1000)
    yield "2025-12-01", commands.create_plan(ORG, plan)
    yield "2025-12-01", commands.create_plan(ORG, {**plan, "code": "larger", "amount_cents": 5000})
    paris = {"external_id": "paris", "timezone": "Europe/Paris"}
    yield "2025-12-02", commands.upsert_customer(ORG, paris)
    yield "2025-12-03", _subscribe("plain", "customer")
    yield "2025-12-03", _subscribe("moving", "customer")
    yield "2025-12-03", _subscribe("ending", "customer", ending_at="2026-03-20T12:00:00Z")
    overrides = {"amount_cents": 900, "name": "their own"}
    yield "2025-12-03", _subscribe("own", "paris", plan_overrides=overrides)
    for name, thresholds in (("plain", (3, 8)), ("own", (5,))):
        listed: list[Json] = [{"value": str(value), "code": f"t{value}"} for value in thresholds]
        alert = {
            "alert_type": "billable_metric_current_usage_units",
            "code": "calls",
            "name": "Many calls",
            "billable_metric_code": "calls",
            "thresholds": [*listed, {"value": "4", "recurring": True}],
        }
        yield "2026-01-02", commands.create_alert(ORG, name, alert)
    own = SubscriptionCharge(ORG, "own", "traffic", "active")
    grouped = {"properties": {"amount": "3", "pricing_group_keys": ["g"], **CLOUD}}
    yield "2026-02-10T10:00:00Z", commands.update_subscription_charge(own, grouped)
    yield "2026-02-14T09:00:00Z", _subscribe("moving", "customer", "larger", at=None)
    more = {**_charges()[0], "code": "calls-too", "pay_in_advance": True, "properties": CLOUD}
    more["properties"] = {"amount": "1", **CLOUD}
    added = commands.create_charge(ORG, "plan", {**more, "cascade_updates": True})
    yield "2026-02-20T11:00:00Z", added
    yield "2026-03-12T10:00:00Z", commands.delete_charge(ORG, "plan", "users")
    yield "2026-04-02T10:00:00Z", commands.terminate_subscription(ORG, "moving")


def _charges() -> list[Json]:
    each = {"per_transaction_min_amount": "1", "rate": "1", "free_units_per_events": 2}
    return [
        _charge("calls", "calls", pay_in_advance=True, properties={"pricing_group_keys": ["g"]}),
        _charge("traffic", "traffic", pay_in_advance=True, properties=CLOUD, filters=[EU]),
        _charge("balance", "balance", pay_in_advance=True, prorated=True),
        _charge("seats", "seats", pay_in_advance=True, prorated=True),
        _charge("users", "users", properties=CLOUD),
        _charge("each", "traffic", charge_model="percentage", properties=each),
        _charge(
            "tiers",
            "balance",
            charge_model="graduated",
            prorated=True,
            properties={"graduated_ranges": TIERS},
        ),
    ]


def _charge(code: str, metric: str, **more: Any) -> Json:
    return {**bodies.charge(metric, **more), "code": code}


def _subscribe(
    external_id: str,
    customer: str,
    plan: str = "plan",
    at: str | None = "2026-01-01T00:00:00Z",
    **more: Any,
) -> Command:
    body: Json = {
        "external_customer_id": customer,
        "plan_code": plan,
        "external_id": external_id,
        "billing_time": "calendar",
        **more,
    }
    if at is not None:
        body["subscription_at"] = at
    return commands.create_subscription(ORG, body)


def _lines(choose: random.Random) -> Iterator[bytes]:
    """Yield each record as a line of the file."""
    sent: list[Json] = []
    offsets = [0, 0]
    for number, at_ms in enumerate(
        sorted(choose.randrange(BEGIN_MS, LAST_MS) for _ in range(EVENTS))
    ):
        drawn = choose.random()
        value: Json | bytes = b"{" if drawn < 0.02 else _event(choose, number, at_ms)
        if drawn >= 0.88 and sent:
            value = _correction(choose, number, at_ms, choose.choice(sent))
        elif drawn >= 0.85 and sent:
            value = choose.choice(sent)
        elif not isinstance(value, bytes):
            sent.append(value)
        partition = choose.choice((0, 0, 1))
        raw = value if isinstance(value, bytes) else msgspec.json.encode(value)
        yield event_line(partition, LogRecord(None, raw, [], at_ms, offsets[partition]))
        offsets[partition] += 1


def _event(choose: random.Random, number: int, at_ms: int) -> Json:
    lags_ms = (0, choose.randint(0, HOUR_MS), choose.randint(0, 4 * DAY_MS))
    lag_ms = choose.choice((*lags_ms, choose.randint(0, 40 * DAY_MS), -choose.randint(0, DAY_MS)))
    return {
        "organization_id": ORG,
        "external_subscription_id": choose.choice(NAMES),
        "transaction_id": f"t{number}",
        "code": choose.choice((*METRICS, "calls", "traffic")),
        "timestamp": f"{(at_ms - lag_ms) // 1000}",
        "properties": _properties(choose),
    }


def _properties(choose: random.Random) -> Json:
    properties: Json = {
        "v": choose.choice((choose.randint(-20, 40), f"{choose.randint(-900, 2000) / 100}")),
        "u": choose.choice("abcde"),
        "operation_type": choose.choice(("add", "add", "remove")),
    }
    for key, values in (
        ("g", ("x", "y", "z")),
        ("cloud", ("aws", "gcp")),
        ("region", ("eu", "us", "asia")),
    ):
        if choose.random() < 0.7:
            properties[key] = choose.choice(values)
    return properties


def _correction(choose: random.Random, number: int, at_ms: int, known: Json) -> Json:
    names = ("organization_id", "external_subscription_id", "transaction_id")
    correction: Json = {name: known[name] for name in names}
    correction |= {"operation": "cancel", "correction_id": f"c{number}"}
    if choose.random() < 0.6:
        to = {**known, "properties": _properties(choose)}
        if choose.random() < 0.3:
            to["timestamp"] = f"{(at_ms - choose.randint(0, 20 * DAY_MS)) // 1000}"
        correction |= {"operation": "amend", "event": to}
    return correction
