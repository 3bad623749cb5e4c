"""Scenes: states of API vectors that tell of a plan, its charges, a subscription and its events.

A scene is told in parts, with "; " between them, each by one of the sentences below.
"""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from app.billing_periods.instants import parse_iso8601_ms
from tests.world import bodies

if TYPE_CHECKING:
    from tests.conformance.api import Conversation

Json = dict[str, Any]

_PLAN = "arranged"
_FIELD = "units"
"""Property of a metric of which nothing is said."""

_RANGE = {"from_value": 0, "to_value": None, "per_unit_amount": "0.01", "flat_amount": "0.01"}
_PROPERTIES: dict[str, Json] = {
    "standard": {"amount": "1"},
    "graduated": {"graduated_ranges": [_RANGE]},
    "volume": {"volume_ranges": [_RANGE]},
    "package": {"amount": "1", "package_size": 1},
    "percentage": {"rate": "1"},
}


class CannotArrange(Exception):
    """What a vector asks for cannot be brought about; the message says what."""


@dataclass
class Scene:
    """What is to be made, in the order of its fields."""

    metrics: dict[str, Json] = field(default_factory=dict)
    """By code."""
    charges: list[tuple[str, str, Json]] = field(default_factory=list)
    """(name in templates or "", code of the metric, charge)"""
    plan: Json = field(default_factory=dict)
    subscription: Json = field(default_factory=dict)
    events: list[tuple[str, Json]] = field(default_factory=list)
    """(code, properties), of now."""
    earlier: list[tuple[str, Json]] = field(default_factory=list)
    """The same of the period before."""

    async def arrange(self, conversation: Conversation) -> None:
        """Make it by requests, and wait until its events count."""
        ids = {}
        for code, metric in self.metrics.items():
            answer = await conversation.must(
                "POST", "/api/v1/billable_metrics", {"billable_metric": metric}
            )
            ids[code] = answer["billable_metric"]["lago_id"]
        charges = [charge | {"billable_metric_id": ids[code]} for _, code, charge in self.charges]
        body = {"plan": bodies.plan(_PLAN, charges, **self.plan)}
        plan = (await conversation.must("POST", "/api/v1/plans", body))["plan"]
        for (name, _, _), charge in zip(self.charges, plan["charges"], strict=True):
            conversation.values[f"charge_{name.lower()}.id"] = charge["lago_id"]
            conversation.values[f"charge_{name.lower()}.code"] = charge["code"]
        subscription = {
            "external_customer_id": "cust_1",
            "external_id": "sub_1",
            "plan_code": _PLAN,
            **self.subscription,
        }
        await conversation.must("POST", "/api/v1/subscriptions", {"subscription": subscription})
        await self._use(conversation, subscription)

    async def _use(self, conversation: Conversation, subscription: Json) -> None:
        external_id = subscription["external_id"]
        path = f"/api/v1/customers/{subscription['external_customer_id']}/current_usage"
        for code, properties in self.events:
            await send(conversation, external_id, code, properties)
        usage = await _settled(
            conversation, f"{path}?external_subscription_id={external_id}", len(self.events)
        )
        last_s = (parse_iso8601_ms(usage["from_datetime"]) or 0) // 1000 - 1
        for code, properties in self.earlier:
            await send(conversation, external_id, code, properties, last_s)


async def send(
    conversation: Conversation,
    external_id: str,
    code: str,
    properties: Json,
    timestamp: int | None = None,
) -> None:
    """Send one event; None: of now."""
    event = {
        "transaction_id": str(uuid.uuid4()),
        "external_subscription_id": external_id,
        "code": code,
        "timestamp": timestamp,
        "properties": properties,
    }
    await conversation.must("POST", "/api/v1/events", {"event": event})


async def _settled(conversation: Conversation, path: str, events_count: int) -> Json:
    """Events are answered within half a second of their fold, or their fold is awaited here."""
    for _ in range(600):
        usage: Json = (await conversation.must("GET", path))["customer_usage"]
        if sum(charge["events_count"] for charge in usage["charges_usage"]) >= events_count:
            return usage
        await asyncio.sleep(0.1)
    raise CannotArrange("this server does not fold events")


def scene_of(state: str) -> Scene | None:
    """Return the scene that a state tells; None when a part is not understood."""
    scene = Scene()
    for part in state.split("; "):
        for sentence, tell in _SENTENCES:
            match = sentence.fullmatch(part)
            if match is not None:
                tell(scene, *match.groups())
                break
        else:
            return None
    return scene


def _plan(
    scene: Scene, currency: str | None, interval: str | None, billing: str | None, advance: str
) -> None:
    scene.plan |= {"pay_in_advance": advance == "advance"}
    scene.plan |= {} if currency is None else {"amount_currency": currency}
    scene.plan |= {} if interval is None else {"interval": interval}
    scene.subscription |= {} if billing is None else {"billing_time": billing}


def _plan_with_charge(
    scene: Scene, currency: str | None, model: str, kind: str, code: str, field_name: str | None
) -> None:
    _plan(scene, currency, None, None, "arrears")
    _charge(scene, None, model, kind, code, field_name, None)


