"""Runs the API's conformance vectors against any server, each in an organization of its own.

A vector is `{id, setup, request, expect, then?}` as `vectors/README.md` describes. Nothing here
knows the implementation: requests go over HTTP, differences come back as sentences.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import ClientSession
from yarl import URL

from app.definitions.instants import parse_iso8601_ms

Json = dict[str, Any]
Arranger = Callable[["Conversation", str], Awaitable[bool]]
"""Brings about a state that only the caller can (a clock, another key); False if it cannot."""

_TEMPLATE = re.compile(r"\{\{([\w.]+)\}\}")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "array": list,
    "object": dict,
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "null": type(None),
}


@dataclass(frozen=True)
class Skipped:
    """The vector cannot be run here."""

    reason: str


class _CannotArrange(Exception):
    pass


@dataclass
class Conversation:
    """Requests to one server as one organization, and the values that templates stand for."""

    base_url: str
    api_key: str
    session: ClientSession
    values: dict[str, str] = field(default_factory=dict)

    async def send(self, request: Json) -> tuple[int, Any]:
        """Send a vector's request; status and JSON body (None when it is not JSON)."""
        filled = self.fill(_repeated(request))
        headers = {"Authorization": f"Bearer {self.api_key}"} | (filled.get("headers") or {})
        body = filled.get("body")
        if body is not None:
            headers["Content-Type"] = "application/json"
        async with self.session.request(
            filled["method"],
            URL(self.base_url.rstrip("/") + filled["path"], encoded=True),
            headers={name: value for name, value in headers.items() if value is not None},
            data=None if body is None else msgspec.json.encode(body),
        ) as response:
            content = await response.read()
            status = response.status
        answer = _decoded(content)
        self._remember(answer)
        return status, answer

    async def must(self, method: str, path: str, body: Json | None = None) -> Any:
        """Send a request that has to succeed."""
        status, answer = await self.send({"method": method, "path": path, "body": body})
        if status != 200:
            raise _CannotArrange(f"{method} {path} answered {status}: {answer}")
        return answer

    def fill(self, value: Any) -> Any:
        """The value with its templates replaced; `{{uuid}}` is one uuid a vector."""
        if isinstance(value, str):
            return _TEMPLATE.sub(lambda match: self._template(match[1]), value)
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def _template(self, name: str) -> str:
        if name == "uuid":
            return self.values.setdefault("uuid", str(uuid.uuid4()))
        if name == "api_key":
            return self.api_key
        if name not in self.values:
            raise _CannotArrange(f"nothing is known as {name}")
        return self.values[name]

    def _remember(self, answer: Any) -> None:
        metric = answer.get("billable_metric") if isinstance(answer, dict) else None
        if isinstance(metric, dict) and "lago_id" in metric:
            self.values["metric.lago_id"] = metric["lago_id"]


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except msgspec.DecodeError:
        return None


def _repeated(value: Any, index: int | None = None) -> Any:
    """`{"$repeat": n, "item": x}` as n copies of x, `{{i}}` replaced by the copy's index."""
    if isinstance(value, dict):
        if "$repeat" in value:
            return [_repeated(value["item"], i) for i in range(value["$repeat"])]
        return {key: _repeated(item, index) for key, item in value.items()}
    if isinstance(value, list):
        return [_repeated(item, index) for item in value]
    if isinstance(value, str) and index is not None:
        return value.replace("{{i}}", str(index))
    return value


async def check_api_vector(
    vector: Json,
    base_url: str,
    api_key: str,
    session: ClientSession,
    arrange: Arranger | None = None,
) -> list[str] | Skipped:
    """The differences between what the server does and what the vector expects.

    The key's organization must be empty: vectors reuse codes and count what is listed.
    """
    conversation = Conversation(base_url, api_key, session)
    try:
        for step in vector["setup"]:
            await _set_up(conversation, step, arrange)
    except _CannotArrange as error:
        return Skipped(str(error))
    exchanges = [vector, *vector.get("then", ())]
    found: list[str] = []
    for number, exchange in enumerate(exchanges):
        place = "" if number == 0 else f"then[{number - 1}] "
        found += [place + line for line in await _exchange(conversation, exchange)]
    return found


async def _set_up(conversation: Conversation, step: Json, arrange: Arranger | None) -> None:
    if "state" not in step:
        status, answer = await conversation.send(step["request"])
        if status != step["expect_status"]:
            raise AssertionError(f"setup {step['request']['path']} answered {status}: {answer}")
        return
    state = step["state"]
    if arrange is not None and await arrange(conversation, state):
        return
    known = _STATES.get(state)
    if known is None:
        raise _CannotArrange(f"no way to arrange: {state}")
    await known(conversation)


async def _exchange(conversation: Conversation, exchange: Json) -> list[str]:
    status, answer = await conversation.send(exchange["request"])
    expected = exchange["expect"]
    found = []
    if status != expected["status"]:
        found.append(f"status: {status}, expected {expected['status']} ({answer})")
    if "body_contains" in expected:
        found += differences(conversation.fill(expected["body_contains"]), answer, "body")
    return found


