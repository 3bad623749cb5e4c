"""What the process counts, as it stands before anything has happened."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, enable_created_metrics, generate_latest

from app.clock import SystemClock
from app.definitions.model import WEBHOOK_TYPES
from app.webhooks.metrics import Metrics


def told() -> list[str]:
    registry = CollectorRegistry()
    Metrics(registry, SystemClock())
    return generate_latest(registry).decode().splitlines()


def test_each_type_is_counted_from_nought_so_that_its_first_burst_is_an_increase() -> None:
    lines = told()
    for name in ("delivered", "given_up"):
        for each in WEBHOOK_TYPES:
            assert f'meter_webhooks_{name}_total{{webhook_type="{each}"}} 0.0' in lines
    for outcome in ("taken", "failed"):
        assert f'meter_webhooks_attempts_total{{outcome="{outcome}"}} 0.0' in lines


def test_no_series_says_when_another_was_made() -> None:
    enable_created_metrics()  # type: ignore[no-untyped-call]
    assert not [line for line in told() if "_created" in line.partition("{")[0]]
