"""Metrics of the API: what endpoints answered and how fast, what was refused, how keys are used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.api.answering.router import Endpoint
from app.api.http.auth import KeyRing
from app.api.http.errors import ApiError
from app.api.http.keys import KeysFile

BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0),
)
_SECONDS: Final = (
    "meter_http_request_seconds",
    "Time to answer a request.",
    ("method", "path", "status"),
)
CLIENT_GONE = 499
"""The status of a request whose client did not wait for the answer."""


class RequestMetrics(Collector):
    """`meter_http_request_seconds` by method and path pattern, never by id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds: dict[tuple[str, str, int], Histogram] = {}
        """One for each series: all of them at once are thousands of samples."""
        registry.register(self)
        self._refused = Counter(
            "meter_requests_refused",
            "Requests refused for their key, method, head, size, host or rate, or for naming what "
            "is not there, and connections over the limit.",
            ("code",),
            registry=registry,
        )
        self._connections = Gauge(
            "meter_http_connections",
            "Connections of clients; those without a whole request are idle.",
            ("state",),
            registry=registry,
        )

    def refused(self, error: ApiError) -> None:
        """Count a refusal, by its code."""
        self._refused.labels(error.body.get("code", "unauthorized")).inc()

    def watch(self, count: Callable[[], tuple[int, int]]) -> None:
        """Ask for (active, idle) connections when the metrics are read."""
        self._connections.labels("active").set_function(lambda: count()[0])
        self._connections.labels("idle").set_function(lambda: count()[1])

    def answered(self, endpoint: Endpoint, status: int, took_s: float) -> None:
        """Count one request and its time, however it ended."""
        labels = endpoint.method, endpoint.path, status
        if labels not in self._seconds:
            self._seconds[labels] = Histogram(*_SECONDS, buckets=BUCKETS_S, registry=None)
        self._seconds[labels].labels(*labels).observe(took_s)

    def collect(self) -> Iterator[Metric]:
        """Yield the times series by series, all of one family."""
        yield HistogramMetricFamily(*_SECONDS[:2], labels=_SECONDS[2])
        for series in tuple(self._seconds.values()):
            yield from series.collect()


class KeysCollector(Collector):
    """When each key of the API was used last, and whether their file can be read."""

    def __init__(self, keys: KeyRing, file: KeysFile):
        self._keys = keys
        self._file = file

    def collect(self) -> Iterator[Metric]:
        """Yield metrics of keys; the operator chooses their few names, which are labels."""
        yield GaugeMetricFamily(
            "meter_keys_file_valid",
            "Whether the keys could be read when their file was looked at last.",
            value=float(self._file.valid),
        )
        used = GaugeMetricFamily(
            "meter_key_last_used_timestamp_seconds",
            "When a key was used last on this worker.",
            labels=["key"],
        )
        for name, at_s in self._keys.last_used_s.items():
            used.add_metric([name], at_s)
        yield used
        failed = CounterMetricFamily(
            "meter_failed_logins", "Requests with a key that is not known, or not any more."
        )
        failed.add_metric([], self._keys.failures.count)
        yield failed
