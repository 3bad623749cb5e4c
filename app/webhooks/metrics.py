"""Metrics of `meter webhooks`; no label grows with customers."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """What the process counts."""

    def __init__(self, registry: CollectorRegistry):
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
