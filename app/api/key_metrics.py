"""Metrics of the keys of the API: when each was used last, and whether their file can be read."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.api.auth import KeyRing
from app.api.keys import KeysFile


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
