"""States that API vectors name in words, brought about by requests."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from app.billing_periods.instants import parse_iso8601_ms
from tests.world import bodies

if TYPE_CHECKING:
    from tests.conformance.api import Conversation

Json = dict[str, Any]
T = TypeVar("T")
Arrange = Callable[["Conversation"], Awaitable[None]]
Patterns = Sequence[tuple[re.Pattern[str], Callable[..., T]]]
"""Words that name a state, and what makes its arrangement of their groups."""

_PLAN = "arranged"


class CannotArrange(Exception):
    """What a vector asks for cannot be brought about; the message says what."""


def arrangement_of(state: str) -> Arrange | None:
    """How to bring about a state, as a whole or part by part; None when it is not understood."""
    known = _STATES.get(state) or by_pattern(_PATTERNS, state)
    if known is not None:
        return known
    parts = [_STATES.get(part) or by_pattern(_PATTERNS, part) for part in state.split("; ")]
    understood = [part for part in parts if part is not None]
    if len(parts) == 1 or len(understood) < len(parts):
        return None

    async def all_of_them(conversation: Conversation) -> None:
        for part in understood:
            await part(conversation)

    return all_of_them


def by_pattern(patterns: Patterns[T], state: str) -> T | None:
    """What arranges a state in words that one of the patterns understands."""
    for pattern, make in patterns:
        match = pattern.fullmatch(state)
        if match is not None:
            return make(*match.groups())
    return None


async def _nothing(_: Conversation) -> None:
    """The state holds on any server."""


async def _zero_usage(conversation: Conversation) -> None:
    metric_id = await _metric(conversation, "api_calls", "count_agg")
    charge = {"billable_metric_id": metric_id, "charge_model": "standard"}
    await _subscribe(conversation, await _plan(conversation, [_priced(charge)]))


def _with_metric(code: str, aggregation_type: str, field_name: str | None) -> Arrange:
    async def arrange(conversation: Conversation) -> None:
        more = {} if field_name is None else {"field_name": field_name}
        await _metric(conversation, code, aggregation_type, **more)

    return arrange


def _with_expression(code: str, aggregation_type: str, field: str, expression: str) -> Arrange:
    async def arrange(conversation: Conversation) -> None:
        more = {"field_name": field, "expression": expression}
        await _metric(conversation, code, aggregation_type, **more)

    return arrange


def _active(external_id: str) -> Arrange:
    return _started(external_id, None)


def _started(external_id: str, started_at: str | None) -> Arrange:
    async def arrange(conversation: Conversation) -> None:
        more = {} if started_at is None else {"subscription_at": started_at}
        plan = await _plan(conversation, [], f"{_PLAN} for {external_id}")
        await _subscribe(conversation, plan, external_id=external_id, **more)

    return arrange


def _terminated(external_id: str) -> Arrange:
    async def arrange(conversation: Conversation) -> None:
        await _started(external_id, None)(conversation)
        await conversation.must("DELETE", f"/api/v1/subscriptions/{external_id}")

    return arrange


def _pending(external_id: str) -> Arrange:
    async def arrange(conversation: Conversation) -> None:
        plan = {"code": "plan_code"}
        more = {"external_id": external_id, "subscription_at": "2999-01-01T00:00:00Z"}
        await _subscribe(conversation, plan, **more)

    return arrange


async def _two_filters(conversation: Conversation) -> None:
    filters = [
        {"key": "cloud", "values": ["aws", "google"]},
        {"key": "region", "values": ["usa", "france"]},
    ]
    metric_id = await _metric(conversation, "calls", "count_agg", filters=filters)
    pairs = [("aws", "usa"), ("aws", "france"), ("google", "usa")]
    charge = {
        "billable_metric_id": metric_id,
        "charge_model": "standard",
        "filters": [
            {"values": {"cloud": [cloud], "region": [region]}, "properties": {"amount": "1"}}
            for cloud, region in pairs
        ],
    }
    await _subscribe(conversation, await _plan(conversation, [_priced(charge)]))
    for cloud, region in (*pairs, pairs[0]):
        await _event(conversation, "calls", {"cloud": cloud, "region": region})
    await _settle(conversation, 4)


async def _two_charges(conversation: Conversation) -> None:
    """Charge A groups by cloud; what the previous period used is no part of this one."""
    metrics = [await _metric(conversation, code, "sum_agg", field_name="units") for code in "ab"]
    charges = [
        _priced({"billable_metric_id": metric_id, "charge_model": "standard"})
        for metric_id in metrics
    ]
    charges[0]["properties"]["pricing_group_keys"] = ["cloud"]
    plan = await _plan(conversation, charges)
    for letter, charge in zip("ab", plan["charges"], strict=True):
        conversation.values[f"charge_{letter}.id"] = charge["lago_id"]
        conversation.values[f"charge_{letter}.code"] = charge["code"]
    await _subscribe(conversation, plan, subscription_at="2020-01-01T00:00:00Z")
    for code, properties in (
        ("a", {"units": 4, "cloud": "aws"}),
        ("a", {"units": 4, "cloud": "aws"}),
        ("a", {"units": 6, "cloud": "gcp"}),
        ("b", {"units": 2}),
    ):
        await _event(conversation, code, properties)
    usage = await _settle(conversation, 4)
    last_second = parse_iso8601_ms(usage["from_datetime"]) or 0
    for code, properties in (
        ("a", {"units": 5, "cloud": "aws"}),
        ("a", {"units": 7, "cloud": "gcp"}),
        ("b", {"units": 3}),
    ):
        await _event(conversation, code, properties, timestamp=last_second // 1000 - 1)


async def _metric(conversation: Conversation, code: str, aggregation_type: str, **more: Any) -> str:
    body = bodies.metric(code, aggregation_type, **more)
    answer = await conversation.must("POST", "/api/v1/billable_metrics", {"billable_metric": body})
    return str(answer["billable_metric"]["lago_id"])


def _priced(charge: Json) -> Json:
    return {"properties": {"amount": "1"}, **charge}


async def _plan(conversation: Conversation, charges: Sequence[Json], code: str = _PLAN) -> Json:
    body = bodies.plan(code, charges, name="P")
    plan: Json = (await conversation.must("POST", "/api/v1/plans", {"plan": body}))["plan"]
    return plan


async def _subscribe(conversation: Conversation, plan: Json, **more: Any) -> None:
    body = {
        "external_customer_id": "cust_1",
        "external_id": "sub_1",
        "plan_code": plan["code"],
        **more,
    }
    await conversation.must("POST", "/api/v1/subscriptions", {"subscription": body})


async def _event(
    conversation: Conversation, code: str, properties: Json, timestamp: int | None = None
) -> None:
    event = {
        "transaction_id": str(uuid.uuid4()),
        "external_subscription_id": "sub_1",
        "code": code,
        "timestamp": timestamp,
        "properties": properties,
    }
    await conversation.must("POST", "/api/v1/events", {"event": event})


async def _settle(conversation: Conversation, events_count: int) -> Json:
    """Events are answered within half a second of their fold, or their fold is awaited here."""
    path = "/api/v1/customers/cust_1/current_usage?external_subscription_id=sub_1"
    for _ in range(20):
        usage: Json = (await conversation.must("GET", path))["customer_usage"]
        if sum(charge["events_count"] for charge in usage["charges_usage"]) == events_count:
            return usage
        await asyncio.sleep(0.1)
    raise CannotArrange("this server does not fold events")


_STATES: Mapping[str, Callable[[Conversation], Awaitable[None]]] = {
    "valid API key": _nothing,
    "paid license": _nothing,
    "EUR plan with one standard charge on count metric api_calls; sub_1 active; no events": (
        _zero_usage
    ),
    (
        "count metric, filters cloud x region: aws/usa 10, aws/france 20, google/usa 30; "
        "events 2 aws-usa, 1 aws-france, 1 google-usa"
    ): _two_filters,
    (
        "EUR monthly plan; charge A standard 10 on sum metric a (units) with pricing_group_keys "
        "[cloud]; charge B standard 20 on sum metric b; events this period a: aws 4, aws 4, gcp 6, "
        "b: 2; previous period a: aws 5, gcp 7, b: 3"
    ): _two_charges,
}

_PATTERNS: Patterns[Arrange] = [
    (re.compile(r"metric (\S+) \((\w+_agg)(?: on (\w+))?\)"), _with_metric),
    (re.compile(r"metric (\S+): (\w+_agg) on (\w+), expression (.+)"), _with_expression),
    (re.compile(r"active subscription (\S+)"), _active),
    (re.compile(r"subscription (\S+) started_at (\S+)"), _started),
    (re.compile(r"(?:subscription )?(\S+) is terminated"), _terminated),
    (re.compile(r"(?:subscription )?(\S+) is pending"), _pending),
]
