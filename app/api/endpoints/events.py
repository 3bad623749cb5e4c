"""Endpoints of events, their corrections and what no charge counted."""

from __future__ import annotations

from app.api.answering.router import Endpoint, Parameter
from app.api.endpoints.parameters import BOOLEAN, PAGE, V1
from app.api.endpoints.resource import unpriced
from app.api.events import corrections, estimates, event_batch, event_reads, events, not_counted
from app.api.schemas import events as schemas

EVENTS = (
    Endpoint(
        f"POST {V1}/events/corrections",
        corrections.create,
        "event",
        "Cancel or amend an event by transaction_id, at any age.",
        request=schemas.CorrectionBody,
        response=schemas.CorrectionAnswer,
        errors=(413, 422),
    ),
    Endpoint(
        f"POST {V1}/events/batch",
        event_batch.create,
        "event",
        "Send events: all are taken or none.",
        request=schemas.BatchEventBody,
        response=schemas.BatchAnswer,
        query=(
            Parameter("partial", "Take the valid ones and name the others.", BOOLEAN),
            Parameter("dry_run", "Only say what would be refused on this worker.", BOOLEAN),
        ),
        errors=(413, 422),
    ),
    *(
        unpriced(f"POST {V1}/events/{name}", "event", "Prices are not computed here.")
        for name in ("estimate_instant_fees", "batch_estimate_instant_fees")
    ),
    Endpoint(
        f"POST {V1}/events/estimate_fees",
        estimates.show,
        "event",
        "Tell what an event would bill at once; nothing is kept of it.",
        request=schemas.EventBody,
        response=schemas.FeesAnswer,
        errors=(404, 422),
    ),
    Endpoint(
        f"POST {V1}/events",
        events.create,
        "event",
        "Send an event.",
        request=schemas.EventBody,
        response=schemas.EventAnswer,
        errors=(413, 422),
    ),
    Endpoint(
        f"GET {V1}/events",
        event_reads.index,
        "event",
        "List events, newest first.",
        response=schemas.EventList,
        query=(
            *PAGE,
            Parameter(
                "whole",
                "Show the first 100,000 at once, read once: each page reads all to count them.",
                BOOLEAN,
            ),
            Parameter("code", "Of this metric."),
            Parameter("external_subscription_id", "Of this subscription."),
            Parameter("timestamp_from", "ISO 8601, inclusive."),
            Parameter("timestamp_to", "ISO 8601, inclusive."),
            Parameter(
                "timestamp_from_started_at", "From the start of the newest subscription.", BOOLEAN
            ),
        ),
        errors=(422,),
    ),
    Endpoint(
        f"GET {V1}/events_enriched",
        event_reads.enriched,
        "event",
        "Not available; see the trace of an event.",
        errors=(403,),
    ),
    Endpoint(
        f"GET {V1}/events/not_counted",
        not_counted.index,
        "event",
        "List what no charge counted, by reason and code, with a few samples.",
        response=schemas.NotCountedList,
        query=(
            Parameter("reason", "Only for this reason, such as `unknown_code`."),
            Parameter("code", "Only of this code."),
        ),
    ),
)

ONE_EVENT = (
    Endpoint(
        f"GET {V1}/events/{{transaction_id}}",
        event_reads.show,
        "event",
        "Show an event.",
        response=schemas.EventAnswer,
        errors=(404,),
    ),
)
