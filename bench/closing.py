"""What it costs to close periods: empty ones, and such as have a cell of each charge or of one.

The core alone, without a server: a plan of five charges, on which all periods of a month end at
one cut. For each is told what its records, its next cut and its share of the flush take.

    python -m bench.closing [--subscriptions N] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time
from collections import deque
from itertools import pairwise

from app.bounds.collecting import pass_over
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from bench.pairs import Load
from bench.world import METRICS, event_value, subscription_of
from tables.closing.close import closing, next_cut, settle


def measure(subscriptions: int, cells: int, profiler: cProfile.Profile | None) -> None:
    """Print what a period with so many cells takes."""

    def value(i: int, _: int, now_s: float) -> bytes:
        code = METRICS[i // subscriptions]["code"]
        return event_value(i, i % subscriptions, now_s, code)

    load = Load(subscriptions * len(METRICS), value_of=value)
    if cells:
        load.take(load.values(subscriptions * cells))
    partition, clock = load.partition, time.process_time
    names = [(ORG, str(subscription_of(n)["external_id"])) for n in range(subscriptions)]
    cuts = [next_cut(partition, name) for name in names]
    if len(set(cuts)) != 1:
        raise RuntimeError("all periods end together")
    pass_over()
    if profiler is not None:
        profiler.enable()
    times = [clock()]
    records = 0
    for name in names:
        records += sum(record is not None for record in closing(partition, name, cuts[0]))
    times.append(clock())
    settle(partition, cuts[0])
    for name in names:
        next_cut(partition, name)
    times.append(clock())
    changes = partition.take_changes()
    deque(partition.rows_of(changes), maxlen=0)
    times.append(clock())
    if profiler is not None:
        profiler.disable()
    if records != subscriptions * (cells + 1):
        raise RuntimeError(f"{records} records came of {subscriptions} periods")
    closed, scheduled, flushed = (
        (after - before) / subscriptions * 1e6 for before, after in pairwise(times)
    )
    print(
        f"{cells} cells: {closed + scheduled + flushed:6.1f} us a period: "
        f"records {closed:.1f}, next cut {scheduled:.1f}, flush {flushed:.1f}"
    )


def main() -> None:
    """Measure periods without a cell, with one, and with one of each charge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    told = parser.parse_args()
    for cells in (0, 1, len(METRICS)):
        profiler = cProfile.Profile(time.process_time) if told.profile else None
        measure(told.subscriptions, cells, profiler)
        if profiler is not None:
            pstats.Stats(profiler).sort_stats("tottime").print_stats(40)


if __name__ == "__main__":
    main()
