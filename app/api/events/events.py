"""`POST /events` (metering-semantics §2.3, state §9)."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call, Reply
from app.api.answering.peers import forward, owner_elsewhere
from app.api.events.event_input import InvalidEvent, SingleBody, read_event
from app.api.events.event_json import (
    created_json,
    duplicate_header,
    evaluation_message,
    position_header,
    problem,
    with_expression,
)
from app.api.http import json_text
from app.api.http.errors import invalid
from app.expressions import EvaluationFailed


async def create(call: Call) -> Any:
    """Append one event: 200 once it is in the log, whatever its code and subscription."""
    await call.root("event")
    if not call.forwarded:
        call.count_events(1)
    fields = json_text.decode_as(await call.body(), SingleBody).event
    try:
        event = read_event(fields, call.now_ms)
        shown_properties = with_expression(call, event)
    except InvalidEvent as error:
        raise invalid(error.errors) from error
    except EvaluationFailed as error:
        raise invalid(evaluation_message(error)) from error
    if (owner := owner_elsewhere(call, event.external_subscription_id)) is not None:
        return await forward(call, owner)
    (verdict,) = await call.meter.ingest.append(call.organization_id, [event], partial=False)
    errors = problem(verdict)
    if errors is not None:
        refusal = invalid(errors)
        refusal.headers |= duplicate_header([verdict])
        raise refusal
    body = {"event": created_json(call, event, shown_properties, verdict)}
    return Reply.json(body, position_header([verdict]))
