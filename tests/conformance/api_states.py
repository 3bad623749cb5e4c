"""States that API vectors name in words, brought about by requests."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from tests.conformance.api_scenes import CannotArrange, scene_of
from tests.world import bodies

if TYPE_CHECKING:
    from tests.conformance.api import Conversation

Json = dict[str, Any]
T = TypeVar("T")
Arrange = Callable[["Conversation"], Awaitable[None]]
Patterns = Sequence[tuple[re.Pattern[str], Callable[..., T]]]
"""Words that name a state, and what makes its arrangement of their groups."""

_PLAN = "arranged"


def arrangement_of(state: str) -> Arrange | None:
    """How to bring about a state, as a whole or part by part; None when it is not understood."""
    known = _STATES.get(state) or by_pattern(_PATTERNS, state)
    if known is not None:
        return known
    scene = scene_of(state)
    if scene is not None and (scene.plan or scene.charges or scene.subscription):
        return scene.arrange
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


def _pending_deletion(_: str) -> Arrange:
    async def arrange(_: Conversation) -> None:
        raise CannotArrange("decided otherwise: a plan is deleted at once, and is never pending")

    return arrange


async def _metric(conversation: Conversation, code: str, aggregation_type: str, **more: Any) -> str:
    body = bodies.metric(code, aggregation_type, **more)
    answer = await conversation.must("POST", "/api/v1/billable_metrics", {"billable_metric": body})
    return str(answer["billable_metric"]["lago_id"])


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


_STATES: Mapping[str, Callable[[Conversation], Awaitable[None]]] = {
    "valid API key": _nothing,
    "paid license": _nothing,
}

_PATTERNS: Patterns[Arrange] = [
    (re.compile(r"metric (\S+) \((\w+_agg)(?: on (\w+))?\)"), _with_metric),
    (re.compile(r"metric (\S+): (\w+_agg) on (\w+), expression (.+)"), _with_expression),
    (re.compile(r"active subscription (\S+)"), _active),
    (re.compile(r"subscription (\S+) started_at (\S+)"), _started),
    (re.compile(r"(?:subscription )?(\S+) is terminated"), _terminated),
    (re.compile(r"(?:subscription )?(\S+) is pending"), _pending),
    (re.compile(r"plan (\S+) is pending deletion"), _pending_deletion),
]
