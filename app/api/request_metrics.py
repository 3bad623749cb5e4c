"""How many requests an endpoint answered, and how fast."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Histogram

from app.api.router import Endpoint

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class RequestMetrics:
    """`meter_http_request_seconds` by method and path pattern, never by id."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "meter_http_request_seconds",
            "Time to answer a request.",
            ("method", "path"),
            buckets=_BUCKETS_S,
            registry=registry,
        )

    @contextmanager
    def measured(self, endpoint: Endpoint) -> Iterator[None]:
        """Count one request and its time, however it ends."""
        started_s = perf_counter()
        try:
            yield
        finally:
            elapsed_s = perf_counter() - started_s
            self._seconds.labels(endpoint.method, endpoint.path).observe(elapsed_s)
