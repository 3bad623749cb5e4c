"""Metrics as text: by steps, the same for all who ask within a second, bytes as ever."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.api import exposition
from app.api.endpoints.table import ENDPOINTS
from app.api.exposition import Exposition, exposed
from app.api.request_metrics import BUCKETS_S, RequestMetrics
from app.bounds.turns import STEP_ITEMS, drained
from tests.app.api.conftest import Running

STATUSES = (200, 404, 422)
ASKED = 8
LONG_S = 600.0


class _Watched(Collector):
    """Notes the most samples that a collector made at once, of all between two of its metrics."""

    def __init__(self, collector: Collector):
        self._collector = collector
        self.most = 0

    def collect(self) -> Iterable[Metric]:
        for metric in self._collector.collect():
            self.most = max(self.most, len(metric.samples))
            yield metric


def without_created(text: bytes) -> list[bytes]:
    """The lines of a worker, which has no families of when a series began."""
    return [line for line in text.splitlines() if b"_created" not in line]


def asked_of_all() -> RequestMetrics:
    metrics = RequestMetrics(CollectorRegistry())
    for endpoint in ENDPOINTS:
        for status in STATUSES:
            metrics.answered(endpoint, status, 0.01)
    return metrics


def test_times_of_requests_are_one_family_as_before() -> None:
    registry, before = CollectorRegistry(), CollectorRegistry()
    metrics = RequestMetrics(registry)
    assert b"# TYPE meter_http_request_seconds histogram\n" in drained(exposed(registry))
    seconds = Histogram(
        "meter_http_request_seconds",
        "Time to answer a request.",
        ("method", "path", "status"),
        buckets=BUCKETS_S,
        registry=before,
    )
    for count, endpoint in enumerate(ENDPOINTS * 2):
        for status in STATUSES[: count % 3 + 1]:
            metrics.answered(endpoint, status, count / 10)
            seconds.labels(endpoint.method, endpoint.path, status).observe(count / 10)
    lines = without_created(drained(exposed(registry)))
    expected = without_created(generate_latest(before))
    assert [line for line in lines if b"meter_http_request_seconds" in line] == expected


def test_a_long_family_is_written_some_samples_at_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("meter_many", "Many \\ of\nthem.", ("number",), registry=registry)
    for number in range(3 * STEP_ITEMS + 1):
        gauge.labels(number).set(number)
    Gauge("meter_none", "None.", ("number",), registry=registry)
    Counter("meter_things", "Things.", registry=registry).inc()
    written: list[int] = []

    def counted(some: Collector) -> bytes:
        written.append(sum(len(metric.samples) for metric in some.collect()))
        return generate_latest(some)

    monkeypatch.setattr(exposition, "generate_latest", counted)
    steps = sum(1 for _ in exposed(registry))
    assert steps == len(written)
    assert max(written) == STEP_ITEMS
    assert drained(exposed(registry)) == generate_latest(registry)


def test_times_of_requests_are_made_series_by_series() -> None:
    watched = _Watched(asked_of_all())
    registry = CollectorRegistry()
    registry.register(watched)
    steps = sum(1 for _ in exposed(registry))
    assert watched.most <= STEP_ITEMS
    assert steps > len(ENDPOINTS) * len(STATUSES)


async def test_all_who_ask_within_a_second_get_one_text(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    async def make() -> bytes:
        await asyncio.sleep(0)
        made.append(b"%d" % len(made))
        return made[-1]

    monkeypatch.setattr(exposition, "EVERY_S", LONG_S)
    shared = Exposition()
    texts = await asyncio.gather(*(shared.text(make) for _ in range(ASKED)))
    assert texts == [b"0"] * ASKED
    assert await shared.text(make) == b"0"
    monkeypatch.setattr(exposition, "EVERY_S", 0.0)
    shared = Exposition()
    assert await shared.text(make) == b"1"
    await asyncio.sleep(0.01)
    assert await shared.text(make) == b"2"


async def test_whoever_goes_while_it_is_made_leaves_it_to_the_next() -> None:
    began = asyncio.Event()

    async def never() -> bytes:
        began.set()
        await asyncio.Event().wait()
        return b""

    async def make() -> bytes:
        return b"made"

    shared = Exposition()
    first = asyncio.create_task(shared.text(never))
    await began.wait()
    second = asyncio.create_task(shared.text(make))
    first.cancel()
    assert await second == b"made"


async def test_many_scrapes_are_one(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[bytes] = []

    def counted(some: Collector) -> bytes:
        made.extend(metric.name.encode() for metric in some.collect())
        return generate_latest(some)

    monkeypatch.setattr(exposition, "generate_latest", counted)
    monkeypatch.setattr(exposition, "EVERY_S", LONG_S)
    texts = [(await api.call("GET", "/metrics", key=None)).text for _ in range(ASKED)]
    assert len(set(texts)) == 1
    assert made.count(b"meter_things") == 1
