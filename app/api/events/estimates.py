"""`POST /events/estimate_fees`: what an event would bill at once (metering-semantics §2.7)."""

from __future__ import annotations

from typing import Any

import msgspec

from app.api.answering.call import Call
from app.api.answering.peers import forward, owner_elsewhere
from app.api.definitions.subscriptions import subscriptions_of
from app.api.events.event_input import EventFields, InvalidEvent, SingleBody, read_event
from app.api.events.event_json import evaluation_message, with_expression
from app.api.events.fees import unpriced
from app.api.http import json_text
from app.api.http.errors import invalid, not_found
from app.billing_periods.instants import iso_seconds
from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.definitions.model import Metric, Subscription
from app.expressions import EvaluationFailed
from app.meter.usage import EstimatedFee
from app.numbers import InvalidValue, parse_value, plain
from app.wire.encode import IncomingEvent
from app.wire.properties import read_properties

Json = dict[str, Any]

_NOT_SENT = msgspec.Raw(b'"estimate"')
"""Id of an event without one."""


async def show(call: Call) -> Any:
    """Answer a fee for each charge paid in advance that the event would count in; keep nothing."""
    await call.root("event")
    fields = json_text.decode_as(await call.body(), SingleBody).event
    subscription = _active(call, fields)
    if (owner := owner_elsewhere(call, subscription.external_id)) is not None:
        return await forward(call, owner)
    event = _event(call, fields)
    metric = call.meter.definitions.metric(call.organization_id, event.code)
    if metric is None:
        raise not_found("billable_metric")
    _check_value(metric, event)
    try:
        with_expression(call, event)
    except EvaluationFailed as error:
        raise invalid(evaluation_message(error)) from error
    fees = await call.meter.usage.estimated_fees(call.organization_id, event, call.now_ms)
    if not fees:
        raise invalid({"code": ["does_not_match_an_instant_charge"]})
    plan = call.meter.definitions.plan_by_id(subscription.plan_id)
    currency = "" if plan is None else plan.amount_currency
    customer = call.meter.definitions.customer_of(subscription).at()
    customer_id = None if customer is None else customer.id
    return {
        "fees": [
            {**_fee_json(fee, subscription, currency, event), "lago_customer_id": customer_id}
            for fee in fees
        ]
    }


def _active(call: Call, fields: EventFields) -> Subscription:
    try:
        external_id = msgspec.json.decode(fields.external_subscription_id, type=str | None)
    except msgspec.ValidationError:
        external_id = None
    for subscription in subscriptions_of(call, external_id) if external_id else ():
        if subscription.status_at(call.now_ms) == "active":
            return subscription
    raise not_found("subscription")


def _event(call: Call, fields: EventFields) -> IncomingEvent:
    """Read the event; it needs no id, and a code that is no text is of no metric."""
    if bytes(fields.transaction_id) == b"null":
        fields = msgspec.structs.replace(fields, transaction_id=_NOT_SENT)
    try:
        return read_event(fields, call.now_ms)
    except InvalidEvent as error:
        if "timestamp" in error.errors:
            raise invalid({"timestamp": ["invalid_format"]}) from error
        if "code" in error.errors:
            raise not_found("billable_metric") from error
        raise invalid(error.errors) from error


def _check_value(metric: Metric, event: IncomingEvent) -> None:
    """Refuse a property that is there and no number, of a metric that reads one."""
    rules = AGGREGATION_TYPES[metric.aggregation_type]
    if metric.expression or not rules.numeric or metric.field_name is None:
        return
    raw = read_properties(event.properties).get(metric.field_name)
    try:
        is_number = raw is None or parse_value(raw) is not None
    except InvalidValue:
        is_number = False
    if not is_number:
        raise invalid({"properties": ["value_is_not_valid_number"]})


def _fee_json(
    fee: EstimatedFee, subscription: Subscription, currency: str, event: IncomingEvent
) -> Json:
    charge, metric, bucket = fee.charge, fee.metric, fee.charge_filter
    return {
        "lago_id": None,
        "lago_charge_id": charge.id,
        "lago_charge_filter_id": None if bucket is None else bucket.id,
        "lago_subscription_id": subscription.id,
        "external_subscription_id": subscription.external_id,
        "external_customer_id": subscription.external_customer_id,
        "item": {
            "type": "charge",
            "code": metric.code,
            "name": metric.name,
            "description": metric.description,
            "invoice_display_name": charge.invoice_display_name or metric.name,
            "filters": None
            if bucket is None
            else {key: list(values) for key, values in bucket.values.items()},
            "filter_invoice_display_name": None if bucket is None else bucket.invoice_display_name,
            "lago_item_id": metric.id,
            "item_type": "BillableMetric",
            "grouped_by": dict(fee.grouped_by),
        },
        "invoiceable": charge.invoiceable,
        "units": plain(fee.units),
        "total_aggregated_units": None,
        "events_count": 1,
        "created_at": None,
        "from_date": iso_seconds(fee.period.start_ms),
        "to_date": iso_seconds(fee.period.to_ms),
        "event_transaction_id": event.transaction_id,
        **unpriced(currency),
    }
