"""How long a start takes to apply definitions, how long it ever holds the loop, what they take.

    python -m bench.definitions [COUNT ...] [--customers 0]

As a worker does at its start: records of the log as they were read, in turns of the event loop, the
collector off. Reading them from the broker is not included. Nearly all are subscriptions, each with
a customer of its own or of so many customers, on a hundred plans, begun at random days of fifteen
years.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from app.bounds.turns import Steps, Turns, Work
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import applying
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord
from app.runtime.followed import in_steps
from app.runtime.shelf import Shelf
from bench.world import Lateness, plan_of

COUNTS = (10_000, 100_000, 1_000_000)
PLANS = 100
AT_ONCE = 1_000
ORG = "org"
NOW_MS = 1_750_000_000_000
DAY_MS = 86_400_000


def definitions(count: int, customers: int) -> Iterator[Command]:
    """So many commands: a metric, plans, and subscriptions of so many customers; 0: of as many."""
    metric = {"name": "m", "code": "m", "aggregation_type": "count_agg"}
    yield commands.create_billable_metric(ORG, metric)
    for number in range(PLANS):
        charge = {"billable_metric_code": "m", "charge_model": "package"}
        yield commands.create_plan(ORG, {**plan_of([charge]), "code": f"p{number}"})
    days = random.Random(1)
    for number in range(count - PLANS - 1):
        began = time.gmtime(NOW_MS // 1000 - days.randrange(15 * 365) * DAY_MS // 1000)
        yield commands.create_subscription(
            ORG,
            {
                "external_customer_id": f"customer-{number % customers if customers else number}",
                "external_id": f"subscription-{number}",
                "plan_code": f"p{number % PLANS}",
                "subscription_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", began),
            },
        )


async def applied(count: int, customers: int, directory: Path) -> None:
    """Apply so many; print what it took."""
    values = [command.encode() for command in definitions(count, customers)]
    known, turns, process = Definitions(Shelf(directory).keep), Turns(), psutil.Process()

    def take(record: LogRecord) -> Steps[object]:
        return applying(known, record.value, record.timestamp_ms, record.offset)

    gc.collect()
    gc.disable()
    resident, began_s = process.memory_info().rss, time.perf_counter()
    worked_s = time.process_time()
    lateness = Lateness(0.001)
    for first in range(0, count, AT_ONCE):
        batch = [
            LogRecord(None, value, (), NOW_MS + offset, offset)
            for offset, value in enumerate(values[first : first + AT_ONCE], first)
        ]
        await turns.run(
            Work("define", "definitions log"),
            in_steps(batch, take),
        )
    took_s, worked_s = time.perf_counter() - began_s, time.process_time() - worked_s
    stall_s = lateness.end()
    gc.enable()
    grown = process.memory_info().rss - resident
    assert len(known.subscription_versions) == count - PLANS - 1
    print(
        f"{count:>9,} definitions: {took_s:6.2f} s, of CPU {worked_s:6.2f} s, "
        f"{worked_s / count * 1e6:.1f} µs each, "
        f"longest stall {stall_s * 1000:.0f} ms, {grown / 2**20:,.0f} MiB, "
        f"{grown / count:,.0f} bytes each"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=int, nargs="*", default=COUNTS)
    parser.add_argument("--customers", type=int, default=0)
    told = parser.parse_args()
    for each in told.counts:
        with tempfile.TemporaryDirectory() as shelf:
            asyncio.run(applied(each, told.customers, Path(shelf)))
