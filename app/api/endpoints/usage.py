"""Endpoints of usage: of the running period, of past ones and by windows."""

from __future__ import annotations

from typing import get_args

from app.api import record_schemas
from app.api.answering.router import Endpoint, Parameter
from app.api.endpoints.parameters import BOOLEAN, FORMAT, PAGE, POSITIVE, SUBSCRIPTION, V1, WAIT_FOR
from app.api.endpoints.resource import unpriced
from app.api.schemas import usage as schemas
from app.api.usage import analytics, records, series, usage
from app.meter.evidence import WindowName

_DAY = {"type": "string", "format": "date"}

_RUNNING = (
    SUBSCRIPTION,
    Parameter("charge_id", "Only this charge."),
    Parameter("charge_code", "Only the charge of this code."),
    Parameter("billable_metric_code", "Only charges on this metric."),
    Parameter(
        "group",
        "Only events with these property values, whose keys then no longer group.",
        {"type": "object", "additionalProperties": {"type": "string"}},
    ),
    Parameter("skip_grouping", "Aggregate as if nothing were grouped.", BOOLEAN),
    Parameter(
        "filter_by_presentation",
        "Only these presentation keys; an empty list: none.",
        {"type": "array", "items": {"type": "string"}},
    ),
    Parameter("apply_taxes", "Taken for compatibility; nothing is taxed.", BOOLEAN),
)

USAGE = (
    Endpoint(
        f"GET {V1}/customers/{{external_id}}/current_usage",
        usage.current,
        "customer_usage",
        "Usage of the period that holds now.",
        response=schemas.UsageAnswer,
        query=(
            *_RUNNING,
            Parameter("full_usage", "All periods since the start of the subscription.", BOOLEAN),
            WAIT_FOR,
        ),
        errors=(404, 405, 422),
    ),
    Endpoint(
        f"GET {V1}/customers/{{external_id}}/projected_usage",
        usage.projected,
        "customer_usage",
        "The same with what it comes to if it goes on as it did so far.",
        response=schemas.ProjectedUsageAnswer,
        query=(*_RUNNING, WAIT_FOR),
        errors=(404, 405, 422),
    ),
    Endpoint(
        f"GET {V1}/customers/{{external_id}}/past_usage",
        usage.past,
        "customer_usage",
        "Usage of ended periods, newest first.",
        response=schemas.PastUsageList,
        query=(
            SUBSCRIPTION,
            Parameter("billable_metric_code", "Only charges on this metric."),
            Parameter("periods_count", "Only so many periods.", POSITIVE),
            *PAGE,
            FORMAT,
            WAIT_FOR,
        ),
        errors=(404, 422),
    ),
)

RECORDS = (
    Endpoint(
        f"GET {V1}/usage_records",
        records.index,
        "usage_record",
        "List published records: the newest of each cell, or all that was ever published.",
        response=record_schemas.UsageRecordsAnswer,
        query=(
            Parameter("external_customer_id", "Only of this customer."),
            Parameter("external_subscription_id", "Only of this subscription."),
            Parameter("billable_metric_code", "Only of this metric."),
            Parameter(
                "type",
                "Only records of this type; instants only with revisions.",
                {
                    "type": "string",
                    "enum": [
                        "usage.recorded",
                        "usage.revised",
                        "period.completed",
                        "usage.instant",
                        "usage.instant_revised",
                    ],
                },
            ),
            Parameter(
                "from", "ISO 8601; a date is local. Only of periods that end at or after it."
            ),
            Parameter("to", "ISO 8601; a date is local. Only of periods that begin before it."),
            Parameter(
                "revisions", "All revisions and completions, as the topic has them.", BOOLEAN
            ),
            *PAGE,
            FORMAT,
        ),
        errors=(422,),
    ),
)

SERIES = (
    Endpoint(
        f"GET {V1}/customers/{{external_id}}/usage/series",
        series.show,
        "customer_usage",
        "Usage of a metric by minute, hour, day or month.",
        response=schemas.UsageSeriesAnswer,
        query=(
            SUBSCRIPTION,
            Parameter("billable_metric_code", "The metric.", required=True),
            Parameter(
                "window",
                "Length of a window; day by default.",
                {"type": "string", "enum": list(get_args(WindowName))},
            ),
            Parameter("timezone", "IANA name; the customer's by default."),
            Parameter("from", "ISO 8601, within the first window."),
            Parameter("to", "ISO 8601, exclusive; now by default."),
            FORMAT,
        ),
        errors=(404, 422),
    ),
    unpriced(f"GET {V1}/customers/{{external_id}}/portal_url", "customer", "Not available."),
    Endpoint(
        f"GET {V1}/analytics/usage",
        analytics.usage,
        "analytic",
        "What days, weeks or months added to usage; only with the setting daily_records.",
        response=schemas.AnalyticsAnswer,
        query=(
            Parameter(
                "time_granularity",
                "Length of a window; daily by default, weeks begin on Monday.",
                {"type": "string", "enum": ["daily", "weekly", "monthly"]},
            ),
            Parameter("from_date", "First day; by default 30 days end with the last.", _DAY),
            Parameter("to_date", "Last day; today (UTC) by default.", _DAY),
            Parameter("currency", "Only plans in this currency."),
            Parameter("external_customer_id", "Only this customer."),
            Parameter("external_subscription_id", "Only this subscription."),
            Parameter("is_billable_metric_recurring", "Only metrics that recur, or not.", BOOLEAN),
            Parameter("plan_code", "Only this plan."),
            Parameter("billable_metric_code", "Only this metric."),
        ),
        errors=(403, 422),
    ),
)
