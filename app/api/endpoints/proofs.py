"""Endpoints that prove a figure: the fate of an event and the events behind a figure."""

from __future__ import annotations

from typing import get_args

from app.api.answering.router import Endpoint, Parameter
from app.api.endpoints.parameters import BOOLEAN, FORMAT, PAGE, SUBSCRIPTION, V1
from app.api.events import trace, verdicts
from app.api.schemas import proofs as schemas
from app.api.usage import explain
from app.meter.evidence import Status

EVENT_PROOFS = (
    Endpoint(
        f"POST {V1}/events/verdicts",
        verdicts.create,
        "event",
        "Say what became of up to 100 events, by their ids.",
        request=schemas.VerdictsBody,
        response=schemas.VerdictsAnswer,
        errors=(413, 422),
        reads=True,
        interruptible=True,
    ),
    Endpoint(
        f"GET {V1}/events/{{transaction_id}}/trace",
        trace.show,
        "event",
        "Say for each charge whether an event counted, and why not.",
        response=schemas.TraceAnswer,
        query=(Parameter("external_subscription_id", "Only of this subscription."),),
        errors=(404,),
    ),
)

USAGE_PROOFS = (
    Endpoint(
        f"GET {V1}/customers/{{external_id}}/usage/explain",
        explain.show,
        "customer_usage",
        "List the events behind a figure, and compute it from them anew.",
        response=schemas.ExplanationAnswer,
        query=(
            SUBSCRIPTION,
            Parameter("billable_metric_code", "The metric.", required=True),
            Parameter(
                "at",
                "ISO 8601, at most 10 years ahead: of the period that holds it; now by default.",
            ),
            Parameter("charge_id", "Only this charge."),
            Parameter("charge_code", "Only the charge of this code."),
            Parameter(
                "group",
                "Only groups with these values.",
                {"type": "object", "additionalProperties": {"type": "string"}},
            ),
            Parameter(
                "since_revision",
                "Only events by which the figures differ from that revision.",
                {"type": "integer", "minimum": 0},
            ),
            Parameter(
                "status",
                "Only events of this status.",
                {"type": "string", "enum": list(get_args(Status))},
            ),
            Parameter("reason", "Only events that are ignored for this reason."),
            Parameter("per_event", "With a page of the lists that a price asks for.", BOOLEAN),
            Parameter(
                "breakdown",
                "With sums and prorated shares by local date.",
                {"type": "string", "enum": ["days"]},
            ),
            *PAGE,
            FORMAT,
        ),
        errors=(404, 422),
    ),
)
