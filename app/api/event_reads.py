"""`GET /events` and `GET /events/{transaction_id}` (metering-semantics §2.6), over all workers."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api import json_text
from app.api.call import Call, Reply
from app.api.errors import forbidden, invalid, not_found
from app.api.event_input import FieldErrors
from app.api.event_json import as_shown
from app.api.meter import EventQuery
from app.api.pagination import PageRequest
from app.api.peers import Outgoing, ask_all, forward, is_forwarded, owner_elsewhere, value_of
from app.api.subscriptions import subscriptions_of
from app.definitions.instants import parse_iso8601_ms


async def enriched(_: Call) -> Any:
    """What Lago shows of its own pipeline; here `trace` says what became of an event."""
    raise forbidden("endpoint_not_available")


async def show(call: Call) -> Any:
    """The first event with a transaction_id, on whichever worker it is."""
    for transaction_id in _wanted_ids(call):
        event = await call.meter.find_event(call.organization_id, transaction_id)
        if event is not None:
            return {"event": as_shown(call, event)}
    target = call.request.rel_url.raw_path_qs
    replies = await ask_all(call, Outgoing("GET", target))
    found = [reply for reply in replies if reply.status != 404]
    if not found:
        raise not_found("event")
    # One that has it is believed before one that cannot know yet.
    return min(found, key=lambda reply: reply.status)


def _wanted_ids(call: Call) -> list[str]:
    """The path's id; also with the query, as Lago's Python client does not encode a `?`."""
    path_id, raw_query = call.parameters["transaction_id"], call.query.raw
    return [f"{path_id}?{raw_query}", path_id] if raw_query else [path_id]


class _PeerEvent(msgspec.Struct):
    timestamp: str
    transaction_id: str


class _PeerMeta(msgspec.Struct):
    total_count: int


class _PeerPage(msgspec.Struct):
    events: list[msgspec.Raw]
    meta: _PeerMeta


async def index(call: Call) -> Any:
    """Events by time, newest first, then transaction_id; of all workers unless one has them all."""
    query = _event_query(call)
    if query.external_subscription_id is not None:
        owner = owner_elsewhere(call, query.external_subscription_id)
        if owner is not None:
            return await forward(call, owner)
        return await _page_here(call, query, call.page)
    if is_forwarded(call) or not call.meter.peers():
        return await _page_here(call, query, call.page)
    return await _page_of_all(call, query, call.page)


async def _page_here(call: Call, query: EventQuery, page: PageRequest) -> dict[str, Any]:
    found = await call.meter.list_events(call.organization_id, query, page.offset, page.per_page)
    return {
        "events": [as_shown(call, event) for event in found.events],
        "meta": page.meta(found.total_count),
    }


async def _page_of_all(call: Call, query: EventQuery, page: PageRequest) -> dict[str, Any]:
    """Merge the first pages of every worker, each as long as all pages up to the one wanted."""
    so_far = PageRequest(1, page.offset + page.per_page)
    target = f"/api/v1/events?{call.query.with_page(so_far.page, so_far.per_page)}"
    here = json_text.encode(await _page_here(call, query, so_far))
    replies = await ask_all(call, Outgoing("GET", target))
    pages = [json_text.decode_as(body, _PeerPage) for body in (here, *(_body(r) for r in replies))]
    events = [event for found in pages for event in found.events]
    events.sort(key=_event_order)
    return {
        "events": events[page.offset : page.offset + page.per_page],
        "meta": page.meta(sum(found.meta.total_count for found in pages)),
    }


def _body(reply: Reply) -> bytes:
    value_of(reply)
    return reply.body


def _event_order(raw: msgspec.Raw) -> tuple[int, str]:
    event = msgspec.json.decode(raw, type=_PeerEvent)
    return -(parse_iso8601_ms(event.timestamp) or 0), event.transaction_id


def _event_query(call: Call) -> EventQuery:
    """The filters; 422 for dates that are none and for combinations that contradict."""
    query, errors = call.query, FieldErrors()
    times: dict[str, int | None] = {}
    for name in ("timestamp_from", "timestamp_to"):
        text = query.text(name)
        times[name] = None if text is None else parse_iso8601_ms(text)
        if text is not None and times[name] is None:
            errors[name] = ["invalid_date"]
    external_subscription_id = query.text("external_subscription_id")
    from_start = (query.text("timestamp_from_started_at") or "false").lower()
    if from_start not in ("true", "false"):
        errors["timestamp_from_started_at"] = ["value_is_invalid"]
    if from_start == "true":
        if query.text("timestamp_from") is not None:
            errors["timestamp_from"] = ["cannot be used with timestamp_from_started_at"]
        if external_subscription_id is None:
            errors["external_subscription_id"] = ["required with timestamp_from_started_at"]
        else:
            newest = next(iter(subscriptions_of(call, external_subscription_id)), None)
            times["timestamp_from"] = newest.started_at_ms if newest else None
    if errors:
        raise invalid(errors)
    return EventQuery(
        code=query.text("code"),
        external_subscription_id=external_subscription_id,
        timestamp_from_ms=times["timestamp_from"],
        timestamp_to_ms=times["timestamp_to"],
    )