def _charge(
    scene: Scene,
    name: str | None,
    model: str,
    kind: str,
    code: str,
    field_name: str | None,
    keys: str | None,
) -> None:
    _metric(scene, kind, code, field_name)
    properties = dict(_PROPERTIES[model])
    if keys is not None:
        properties["pricing_group_keys"] = [key.strip() for key in keys.split(",")]
    scene.charges.append((name or "", code, {"charge_model": model, "properties": properties}))


def _metric(scene: Scene, kind: str, code: str, field_name: str | None, **more: Any) -> None:
    aggregation = {"unique": "unique_count_agg"}.get(kind, f"{kind}_agg")
    if kind != "count":
        more["field_name"] = field_name or _FIELD
    scene.metrics[code] = bodies.metric(code, aggregation, **more)


def _filtered(scene: Scene, kind: str, names: str, priced: str) -> None:
    """Filters are told as their values with a price: aws/usa 10."""
    keys = names.split(" x ")
    values = [each.rpartition(" ")[0].split("/") for each in priced.split(", ")]
    allowed = [list(dict.fromkeys(column)) for column in zip(*values, strict=True)]
    filters = [{"key": key, "values": known} for key, known in zip(keys, allowed, strict=True)]
    _metric(scene, kind, "calls", None, filters=filters)
    charge = {
        "charge_model": "standard",
        "properties": {"amount": "1"},
        "filters": [
            {
                "values": {key: [value] for key, value in zip(keys, each, strict=True)},
                "properties": {"amount": "1"},
            }
            for each in values
        ],
    }
    scene.charges.append(("", "calls", charge))


def _subscribed(scene: Scene, external_id: str, customer: str | None, at: str | None) -> None:
    scene.subscription |= {"external_id": external_id}
    scene.subscription |= {} if customer is None else {"external_customer_id": customer}
    if at:
        scene.subscription |= {"subscription_at": at if "T" in at else f"{at}T00:00:00Z"}


def _counted(scene: Scene, number: str, code: str) -> None:
    scene.events += [(code, {})] * int(number)


def _by_filter(scene: Scene, told: str) -> None:
    """Events are told as their number and the values of the filter keys: 2 aws-usa."""
    ((code, metric),) = scene.metrics.items()
    for each in told.split(", "):
        number, _, values = each.partition(" ")
        keys = [each["key"] for each in metric["filters"]]
        properties = dict(zip(keys, values.split("-"), strict=False))
        properties |= {metric["field_name"]: 1} if "field_name" in metric else {}
        scene.events += [(code, properties)] * int(number)


def _valued(scene: Scene, which: str, told: str) -> None:
    """Events are told by metric, with the value and before it the group: a: aws 4, gcp 6, b: 2."""
    events, code = scene.events if which == "this" else scene.earlier, ""
    for each in told.split(", "):
        named, found, rest = each.rpartition(": ")
        code = named if found else code
        group, _, value = rest.rpartition(" ")
        properties: Json = {scene.metrics[code]["field_name"]: int(value)}
        (keys,) = (
            c["properties"].get("pricing_group_keys") for _, m, c in scene.charges if m == code
        )
        events.append((code, properties | ({keys[0]: group} if group else {})))


def _nothing(_: Scene) -> None:
    """The part asks for nothing."""


_MODEL, _KIND = f"({'|'.join(_PROPERTIES)})", r"(count|sum|max|latest|unique|weighted_sum)"
_INTERVAL, _BILLING = "(weekly|monthly|quarterly|semiannual|yearly)", "(calendar|anniversary)"
_KEYS = r"(?: with pricing_group_keys \[(.+)\])?"
_METRIC = rf"{_KIND} metric (\w+)(?: \((\w+)\))?"
_SENTENCES: list[tuple[re.Pattern[str], Callable[..., None]]] = [
    (re.compile(told), tell)
    for told, tell in (
        (
            rf"(?:([A-Z]{{3}}) )?(?:{_INTERVAL} )?(?:{_BILLING} )?plan(?:, in (arrears|advance))?",
            _plan,
        ),
        (rf"(?:([A-Z]{{3}}) )?plan with one {_MODEL} charge on {_METRIC}", _plan_with_charge),
        (
            rf"(?:charge (\w+) )?{_MODEL}(?: [\d.]+)?(?: charge)? on {_METRIC}{_KEYS}(?:: .+)?",
            _charge,
        ),
        (rf"{_KIND} metric, filters (\w+(?: x \w+)*): (.+)", _filtered),
        (r"(\S+)(?: of (\S+))? started (\S+)", _subscribed),
        (r"(\S+)(?: of (\S+))? active()?", _subscribed),
        (r"tax [\d.]+%", _nothing),
        (r"no events", _nothing),
        (r"clock (?:frozen at )?\S+", _nothing),
        (r"(\d+) events (\w+) now", _counted),
        (r"events (\d+ [^:]+)", _by_filter),
        (r"(?:events )?(this|previous) period (.+)", _valued),
    )
]
