"""What a client of Lago requires of an answer is there and never null."""

from __future__ import annotations

from typing import Any

import pytest
from lago_python_client.models.alert import AlertResponse
from lago_python_client.models.billable_metric import BillableMetricResponse
from lago_python_client.models.billing_entity import BillingEntityResponse
from lago_python_client.models.customer import CustomerResponse
from lago_python_client.models.customer_projected_usage import CustomerProjectedUsageResponse
from lago_python_client.models.customer_usage import CustomerUsageResponse
from lago_python_client.models.event import EventResponse
from lago_python_client.models.lifetime_usage import LifetimeUsageResponse
from lago_python_client.models.organization import OrganizationResponse
from lago_python_client.models.plan import PlanResponse
from lago_python_client.models.subscription import SubscriptionResponse
from lago_python_client.models.usage import UsageResponse
from lago_python_client.models.webhook_endpoint import WebhookEndpointResponse

from app.api.schemas import alerts, definitions, events, operations, usage, webhooks
from app.api.schemas.base import Model

ANSWERS: list[tuple[type[Model], Any]] = [
    (alerts.AlertOutput, AlertResponse),
    (definitions.MetricOutput, BillableMetricResponse),
    (definitions.PlanOutput, PlanResponse),
    (definitions.CustomerOutput, CustomerResponse),
    (definitions.SubscriptionOutput, SubscriptionResponse),
    (definitions.LifetimeUsageOutput, LifetimeUsageResponse),
    (events.EventOutput, EventResponse),
    (operations.OrganizationOutput, OrganizationResponse),
    (operations.BillingEntityOutput, BillingEntityResponse),
    (usage.UsageOutput, CustomerUsageResponse),
    (usage.ProjectedUsageOutput, CustomerProjectedUsageResponse),
    (usage.AnalyticsUsage, UsageResponse),
    (webhooks.WebhookEndpointOutput, WebhookEndpointResponse),
]


@pytest.mark.parametrize(("ours", "theirs"), ANSWERS, ids=[a.__name__ for a, _ in ANSWERS])
def test_what_a_client_requires_is_never_null(ours: type[Model], theirs: Any) -> None:
    schema = ours.model_json_schema()["properties"]
    for name, field in theirs.__fields__.items():
        if field.required and not field.allow_none:
            assert {"type": "null"} not in schema[name].get("anyOf", []), name
