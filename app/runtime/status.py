"""Status: what one worker counts since it started, and what its agents found out last.

Metrics, health and the page show it. Counts are kept when a partition goes elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from prometheus_client import Histogram

from app.bounds.work_done import WorkDone
from app.meter.overview import DeadLetterView, RecordView
from app.runtime.loads import Loads
from app.wire.arrivals import MeterKey, Run, SubscriptionKey
from app.wire.usage_records import RecordLabels
from tables.not_counted import Reason

_REMEMBERED: Final = 200
"""Meter keys that a worker remembers as folded lately."""


class Recent:
    """A ring of the meter keys that came last."""

    def __init__(self) -> None:
        self._ring: dict[MeterKey, int] = {}
        """Meter key to the partition, the latest last."""

    def note(self, partition: int, runs: Sequence[Run]) -> None:
        """Take over the last of what was folded."""
        ring = self._ring
        for meter_key, _ in runs[-_REMEMBERED:]:
            ring.pop(meter_key, None)
            ring[meter_key] = partition
        while len(ring) > _REMEMBERED:
            del ring[next(iter(ring))]

    def names(self) -> dict[SubscriptionKey, int]:
        """Return the subscriptions with their partitions, the latest first."""
        found: dict[SubscriptionKey, int] = {}
        for meter_key, partition in reversed(self._ring.items()):
            found.setdefault(meter_key[:2], partition)
        return found


_FLUSH_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_FLUSH_BUCKETS_BYTES = (1e3, 1e4, 1e5, 1e6, 4e6, 16e6, 32e6, 64e6)
_RESTORE_BUCKETS_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_SHOWN = 50


def _restore_seconds() -> Histogram:
    seconds = Histogram(
        "meter_restore_seconds",
        "Time to take a partition over, by where its state was read from.",
        ("from",),
        buckets=_RESTORE_BUCKETS_S,
        registry=None,
    )
    for source in ("changelog", "raw", "parked"):
        seconds.labels(source)
    return seconds


@dataclass
class Tally:
    """What has happened, by kinds that are few."""

    refused: Counter[str] = field(default_factory=Counter)
    """Dead letters by their code."""
    duplicates: Counter[str] = field(default_factory=Counter)
    """`identical` and `conflicting`."""
    not_counted: Counter[Reason] = field(default_factory=Counter)
    """Events by the reason for which a charge did not count them."""
    records: Counter[str] = field(default_factory=Counter)
    """Usage records by type."""
    revisions: Counter[str] = field(default_factory=Counter)
    """Usage records with a revision above 0, by its reason."""
    periods: Counter[str] = field(default_factory=Counter)
    """Periods published for the first time, by closing reason."""
    work: WorkDone = field(default_factory=WorkDone)
    """What operations have touched."""
    recent: Recent = field(default_factory=Recent)
    """Subscriptions whose usage flushes changed last."""
    loads: Loads = field(default_factory=Loads)
    """How many events come to each partition."""
    rebalances: int = 0
    """How often the group told which partitions are ours."""
    flushed_ms: dict[int, int] = field(default_factory=dict)
    """When each partition was flushed last."""
    flush_seconds: Histogram = field(
        default_factory=lambda: Histogram(
            "meter_flush_seconds",
            "Time from the first try to send a flush until it was taken.",
            buckets=_FLUSH_BUCKETS_S,
            registry=None,
        )
    )
    flush_bytes: Histogram = field(
        default_factory=lambda: Histogram(
            "meter_flush_bytes", "Size of a flush.", buckets=_FLUSH_BUCKETS_BYTES, registry=None
        )
    )
    kafka_seconds: Histogram = field(
        default_factory=lambda: Histogram(
            "meter_kafka_request_seconds",
            "Time until the brokers answered.",
            ("api",),
            buckets=_REQUEST_BUCKETS_S,
            registry=None,
        )
    )
    redis_seconds: Histogram = field(
        default_factory=lambda: Histogram(
            "meter_redis_command_seconds",
            "Time until Redis answered.",
            ("command",),
            buckets=_REQUEST_BUCKETS_S,
            registry=None,
        )
    )
    restore_seconds: Histogram = field(default_factory=_restore_seconds)

    def note_published(self, told: RecordLabels) -> None:
        """Count a usage record that goes out with the next flush."""
        self.records[told.type] += 1
        if told.revision_reason:
            self.revisions[told.revision_reason] += 1
        if told.closing_reason:
            self.periods[told.closing_reason] += 1


class Observed(NamedTuple):
    """A sample of one partition."""

    lag: int
    """Records that were appended and are not folded, those of open transactions too."""
    rekeyed_lag: int
    events_per_s: float
    folded_events: int
    at_s: float
    held_since_s: float | None = None
    """Since when an open transaction keeps records from readers, in seconds; None: none does."""
    producer_id: int = -1
    """Id of the producer with the open transaction; -1: none is open, or no broker tells."""

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing came, and nothing is left to fold."""
        return not (self.lag or self.rekeyed_lag or self.events_per_s or self.held_since_s)


@dataclass
class VerifyTally:
    """What this worker has verified since it started."""

    pairs: int = 0
    differing: int = 0


class Status:
    """What the agents of a worker found out last."""

    def __init__(self) -> None:
        self.observed: dict[int, Observed] = {}
        """The last sample of each partition."""
        self.definitions_lag: int | None = None
        """Records of the definitions log that are not applied; None: not known."""
        self.output_looked_at = asyncio.Event()
        """Somebody looks at the newest records or dead letters; whoever reads them clears it."""
        self.output_looked_at.set()
        self.latest_records: deque[RecordView] = deque(maxlen=_SHOWN)
        self.dead_letters: deque[DeadLetterView] = deque(maxlen=_SHOWN)
        self.letters_left_out_ms = -1
        """No letter that is newer is missing there; -1: none at all."""
        self.verified = VerifyTally()
        self.silent_peers: Mapping[str, Sequence[int]] = {}
        """Partitions of workers that do not answer, by their URL."""
        self.disk_free_bytes: int | None = None
        self.redis_memory: tuple[int, int] | None = None
        """(bytes used, bytes allowed; 0: without a limit), as Redis said last."""

    def note_definitions_lag(self, lag: int) -> None:
        """Take over how many records of the definitions log are not applied."""
        self.definitions_lag = lag

    def note_silent_peers(self, silent: Mapping[str, Sequence[int]]) -> None:
        """Take over which workers do not answer."""
        self.silent_peers = silent

    def keep_letter(self, letter: DeadLetterView) -> None:
        """Keep a dead letter among the newest; it may push the oldest out."""
        if len(self.dead_letters) == self.dead_letters.maxlen:
            self.note_letters_left_out(self.dead_letters[0].failed_at_ms)
        self.dead_letters.append(letter)

    def note_letters_left_out(self, newest_ms: int) -> None:
        """Note that letters up to this time may be missing among those that are kept."""
        self.letters_left_out_ms = max(self.letters_left_out_ms, newest_ms)

    def note_disk(self, free_bytes: int) -> None:
        """Take over how much room is left on local disk."""
        self.disk_free_bytes = free_bytes

    def note_redis_memory(self, used_bytes: int, allowed_bytes: int) -> None:
        """Take over what Redis said of its memory."""
        self.redis_memory = used_bytes, allowed_bytes
