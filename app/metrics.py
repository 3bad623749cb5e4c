"""Prometheus metrics, read off the engine when they are scraped: nothing is counted per event."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from app.engine import Engine


class EngineCollector(Collector):
    """Figures of the partitions that a worker owns."""

    def __init__(self, engine: Engine):
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Every metric, one sample a partition."""
        yield from self._counters()
        yield from self._gauges()
        yield from self._verified()
        ignored = CounterMetricFamily(
            "meter_events_ignored", "Events that a metric did not count", labels=["reason"]
        )
        totals: dict[str, int] = {}
        for owned in self._engine.owned.values():
            for reason, count in owned.table.ignored.items():
                totals[reason] = totals.get(reason, 0) + count
        for reason, count in sorted(totals.items()):
            ignored.add_metric([reason], count)
        yield ignored

    def _counters(self) -> Iterator[Metric]:
        families = [
            CounterMetricFamily("meter_events_folded", "Events folded", labels=["partition"]),
            CounterMetricFamily("meter_events_refused", "Dead letters", labels=["partition"]),
            CounterMetricFamily(
                "meter_duplicates_identical", "Identical duplicates", labels=["partition"]
            ),
        ]
        for number, owned in self._engine.owned.items():
            counts = (
                owned.folded_events,
                owned.refused_events,
                owned.table.identical_duplicates,
            )
            for family, count in zip(families, counts, strict=True):
                family.add_metric([str(number)], count)
        yield from families

    def _verified(self) -> Iterator[Metric]:
        tally = self._engine.verified
        for name, text, count in (
            ("meter_verified_pairs", "Metrics of subscriptions that were verified", tally.pairs),
            ("meter_differing_pairs", "Verified ones that differed from raw", tally.differing),
        ):
            family = CounterMetricFamily(name, text)
            family.add_metric([], count)
            yield family

    def _gauges(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("meter_lag_records", "Records to fold", labels=["partition"])
        cells = GaugeMetricFamily("meter_cells", "Cells", labels=["partition"])
        append = GaugeMetricFamily(
            "meter_append_time_ms", "Append time folded up to", labels=["partition"]
        )
        blocked = GaugeMetricFamily(
            "meter_close_blocked_by", "Since when (ms) a cut waits", labels=["partition", "reason"]
        )
        for number, owned in self._engine.owned.items():
            observed = self._engine.observed.get(number)
            lag.add_metric([str(number)], 0 if observed is None else observed.lag)
            cells.add_metric([str(number)], owned.table.record.cells)
            append.add_metric([str(number)], owned.table.record.append_time_ms)
            if owned.blocked is not None:
                _, reason, since_ms = owned.blocked
                blocked.add_metric([str(number), reason], since_ms)
        lost = GaugeMetricFamily(
            "meter_offsets_lost", "1: retention took events that were not folded, nothing goes on"
        )
        lost.add_metric([], int(self._engine.offsets_lost))
        yield from (lag, cells, append, blocked, lost)
