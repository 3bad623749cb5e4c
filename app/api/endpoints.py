"""Every endpoint there is, in the order they are tried."""

from __future__ import annotations

from typing import Any

from app.api import (
    changes,
    corrections,
    customers,
    descriptions,
    event_batch,
    event_reads,
    events,
    explain,
    history,
    metrics,
    not_counted,
    operations,
    plans,
    preview,
    schemas,
    series,
    set_aside,
    subscriptions,
    trace,
    usage,
    verification,
)
from app.api.router import Endpoint, Parameter

_V1 = "/api/v1"
_BOOLEAN: dict[str, Any] = {"type": "boolean"}
_POSITIVE: dict[str, Any] = {"type": "integer", "minimum": 1}

_PAGE = (
    Parameter("page", "Number of the page, from 1.", _POSITIVE),
    Parameter("per_page", "Size of a page; 100 by default.", _POSITIVE),
)
_STATUS = Parameter(
    "status[]",
    "Statuses to show; active by default.",
    {
        "type": "array",
        "items": {"type": "string", "enum": ["pending", "active", "terminated", "canceled"]},
    },
)
_SUBSCRIPTION = Parameter("external_subscription_id", "The subscription.", required=True)
_WAIT_FOR = Parameter(
    "wait_for", "partition:offset of a record that the answer must include; waits up to 5 s."
)

