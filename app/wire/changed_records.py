"""The message that a subscription's usage has changed (records-and-cuts §5). It tells no figure."""

from __future__ import annotations

from collections.abc import Iterable

from app.billing_periods.instants import iso_milliseconds
from app.definitions.model import Subscription
from app.wire.usage_records import RECORD_IDS, PublishedRecord, Topic, message_of

USAGE_CHANGED: Topic = "usage-changed"
CHANGED = "usage.changed"
SCHEMA_VERSION = 2


def changed_record(
    subscription: Subscription, codes: Iterable[str], as_of_ms: int
) -> PublishedRecord:
    """Return the message of one subscription and one moment."""
    as_of = iso_milliseconds(as_of_ms)
    identity = RECORD_IDS.of(f"changed:{subscription.id}:{as_of}".encode())
    value = {
        "schema_version": SCHEMA_VERSION,
        "id": identity,
        "type": CHANGED,
        "organization_id": subscription.organization_id,
        "external_customer_id": subscription.external_customer_id,
        "external_subscription_id": subscription.external_id,
        "lago_subscription_id": subscription.id,
        "codes": sorted(codes),
        "as_of": as_of,
    }
    return message_of(subscription, value, identity, CHANGED, as_of_ms, USAGE_CHANGED)
