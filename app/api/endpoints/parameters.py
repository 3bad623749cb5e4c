"""Path prefix and query parameters that several endpoints have."""

from __future__ import annotations

from typing import Any, get_args

from app.api.answering.router import Parameter
from app.definitions.model import SubscriptionStatus

V1 = "/api/v1"
BOOLEAN: dict[str, Any] = {"type": "boolean"}
POSITIVE: dict[str, Any] = {"type": "integer", "minimum": 1}

PAGE = (
    Parameter("page", "Number of the page, from 1.", POSITIVE),
    Parameter("per_page", "Size of a page; 100 by default.", POSITIVE),
)
STATUS = Parameter(
    "status[]",
    "Statuses to show; active by default.",
    {"type": "array", "items": {"type": "string", "enum": list(get_args(SubscriptionStatus))}},
)
SUBSCRIPTION_STATUS = Parameter(
    "subscription_status", "Status of the subscription, also as `status`; active by default."
)
SUBSCRIPTION = Parameter("external_subscription_id", "The subscription.", required=True)
FORMAT = Parameter(
    "format",
    "csv: flat columns under a header, also by Accept: text/csv. The header Meter-Next-Page"
    " names the next page, if there is one.",
    {"type": "string", "enum": ["json", "csv"]},
)
WAIT_FOR = Parameter(
    "wait_for", "partition:offset of a record that the answer must include; waits up to 5 s."
)
