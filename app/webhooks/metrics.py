"""Metrics of `meter webhooks`; no label grows with customers."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

from app.clock import Clock
from app.definitions.model import WEBHOOK_TYPES
from app.webhooks.ages import Ages

_OUTCOMES: Final = ("taken", "failed")


class Metrics:
    """What the process counts."""

    def __init__(self, registry: CollectorRegistry, clock: Clock):
        # No second family beside each counter.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.attempts = Counter(
            "meter_webhooks_attempts", "Requests sent.", ["outcome"], registry=registry
        )
        self.delivered = Counter(
            "meter_webhooks_delivered", "Deliveries taken.", ["webhook_type"], registry=registry
        )
        self.given_up = Counter(
            "meter_webhooks_given_up", "Deliveries given up.", ["webhook_type"], registry=registry
        )
        self.waiting = Gauge(
            "meter_webhooks_waiting", "Deliveries that wait or are on their way.", registry=registry
        )
        self.waiting_bytes = Gauge(
            "meter_webhooks_waiting_bytes", "Bytes of their bodies.", registry=registry
        )
        self.assigned = Gauge(
            "meter_webhooks_assigned", "Partitions that this process reads.", registry=registry
        )
        self.waits = Ages(
            "meter_webhooks_oldest_waiting_seconds",
            "Age of the oldest delivery that waits or is on its way.",
            registry,
            clock,
        )
        self.unread = Ages(
            "meter_webhooks_oldest_unread_seconds",
            "Age of the oldest known record, or other cause, that is not all made deliveries of; "
            "absent while no broker answers.",
            registry,
            clock,
        )
        # An increase is seen from a series that was there before: each begins at 0.
        for outcome in _OUTCOMES:
            self.attempts.labels(outcome)
        for webhook_type in WEBHOOK_TYPES:
            self.delivered.labels(webhook_type)
            self.given_up.labels(webhook_type)
