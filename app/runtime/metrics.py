"""Prometheus metrics, read off the engine when they are scraped: nothing is counted per event.

Base units, labels of few values that do not grow with customers; what is not known is absent.
Source: bounded-work §3.3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import product
from platform import python_version
from typing import Any, get_args

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.billing_periods.timezones import tzdata_version
from app.bounds.discards import DiscardReason, LocalState
from app.bounds.work_done import Operation, TouchedKind
from app.definitions.model import FOLD_VERSION, ClosingReason
from app.kafka.brokers import REASONS
from app.meter.events import DuplicateKind
from app.runtime.context import Rebuilt
from app.runtime.engine import Engine
from app.runtime.partition.cuts import HeldBy
from app.runtime.refolder import FedBy
from app.wire.refusals import RefusalCode
from app.wire.usage_records import RecordType, RevisionReason
from tables.event_index.rows import ROW_BYTES
from tables.not_counted import Reason


class EngineCollector(Collector):
    """Figures of one worker."""

    def __init__(self, engine: Engine):
        self._engine = engine
        # Reading them takes long.
        self._versions = (
            version("meterstream"),
            str(FOLD_VERSION),
            tzdata_version(),
            python_version(),
        )
        self._started_s = engine.clock.now_ms() / 1000

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._worker()
        yield from self._needs()
        yield from self._events()
        yield from self._published()
        yield from self._lags()
        yield from self._state()
        yield from self._set_aside()
        yield from self._flushes()
        yield from self._verified()

    def _worker(self) -> Iterator[Metric]:
        build = GaugeMetricFamily(
            "meter_build_info",
            "What runs: always 1.",
            labels=["version", "fold_version", "tzdata", "python"],
        )
        build.add_metric(self._versions, 1)
        yield build
        yield _gauge("meter_start_time_seconds", "When this worker was started.", self._started_s)
        yield _gauge(
            "meter_partitions_owned", "Partitions that this worker owns.", len(self._engine.owned)
        )
        yield _counter(
            "meter_rebalances",
            "How often the group said which partitions are this worker's.",
            self._engine.shared.tally.rebalances,
        )
        refolder = self._engine.refolder
        yield _counters(
            "meter_large_refolds",
            "Large refolds, by where they were fed: the loop, where their process has failed.",
            "by",
            refolder.fed,
            get_args(FedBy),
        )
        yield _gauge(
            "meter_refold_process_memory_bytes",
            "Most memory of the last process that fed a large refold.",
            refolder.memory_bytes,
        )
        scans = GaugeMetricFamily("meter_scans", "Scans of the logs.", labels=["state"])
        scans.add_metric(["running"], self._engine.scans.running)
        scans.add_metric(["waiting"], self._engine.scans.waiting)
        yield scans

    def _needs(self) -> Iterator[Metric]:
        """Yield what a worker needs of others, as the probe found it last."""
        engine, health = self._engine, self._engine.health
        yield _gauge(
            "meter_kafka_up",
            "Whether brokers answer.",
            not health.holds("kafka_unreachable"),
        )
        yield _gauge(
            "meter_redis_up", "Whether Redis answers.", not health.holds("redis_unreachable")
        )
        yield _gauge(
            "meter_peers_unreachable",
            "Workers that do not answer.",
            len(engine.status.silent_peers),
        )
        if engine.appender.clock_apart_ms is not None:
            yield _gauge(
                "meter_clock_apart_seconds",
                "How far the brokers' clock is from the worker's, by the newest append.",
                engine.appender.clock_apart_ms / 1_000,
            )
        if engine.status.disk_free_bytes is not None:
            yield _gauge(
                "meter_disk_free_bytes",
                "Room left for METER_STATE_DIR.",
                engine.status.disk_free_bytes,
            )
        if engine.status.redis_memory is not None:
            used, allowed = engine.status.redis_memory
            yield _gauge("meter_redis_memory_bytes", "Memory that Redis uses.", used)
            yield _gauge(
                "meter_redis_memory_allowed_bytes", "Its maxmemory; 0: without a limit.", allowed
            )
        states = GaugeMetricFamily(
            "meter_degraded", "1 for each reason that /health/ready tells.", labels=["code"]
        )
        for reason in health.reasons():
            states.add_metric([reason.code], 1)
        yield states
        yield from engine.shared.tally.kafka_seconds.collect()
        yield from engine.shared.tally.redis_seconds.collect()
        yield _gauge(
            "meter_offsets_lost",
            "1: retention took events that were not folded, nothing goes on.",
            engine.offsets_lost,
        )

    def _events(self) -> Iterator[Metric]:
        tally = self._engine.shared.tally
        folded = CounterMetricFamily("meter_events_folded", "Events folded.", labels=["partition"])
        for number, owned in self._engine.owned.items():
            folded.add_metric([str(number)], owned.folded_events)
        yield folded
        yield _counters("meter_events_refused", "Dead letters.", "code", tally.refused, RefusalCode)
        yield _counters(
            "meter_duplicates",
            "Arrivals of an id that was there.",
            "kind",
            tally.duplicates,
            get_args(DuplicateKind),
        )
        yield self._work_done()
        not_counted = Counter(tally.not_counted)
        for owned in self._engine.owned.values():
            not_counted.update(owned.state.ignored)
        yield _counters(
            "meter_events_not_counted",
            "Events that were taken and that a charge, or all of them, did not count.",
            "reason",
            not_counted,
            get_args(Reason),
        )

    def _work_done(self) -> CounterMetricFamily:
        """Return what operations have touched; 0 for a kind that has not come up."""
        family = CounterMetricFamily(
            "meter_work",
            "What each operation has read, looked up or changed.",
            labels=["operation", "kind"],
        )
        counts = self._engine.shared.tally.work.counts
        for operation in get_args(Operation):
            for kind in get_args(TouchedKind):
                family.add_metric([operation, kind], counts[operation, kind])
        return family

    def _published(self) -> Iterator[Metric]:
        tally = self._engine.shared.tally
        yield _counters(
            "meter_records_published",
            "Usage records.",
            "type",
            tally.records,
            get_args(RecordType),
        )
        yield _counters(
            "meter_revisions",
            "Usage records that revise one.",
            "reason",
            tally.revisions,
            get_args(RevisionReason),
        )
        yield _counters(
            "meter_periods_closed",
            "Periods of subscriptions that were published.",
            "closing_reason",
            tally.periods,
            get_args(ClosingReason),
        )
        blocked = GaugeMetricFamily(
            "meter_close_blocked", "1: a cut waits, and for what.", labels=["partition", "reason"]
        )
        overdue = _by_partition(
            "meter_close_overdue_seconds",
            "For how long the next cut could have been taken, but for what it waits for.",
        )
        now_ms = self._engine.clock.now_ms()
        for number, owned in self._engine.owned.items():
            held = owned.cuts.blocked
            overdue_s = 0.0 if held is None else max(0.0, (now_ms - held.cut_ms) / 1000)
            overdue.add_metric([str(number)], overdue_s)
            for reason in get_args(HeldBy):
                holds = held is not None and held.held_by == reason
                blocked.add_metric([str(number), reason], holds)
        yield from (blocked, overdue)

    def _lags(self) -> Iterator[Metric]:
        engine = self._engine
        if engine.health.holds("kafka_unreachable"):
            # Nobody knows how far the logs go now.
            return
        lag = GaugeMetricFamily(
            "meter_lag_records",
            "Records that were appended and are not folded.",
            labels=["partition", "log"],
        )
        seconds = _by_partition(
            "meter_lag_seconds", "Age of what was folded last, while there is more to fold."
        )
        until = _by_partition(
            "meter_folded_until_timestamp_seconds", "Append time up to which everything is folded."
        )
        now_ms = engine.clock.now_ms()
        for number, owned in engine.owned.items():
            at_ms = owned.state.checkpoint.append_time_ms
            if at_ms >= 0:
                until.add_metric([str(number)], at_ms / 1000)
            observed = engine.status.observed.get(number)
            if observed is None:
                continue
            lag.add_metric([str(number), "raw"], observed.lag)
            lag.add_metric([str(number), "rekeyed"], observed.rekeyed_lag)
            behind_ms = now_ms - at_ms if observed.lag and at_ms >= 0 else 0
            seconds.add_metric([str(number)], max(0, behind_ms) / 1000)
        held = _by_partition(
            "meter_open_transaction_producer_id",
            "Id of the producer whose open transaction holds back a raw partition; -1: not told.",
        )
        held_s = _by_partition(
            "meter_open_transaction_seconds",
            "For how long a transaction has held back a raw partition.",
        )
        for number, seen in engine.status.observed.items():
            since_s = seen.held_since_s
            if number in engine.owned and since_s is not None:
                held.add_metric([str(number)], seen.producer_id)
                held_s.add_metric([str(number)], engine.clock.monotonic_s() - since_s)
        yield from (lag, seconds, until, held, held_s)
        if engine.status.definitions_lag is not None:
            yield _gauge(
                "meter_definitions_lag_records",
                "Records of the definitions log that are not applied.",
                engine.status.definitions_lag,
            )

    def _state(self) -> Iterator[Metric]:
        families = [
            _by_partition(name, text)
            for name, text in (
                ("meter_cells", "Cells."),
                ("meter_corrections", "Events that were cancelled or amended."),
                ("meter_index_bytes", "Size of the event index."),
                ("meter_members_waiting", "Members that Redis has yet to be given."),
                (
                    "meter_names_undefined",
                    "Names with events that nothing defines; at most 100,000 are kept one by one.",
                ),
            )
        ]
        for number, owned in self._engine.owned.items():
            figures = (
                owned.state.checkpoint.cells,
                len(owned.state.corrections),
                owned.state.checkpoint.index_length * ROW_BYTES,
                owned.members.unstored,
                len(owned.state.event_ranges.undefined),
            )
            for family, figure in zip(families, figures, strict=True):
                family.add_metric([str(number)], figure)
        yield from families

    def _set_aside(self) -> Iterator[Metric]:
        aside = GaugeMetricFamily(
            "meter_set_aside", "Raw records and elements that no fold looks at.", labels=["code"]
        )
        for code, count in sorted(self._engine.definitions.set_asides.counts.items()):
            aside.add_metric([code], count)
        yield aside
        yield _gauge(
            "meter_parked_subscriptions",
            "Subscriptions whose figures stand as they are.",
            self._engine.parked_subscriptions,
        )

    def _flushes(self) -> Iterator[Metric]:
        engine, tally = self._engine, self._engine.shared.tally
        last = _by_partition(
            "meter_last_flush_timestamp_seconds", "When a partition was flushed last."
        )
        for number in engine.owned:
            if number in tally.flushed_ms:
                last.add_metric([str(number)], tally.flushed_ms[number] / 1000)
        yield last
        yield from tally.flush_seconds.collect()
        yield from tally.flush_bytes.collect()
        yield _counters(
            "meter_flush_retries",
            "Flushes that the brokers did not take, and that are tried again.",
            "reason",
            engine.brokers.retries,
            REASONS,
        )
        yield from engine.shared.tally.restore_seconds.collect()
        yield _counters(
            "meter_rebuilds",
            "State that was torn or lost and made again.",
            "what",
            engine.shared.rebuilds,
            get_args(Rebuilt),
        )
        discarded = CounterMetricFamily(
            "meter_local_state_discarded",
            "Files of partitions that were of no use and are made again from their logs.",
            labels=["what", "reason"],
        )
        for what, reason in product(get_args(LocalState), get_args(DiscardReason)):
            discarded.add_metric([what, reason], engine.shared.discards.counts[what, reason])
        yield discarded

    def _verified(self) -> Iterator[Metric]:
        tally = self._engine.status.verified
        yield _counter(
            "meter_verified_pairs", "Metrics of subscriptions that were verified.", tally.pairs
        )
        yield _gauge(
            "meter_differing_pairs",
            "Verified ones that differed from raw since this worker started.",
            tally.differing,
        )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))


def _by_partition(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["partition"])


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text)
    family.add_metric([], value)
    return family


def _counters(
    name: str, text: str, label: str, counts: Mapping[Any, int], known: Iterable[str]
) -> CounterMetricFamily:
    """Return counts by the values of a closed list: 0 for one that has not happened."""
    family = CounterMetricFamily(name, text, labels=[label])
    for value in known:
        family.add_metric([value], counts.get(value, 0))
    return family