_METRICS = (
    Endpoint(
        "POST",
        f"{_V1}/billable_metrics/evaluate_expression",
        metrics.evaluate_expression,
        "billable_metric",
        "Evaluate an expression on an example event.",
        request=schemas.ExpressionBody,
        response=schemas.ExpressionAnswer,
        errors=(422,),
    ),
    Endpoint(
        "POST",
        f"{_V1}/billable_metrics",
        metrics.create,
        "billable_metric",
        "Create a billable metric.",
        request=schemas.MetricBody,
        response=schemas.MetricAnswer,
        errors=(422,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/billable_metrics",
        metrics.index,
        "billable_metric",
        "List billable metrics, newest first.",
        response=schemas.MetricList,
        query=_PAGE,
    ),
    *(
        Endpoint(
            method,
            f"{_V1}/billable_metrics/{{code}}",
            metrics.update,
            "billable_metric",
            "Change a billable metric; absent keys stay as they are.",
            request=schemas.MetricBody,
            response=schemas.MetricAnswer,
            errors=(404, 422),
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        f"{_V1}/billable_metrics/{{code}}",
        metrics.show,
        "billable_metric",
        "Show a billable metric.",
        response=schemas.MetricAnswer,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{_V1}/billable_metrics/{{code}}",
        metrics.delete,
        "billable_metric",
        "Delete a billable metric and its charges.",
        response=schemas.MetricAnswer,
        errors=(404,),
    ),
)

_EVENTS = (
    Endpoint(
        "POST",
        f"{_V1}/events/corrections",
        corrections.create,
        "event",
        "Cancel or amend an event by transaction_id, at any age.",
        request=schemas.CorrectionBody,
        response=schemas.CorrectionAnswer,
        errors=(413, 422),
    ),
    Endpoint(
        "POST",
        f"{_V1}/events/batch",
        event_batch.create,
        "event",
        "Send events: all are taken or none.",
        request=schemas.BatchEventBody,
        response=schemas.BatchAnswer,
        query=(
            Parameter("partial", "Take the valid ones and name the others.", _BOOLEAN),
            Parameter("dry_run", "Only say what would be refused on this worker.", _BOOLEAN),
        ),
        errors=(413, 422),
    ),
    *(
        Endpoint(
            "POST",
            f"{_V1}/events/{name}",
            usage.unpriced,
            "event",
            "Prices are not computed here.",
            errors=(403,),
        )
        for name in ("estimate_fees", "estimate_instant_fees", "batch_estimate_instant_fees")
    ),
    Endpoint(
        "POST",
        f"{_V1}/events",
        events.create,
        "event",
        "Send an event.",
        request=schemas.EventBody,
        response=schemas.EventAnswer,
        errors=(413, 422),
    ),
    Endpoint(
        "GET",
        f"{_V1}/events",
        event_reads.index,
        "event",
        "List events, newest first.",
        response=schemas.EventList,
        query=(
            *_PAGE,
            Parameter("code", "Of this metric."),
            Parameter("external_subscription_id", "Of this subscription."),
            Parameter("timestamp_from", "ISO 8601, inclusive."),
            Parameter("timestamp_to", "ISO 8601, inclusive."),
            Parameter(
                "timestamp_from_started_at", "From the start of the newest subscription.", _BOOLEAN
            ),
        ),
        errors=(422,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/events_enriched",
        event_reads.enriched,
        "event",
        "Not available; see the trace of an event.",
        errors=(403,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/events/not_counted",
        not_counted.index,
        "event",
        "List what no charge counted, by reason and code, with a few samples.",
        response=schemas.NotCountedList,
        query=(
            Parameter("reason", "Only for this reason, such as `unknown_code`."),
            Parameter("code", "Only of this code."),
        ),
    ),
    Endpoint(
        "GET",
        f"{_V1}/events/{{transaction_id}}/trace",
        trace.show,
        "event",
        "Say for each charge whether an event counted, and why not.",
        response=schemas.TraceAnswer,
        query=(Parameter("external_subscription_id", "Only of this subscription."),),
        errors=(404,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/events/{{transaction_id}}",
        event_reads.show,
        "event",
        "Show an event.",
        response=schemas.EventAnswer,
        errors=(404,),
    ),
)

_PLANS = (
    Endpoint(
        "POST",
        f"{_V1}/plans",
        plans.create,
        "plan",
        "Create a plan.",
        request=schemas.PlanBody,
        response=schemas.PlanAnswer,
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        f"{_V1}/plans",
        plans.index,
        "plan",
        "List plans, newest first.",
        response=schemas.PlanList,
        query=_PAGE,
    ),
    *(
        Endpoint(
            method,
            f"{_V1}/plans/{{code}}",
            plans.update,
            "plan",
            "Change a plan: charges with an id are updated, without created, absent ones deleted.",
            request=schemas.PlanBody,
            response=schemas.PlanAnswer,
            errors=(404, 422),
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        f"{_V1}/plans/{{code}}",
        plans.show,
        "plan",
        "Show a plan.",
        response=schemas.PlanAnswer,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{_V1}/plans/{{code}}",
        plans.delete,
        "plan",
        "Delete a plan and terminate its subscriptions.",
        response=schemas.PlanAnswer,
        errors=(404,),
    ),
)

_USAGE = (
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}/current_usage",
        usage.current,
        "customer_usage",
        "Usage of the period that holds now.",
        response=schemas.UsageAnswer,
        query=(
            _SUBSCRIPTION,
            Parameter("charge_id", "Only this charge."),
            Parameter("charge_code", "Only the charge of this code."),
            Parameter("billable_metric_code", "Only charges on this metric."),
            Parameter(
                "group",
                "Only events with these property values, whose keys then no longer group.",
                {"type": "object", "additionalProperties": {"type": "string"}},
            ),
            Parameter("skip_grouping", "Aggregate as if nothing were grouped.", _BOOLEAN),
            Parameter("apply_taxes", "Taken for compatibility; nothing is taxed.", _BOOLEAN),
            Parameter("full_usage", "Not available: 405.", _BOOLEAN),
            _WAIT_FOR,
        ),
        errors=(404, 405, 422),
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}/past_usage",
        usage.past,
        "customer_usage",
        "Usage of ended periods, newest first.",
        response=schemas.PastUsageList,
        query=(
            _SUBSCRIPTION,
            Parameter("billable_metric_code", "Only charges on this metric."),
            Parameter("periods_count", "Only so many periods.", _POSITIVE),
            *_PAGE,
            _WAIT_FOR,
        ),
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}/usage/explain",
        explain.show,
        "customer_usage",
        "List the events behind a figure, and compute it from them anew.",
        response=schemas.ExplanationAnswer,
        query=(
            _SUBSCRIPTION,
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
            *_PAGE,
        ),
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}/usage/series",
        series.show,
        "customer_usage",
        "Usage of a metric by minute, hour, day or month.",
        response=schemas.UsageSeriesAnswer,
        query=(
            _SUBSCRIPTION,
            Parameter("billable_metric_code", "The metric.", required=True),
            Parameter(
                "window",
                "Length of a window; day by default.",
                {"type": "string", "enum": ["minute", "hour", "day", "month"]},
            ),
            Parameter("timezone", "IANA name; the customer's by default."),
            Parameter("from", "ISO 8601, within the first window."),
            Parameter("to", "ISO 8601, exclusive; now by default."),
        ),
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}/projected_usage",
        usage.projected,
        "customer_usage",
        "Not available.",
        errors=(403,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}/portal_url",
        usage.unpriced,
        "customer",
        "Not available.",
        errors=(403,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/analytics/usage",
        usage.unpriced,
        "analytic",
        "Not available.",
        errors=(403,),
    ),
)

_CUSTOMERS = (
    Endpoint(
        "POST",
        f"{_V1}/customers",
        customers.upsert,
        "customer",
        "Create a customer, or change the one with this external_id.",
        request=schemas.CustomerBody,
        response=schemas.CustomerAnswer,
        errors=(422,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers",
        customers.index,
        "customer",
        "List customers, newest first.",
        response=schemas.CustomerList,
        query=_PAGE,
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}/subscriptions",
        subscriptions.index_of_customer,
        "subscription",
        "List the subscriptions of a customer.",
        response=schemas.SubscriptionList,
        query=(*_PAGE, _STATUS, Parameter("plan_code", "On this plan.")),
        errors=(404,),
    ),
    Endpoint(
        "GET",
        f"{_V1}/customers/{{external_id}}",
        customers.show,
        "customer",
        "Show a customer.",
        response=schemas.CustomerAnswer,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{_V1}/customers/{{external_id}}",
        customers.delete,
        "customer",
        "Delete a customer.",
        response=schemas.CustomerAnswer,
        errors=(404,),
    ),
)

_SUBSCRIPTIONS = (
    Endpoint(
        "POST",
        f"{_V1}/subscriptions",
        subscriptions.create,
        "subscription",
        "Subscribe a customer to a plan, or move the subscription of this external_id to it.",
        request=schemas.SubscriptionBody,
        response=schemas.SubscriptionAnswer,
        errors=(404, 422),
    ),
    Endpoint(
        "GET",
        f"{_V1}/subscriptions",
        subscriptions.index,
        "subscription",
        "List subscriptions, newest first.",
        response=schemas.SubscriptionList,
        query=(
            *_PAGE,
            _STATUS,
            Parameter("external_customer_id", "Of this customer."),
            Parameter("plan_code", "On this plan."),
        ),
    ),
    Endpoint(
        "GET",
        f"{_V1}/subscriptions/{{external_id}}/lifetime_usage",
        subscriptions.lifetime_usage,
        "lifetime_usage",
        "Amounts since the subscription began: zeros, as nothing is priced.",
        response=schemas.LifetimeUsageAnswer,
        errors=(404,),
    ),
    Endpoint(
        "PUT",
        f"{_V1}/subscriptions/{{external_id}}/lifetime_usage",
        usage.unpriced,
        "lifetime_usage",
        "Not available.",
        errors=(403,),
    ),
    *(
        Endpoint(
            method,
            f"{_V1}/subscriptions/{{external_id}}",
            subscriptions.update,
            "subscription",
            "Change name and ending_at, and subscription_at while pending.",
            request=schemas.SubscriptionBody,
            response=schemas.SubscriptionAnswer,
            query=(Parameter("status", "The pending one, or the active one."),),
            errors=(404, 422),
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        f"{_V1}/subscriptions/{{external_id}}",
        subscriptions.show,
        "subscription",
        "Show a subscription.",
        response=schemas.SubscriptionAnswer,
        query=(Parameter("status", "Its status; active by default."),),
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        f"{_V1}/subscriptions/{{external_id}}",
        subscriptions.terminate,
        "subscription",
        "Terminate a subscription, or cancel a pending one.",
        response=schemas.SubscriptionAnswer,
        query=(Parameter("status", "`pending` cancels the pending one."),),
        errors=(404, 422),
    ),
)

_OPERATIONS = (
    Endpoint(
        "GET",
        f"{_V1}/organizations",
        operations.organization,
        "organization",
        "Tell a key its organization.",
        response=schemas.OrganizationAnswer,
    ),
    Endpoint(
        "GET",
        "/health/live",
        operations.live,
        "health",
        "Whether the process runs.",
        response=schemas.Status,
        public=True,
        waits=False,
    ),
    Endpoint(
        "GET",
        "/health/ready",
        operations.ready,
        "health",
        "Whether this worker should get traffic.",
        response=schemas.Status,
        errors=(503,),
        public=True,
        waits=False,
    ),
)

_HISTORY = (
    Endpoint(
        "POST",
        f"{_V1}/history",
        history.create,
        "history",
        "Fold published periods under the definitions as they are now: revisions follow.",
        request=schemas.HistoryBody,
        response=schemas.HistoryAnswer,
        errors=(404, 422),
    ),
)

_UNDESCRIBED = (
    Endpoint(
        "GET", "/metrics", operations.metrics, "metrics", "Prometheus.", public=True, waits=False
    ),
    Endpoint(
        "POST",
        f"{_V1}/preview",
        preview.preview,
        "preview",
        "What a change would make.",
        interruptible=True,
    ),
    Endpoint(
        "POST",
        f"{_V1}/verify",
        verification.verify,
        "verification",
        "Compare with raw.",
        reads=True,
        interruptible=True,
    ),
    Endpoint(
        "GET",
        f"{_V1}/definitions/changes",
        changes.changes,
        "definition",
        "Who changed which definition, and when.",
        query=(
            Parameter(
                "since",
                "Offset in the log of definitions to begin at; `next_since` of the answer before.",
                {"type": "integer", "minimum": 0},
            ),
        ),
    ),
    Endpoint("GET", f"{_V1}/set_aside", set_aside.index, "set_aside", "What no fold looks at."),
    Endpoint("POST", f"{_V1}/set_aside", set_aside.create, "set_aside", "Set records aside."),
    Endpoint(
        "DELETE",
        f"{_V1}/set_aside/{{lago_id}}",
        set_aside.lift,
        "set_aside",
        "Append what is set aside anew.",
    ),
    Endpoint("GET", "/", operations.page, "page", "The live page.", public=True),
    Endpoint("GET", "/page/{name}", operations.page_asset, "page", "Its files.", public=True),
    Endpoint("GET", "/api/page/overview", operations.overview, "page", "Its figures.", public=True),
    Endpoint(
        "GET",
        "/api/page/organizations",
        operations.organizations,
        "page",
        "Whose figures it may show.",
        public=True,
    ),
    Endpoint(
        "POST",
        "/api/page/dead_letters/replay",
        operations.replay,
        "page",
        "Append a dead letter anew.",
        public=True,
    ),
    Endpoint("GET", "/openapi.json", descriptions.openapi, "page", "OpenAPI 3.1.", public=True),
    Endpoint("GET", "/asyncapi.json", descriptions.asyncapi, "page", "AsyncAPI 3.", public=True),
)

DESCRIBED = (
    *_METRICS,
    *_EVENTS,
    *_PLANS,
    *_USAGE,
    *_CUSTOMERS,
    *_SUBSCRIPTIONS,
    *_HISTORY,
    *_OPERATIONS,
)
"""Those in `/openapi.json`."""

ENDPOINTS = (*DESCRIBED, *_UNDESCRIBED)

ADMIN_ENDPOINTS = tuple(endpoint for endpoint in ENDPOINTS if not endpoint.waits)
"""What METER_ADMIN_PORT answers: health and metrics."""