def differences(expected: Any, actual: Any, place: str) -> list[str]:
    """Where `actual` does not contain what is expected; objects may have more keys."""
    if isinstance(expected, dict):
        operators = [key for key in expected if key.startswith("$")]
        if operators:
            return _operator(operators[0], expected[operators[0]], actual, place)
        return _object(expected, actual, place)
    if isinstance(expected, list):
        return _list(expected, actual, place)
    return _equal(expected, actual, place)


def _equal(expected: Any, actual: Any, place: str) -> list[str]:
    # Python holds True equal to 1; JSON does not.
    same_kind = isinstance(expected, bool) == isinstance(actual, bool)
    if same_kind and expected == actual:
        return []
    return [f"{place}: {actual!r}, expected {expected!r}"]


def _object(expected: Json, actual: Any, place: str) -> list[str]:
    if not isinstance(actual, dict):
        return [f"{place}: {actual!r}, expected an object"]
    found = []
    for key, wanted in expected.items():
        inner = f"{place}.{key}"
        if wanted == {"$absent": True}:
            found += [f"{inner}: present"] if key in actual else []
        elif key not in actual:
            found.append(f"{inner}: absent")
        else:
            found += differences(wanted, actual[key], inner)
    return found


def _list(expected: Sequence[Any], actual: Any, place: str) -> list[str]:
    if not isinstance(actual, list) or len(actual) != len(expected):
        return [f"{place}: {actual!r}, expected a list of {len(expected)}"]
    found = []
    for index, (wanted, item) in enumerate(zip(expected, actual, strict=True)):
        found += differences(wanted, item, f"{place}[{index}]")
    return found


def _operator(name: str, argument: Any, actual: Any, place: str) -> list[str]:
    holds = _OPERATORS.get(name)
    if holds is None:
        return [f"{place}: unknown operator {name}"]
    return [] if holds(argument, actual) else [f"{place}: {actual!r}, expected {name} {argument!r}"]


def _contains(wanted: Sequence[Any], actual: Any) -> bool:
    return isinstance(actual, list) and all(
        any(not differences(item, candidate, "") for candidate in actual) for item in wanted
    )


def _is_type(name: str, actual: Any) -> bool:
    if isinstance(actual, bool):
        return name == "boolean"
    return isinstance(actual, _TYPES[name])


_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$exact": lambda wanted, actual: bool(wanted == actual),
    "$regex": lambda pattern, actual: isinstance(actual, str) and bool(re.search(pattern, actual)),
    "$type": _is_type,
    "$present": lambda wanted, actual: bool(wanted),
    "$count": lambda count, actual: isinstance(actual, list) and len(actual) == count,
    "$contains": _contains,
    "$set": lambda wanted, actual: (
        isinstance(actual, list) and len(actual) == len(wanted) and _contains(wanted, actual)
    ),
    "$any": lambda wanted, actual: bool(wanted),
}


async def _nothing(_: Conversation) -> None:
    """The state holds on any server."""


async def _storage(conversation: Conversation) -> None:
    await _metric(conversation, "storage", "sum_agg", field_name="gb")
    await _subscribe(conversation, await _plan(conversation, []))


async def _calc(conversation: Conversation) -> None:
    expression = "event.properties.a + event.properties.b"
    await _metric(conversation, "calc", "sum_agg", field_name="value", expression=expression)


async def _zero_usage(conversation: Conversation) -> None:
    metric_id = await _metric(conversation, "api_calls", "count_agg")
    charge = {"billable_metric_id": metric_id, "charge_model": "standard"}
    await _subscribe(conversation, await _plan(conversation, [_priced(charge)]))


async def _started_in_2023(conversation: Conversation) -> None:
    plan = await _plan(conversation, [])
    await _subscribe(conversation, plan, subscription_at="2023-11-14T22:13:20Z")


def _pending(external_id: str) -> Callable[[Conversation], Awaitable[None]]:
    async def arrange(conversation: Conversation) -> None:
        await conversation.must(
            "POST",
            "/api/v1/subscriptions",
            {
                "subscription": {
                    "external_customer_id": "cust_1",
                    "plan_code": "plan_code",
                    "external_id": external_id,
                    "subscription_at": "2999-01-01T00:00:00Z",
                }
            },
        )

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
    conversation.values["charge_a.id"] = plan["charges"][0]["lago_id"]
    conversation.values["charge_a.code"] = plan["charges"][0]["code"]
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
    body = {"name": code, "code": code, "aggregation_type": aggregation_type, **more}
    answer = await conversation.must("POST", "/api/v1/billable_metrics", {"billable_metric": body})
    return str(answer["billable_metric"]["lago_id"])


def _priced(charge: Json) -> Json:
    return {"properties": {"amount": "1"}, **charge}


async def _plan(conversation: Conversation, charges: Sequence[Json]) -> Json:
    body = {
        "name": "P",
        "code": "arranged",
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": list(charges),
    }
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
    raise _CannotArrange("this server does not fold events")


_STATES: Mapping[str, Callable[[Conversation], Awaitable[None]]] = {
    "valid API key": _nothing,
    "paid license": _nothing,
    "metric storage (sum_agg on gb); active subscription sub_1": _storage,
    "metric calc: sum_agg on value, expression event.properties.a + event.properties.b": _calc,
    "subscription sub_1 started_at 2023-11-14T22:13:20Z": _started_in_2023,
    "sub_1 is pending": _pending("sub_1"),
    "coker.com is pending": _pending("coker.com"),
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
