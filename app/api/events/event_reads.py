"""`GET /events` and `GET /events/{transaction_id}` (metering-semantics §2.6), over all workers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from app.api.answering.call import Call, Reply
from app.api.answering.peers import Outgoing, ask_all, listed_by_all
from app.api.answering.streams import streamed
from app.api.definitions.selections import BOOLEANS, must_be
from app.api.definitions.subscriptions import subscriptions_of
from app.api.events.event_json import as_shown
from app.api.http import json_text
from app.api.http.errors import FieldErrors, forbidden, invalid, not_found
from app.api.http.pagination import PageRequest
from app.billing_periods.instants import parse_iso8601_ms
from app.bounds.turns import Work
from app.meter.events import EventQuery, ListedEvent
from app.meter.listing import Listed


async def enriched(_: Call) -> Any:
    """Refuse Lago's view of its own pipeline with 403; here `trace` tells an event's outcome."""
    raise forbidden("endpoint_not_available")


async def show(call: Call) -> Any:
    """Answer the first event with a transaction_id, on whichever worker it is."""
    for transaction_id in _wanted_ids(call):
        event = await call.meter.events.find_event(call.organization_id, transaction_id)
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
    """Return the path's id; also with the query, as Lago's Python client does not encode a `?`."""
    path_id, raw_query = call.parameters["transaction_id"], call.query.raw
    return [f"{path_id}?{raw_query}", path_id] if raw_query else [path_id]


async def index(call: Call) -> Any:
    """List events by time, newest first, then transaction_id."""
    page = PageRequest.of_events(call.query)
    query = _event_query(call, page)

    async def show(found: Listed[ListedEvent]) -> Reply | web.StreamResponse:
        return await streamed(call, _text(call, found.places, page.meta(found.total_count)))

    find = partial(call.meter.events.list_events, call.organization_id, query)
    work, name = Work("request", "events", call.organization_id), query.external_subscription_id
    return await listed_by_all(call, work, name, page, find, ListedEvent, show)


async def _text(
    call: Call, listed: Sequence[ListedEvent], meta: object
) -> AsyncGenerator[bytes, None]:
    """Yield the JSON of the answer; events are read again when they are written."""
    opening = b'{"events":['
    async for events in call.meter.events.read_events(listed):
        yield opening + json_text.encode([as_shown(call, event) for event in events])[1:-1]
        opening = b","
    yield (b"" if listed else opening) + b'],"meta":' + json_text.encode(meta) + b"}"


def _event_query(call: Call, page: PageRequest) -> EventQuery:
    """Read the filters; 422 for dates that are none and for combinations that contradict."""
    query, errors = call.query, FieldErrors()
    times: dict[str, int | None] = {}
    for name in ("timestamp_from", "timestamp_to"):
        text = query.text(name)
        times[name] = None if text is None else parse_iso8601_ms(text)
        if text is not None and times[name] is None:
            errors[name] = ["invalid_date"]
    external_subscription_id = query.text("external_subscription_id")
    from_start = (query.text("timestamp_from_started_at") or "false").lower()
    if from_start not in BOOLEANS:
        errors["timestamp_from_started_at"] = [must_be(BOOLEANS)]
    if from_start == "true":
        if query.text("timestamp_from") is not None:
            errors["timestamp_from"] = ["cannot be used with timestamp_from_started_at"]
        if external_subscription_id is None:
            errors["external_subscription_id"] = ["required with timestamp_from_started_at"]
        else:
            newest = next(iter(subscriptions_of(call, external_subscription_id)), None)
            times["timestamp_from"] = newest.started_at_ms if newest else None
    page.check_depth(errors)
    if errors:
        raise invalid(errors)
    return EventQuery(
        code=query.text("code"),
        external_subscription_id=external_subscription_id,
        timestamp_from_ms=times["timestamp_from"],
        timestamp_to_ms=times["timestamp_to"],
    )
