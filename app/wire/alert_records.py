"""The message of a triggered alert: the body of Lago's webhook (records-and-cuts §4)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from uuid import NAMESPACE_URL, uuid5

from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.definitions.model import Alert, AlertThreshold, Subscription
from app.numbers import plain
from app.wire.usage_records import PublishedRecord, Topic, message_of

ALERTS_NAMESPACE = uuid5(NAMESPACE_URL, "meterstream:usage-alerts")
USAGE_ALERTS: Topic = "usage-alerts"
ALERT_TRIGGERED = "alert.triggered"


def alert_record(
    alert: Alert,
    subscription: Subscription,
    metric_code: str,
    start_ms: int,
    values: tuple[Decimal, Decimal],
    crossed: Sequence[AlertThreshold],
    cut_ms: int,
) -> PublishedRecord:
    """Return the message; `values`: those of the evaluation before and of this one.

    `start_ms`: start of what the values are of. One alert has one message there and at one cut.
    """
    name = f"{alert.id}:{iso_milliseconds(start_ms)}:{iso_milliseconds(cut_ms)}"
    identity = str(uuid5(ALERTS_NAMESPACE, name))
    organization_id, external_id = subscription.organization_id, subscription.external_id
    customer_id = subscription.external_customer_id
    previous, current = values
    value = {
        "webhook_type": ALERT_TRIGGERED,
        "object_type": "triggered_alert",
        "organization_id": organization_id,
        "triggered_alert": {
            "lago_id": identity,
            "lago_organization_id": organization_id,
            "lago_alert_id": alert.id,
            "lago_subscription_id": subscription.id,
            "external_subscription_id": external_id,
            "lago_wallet_id": None,
            "external_customer_id": customer_id,
            "billable_metric_code": metric_code,
            "alert_name": alert.name,
            "alert_code": alert.code,
            "alert_type": alert.alert_type,
            "current_value": plain(current),
            "previous_value": plain(previous),
            "crossed_thresholds": [
                {"code": each.code, "value": plain(each.value), "recurring": each.recurring}
                for each in crossed
            ],
            "triggered_at": iso_seconds(cut_ms),
            "subscription_external_id": external_id,
            "customer_external_id": customer_id,
        },
    }
    return message_of(subscription, value, identity, ALERT_TRIGGERED, cut_ms, USAGE_ALERTS)
