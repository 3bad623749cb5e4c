"""The loads: which events there are, on which partition, and who subscribed since when.

Everything is stamped in one January, so a load is the same bytes on every machine and every day.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import numpy as np

from app.settings import LOCAL_ORGANIZATION_ID
from bench.world import METRICS, event_value, keyed

CODES = [str(metric["code"]) for metric in METRICS]
SEED = 7
DAY_S = 86_400
EVENTS_A_MS = 200
"""So many records have the same append time."""


def _ms(year: int, month: int, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp() * 1000)


DECEMBER_MS = _ms(2025, 12)
PERIOD_MS = _ms(2026, 1)
APPENDED_MS = _ms(2026, 1, 20)
"""When the first record is appended."""
NOW_MS = _ms(2026, 1, 21)
"""What the workers' clock says while they fold."""
PERIOD_TEXT = "2026-01-01T00:00:00Z"
PERIOD_END_MS = _ms(2026, 2)


class Load(NamedTuple):
    """Events of five metrics over so many subscriptions."""

    name: str
    subscriptions: int
    words: str
    skewed: bool = False
    mixed: bool = False

    @property
    def pairs(self) -> int:
        """Return how many keys a contestant counts at most."""
        return self.subscriptions * len(CODES)

    @property
    def since_ms(self) -> int:
        """Return when the subscriptions began: what is late needs a period before."""
        return DECEMBER_MS if self.mixed else PERIOD_MS

    @property
    def since_text(self) -> str:
        """Return that instant as the API takes it."""
        return f"{datetime.fromtimestamp(self.since_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"


LOADS = {
    load.name: load
    for load in (
        Load("narrow", 1_000, "1,000 subscriptions with 5 metrics each, evenly"),
        Load("wide", 20_000, "20,000 subscriptions with 5 metrics each, evenly"),
        Load("skewed", 40_000, "200,000 keys, Zipf 1.0: the first has a twelfth", skewed=True),
        Load(
            "mixed",
            1_000,
            "as narrow; a quarter CloudEvents, 5 % for a month that is closed, 2 % on a wrong "
            "partition, 3 % sent twice, half of these on two partitions",
            mixed=True,
        ),
    )
}


class Written(NamedTuple):
    """A record of the topic."""

    partition: int
    key: bytes
    value: bytes
    append_ms: int


def records(load: Load, events: int, partitions: int) -> Iterator[Written]:
    """Yield `events` records; of the mixed load some are copies of others."""
    placed = [keyed(f"subscription_{n:06d}", partitions) for n in range(load.subscriptions)]
    copy: Written | None = None
    for i, (n, code) in enumerate(_pairs(load, events)):
        append_ms = APPENDED_MS + i // EVENTS_A_MS
        if copy is not None:
            yield copy._replace(append_ms=append_ms)
            copy = None
            continue
        key, home = placed[n]
        partition = (home + 1) % partitions if load.mixed and i % 51 == 7 else home
        record = Written(partition, key, _value(load, i, n, code), append_ms)
        if load.mixed and i % 33 == 0:
            elsewhere = (partition + 1) % partitions if i % 2 else partition
            copy = record._replace(partition=elsewhere)
        yield record


def _pairs(load: Load, events: int) -> Iterator[tuple[int, int]]:
    """Yield the numbers of subscription and metric of each event."""
    if not load.skewed:
        # Each metric of a subscription, then another subscription far from it.
        for i in range(events):
            yield i // len(CODES) * 7919 % load.subscriptions, i % len(CODES)
        return
    random = np.random.default_rng(SEED)
    reached = np.cumsum(1 / np.arange(1, load.pairs + 1))
    ranks = np.searchsorted(reached, random.random(events) * reached[-1])
    # Neighbours by rank are not neighbours by name.
    for pair in random.permutation(load.pairs)[ranks].tolist():
        yield pair // len(CODES), pair % len(CODES)


def _value(load: Load, i: int, n: int, code: int) -> bytes:
    at_s = APPENDED_MS / 1000 - 200
    if load.mixed and i % 21 == 3:
        at_s -= 30 * DAY_S
    # The number tells the metric.
    number = i * len(CODES) + code
    if load.mixed and i % 4 == 1:
        return _cloud_event(number, n, at_s)
    return event_value(number, n, at_s)


def _cloud_event(number: int, n: int, now_s: float) -> bytes:
    plain = msgspec.json.decode(event_value(number, n, now_s))
    at = datetime.fromtimestamp(float(plain["timestamp"]), UTC)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "source": "bench",
            "organizationid": LOCAL_ORGANIZATION_ID,
            "id": plain["transaction_id"],
            "type": plain["code"],
            "subject": plain["external_subscription_id"],
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "data": plain["properties"],
        }
    )
