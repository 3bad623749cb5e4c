"""Every endpoint there is, in the order they are tried."""

from __future__ import annotations

from app.api.endpoints.alerts import ALERTS
from app.api.endpoints.charges import PLAN_CHARGES, SUBSCRIPTION_CHARGES
from app.api.endpoints.definitions import CUSTOMERS, METRICS, PLANS, SUBSCRIPTIONS
from app.api.endpoints.events import EVENTS, ONE_EVENT
from app.api.endpoints.operations import CHANGES, DEAD_LETTERS, HISTORY, OPERATIONS, UNDESCRIBED
from app.api.endpoints.page import PAGE
from app.api.endpoints.proofs import EVENT_PROOFS, USAGE_PROOFS
from app.api.endpoints.usage import RECORDS, SERIES, USAGE
from app.api.endpoints.webhooks import PUBLIC_KEY_TEXT, WEBHOOKS

DESCRIBED = (
    *METRICS,
    *EVENTS,
    *EVENT_PROOFS,
    *ONE_EVENT,
    *PLAN_CHARGES,
    *PLANS,
    *USAGE,
    *USAGE_PROOFS,
    *RECORDS,
    *SERIES,
    *CUSTOMERS,
    *SUBSCRIPTION_CHARGES,
    *ALERTS,
    *SUBSCRIPTIONS,
    *HISTORY,
    *CHANGES,
    *DEAD_LETTERS,
    *WEBHOOKS,
    *OPERATIONS,
)
"""Endpoints that `/openapi.json` describes."""

ENDPOINTS = (*DESCRIBED, *PUBLIC_KEY_TEXT, *UNDESCRIBED, *PAGE)

ADMIN_ENDPOINTS = tuple(endpoint for endpoint in ENDPOINTS if not endpoint.waits)
"""Endpoints that answer on METER_ADMIN_PORT: health and metrics."""
