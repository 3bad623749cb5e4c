"""What it costs to close periods: empty ones, and such as have a cell of each charge or of one.

The core alone, without a server: a plan of five charges, on which all periods of a month end at
one cut. For each is told what its records, its next cut and its share of the flush take. Most
subscriptions of a large worker are cold: their cells are packed, and nothing else of them is at
hand.

    python -m bench.closing [--subscriptions N] [--profile]
"""

from __future__ import annotations

import argparse
import time
from collections import deque
from contextlib import AbstractContextManager
from itertools import pairwise, product

from app.bounds.collecting import pass_over
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from bench.pairs import Load
from bench.world import METRICS, NOW_MS, definitions, event_value, profiling, subscription_of
from tables.closing.close import DueNext, closing, let_go, next_cut, settle

BEGUN_MS = NOW_MS - 400 * 86_400_000
"""When subscriptions began: most have had periods before."""


def measure(
    subscriptions: int, cells: int, noting: AbstractContextManager[object], *, cold: bool
) -> None:
    """Print what a period with so many cells takes; `cold`: nothing of it is at hand."""

    def value(i: int, _: int, now_s: float) -> bytes:
        code = METRICS[i // subscriptions]["code"]
        return event_value(i, i % subscriptions, now_s, code)

    made = definitions(subscriptions, BEGUN_MS)
    load = Load(subscriptions * len(METRICS), made, value_of=value)
    load.partition.checkpoint.cut_ms = NOW_MS
    if cells:
        load.take(load.values(subscriptions * cells))
    partition, clock = load.partition, time.process_time
    names = [(ORG, str(subscription_of(n)["external_id"])) for n in range(subscriptions)]
    cuts = [next_cut(partition, name) for name in names]
    if len(set(cuts)) != 1:
        raise RuntimeError("all periods end together")
    partition.take_changes()
    for name in names if cold else ():
        partition.packing.pack(name)
    pass_over()
    records, times = 0, list[float]()
    dues: list[DueNext | None] = []
    with noting:
        times.append(clock())
        for name in names:
            # As `agents.close` does.
            partition.packing.as_packed.clear()
            at_hand = partition.timelines.has(name)
            records += sum(record is not None for record in closing(partition, name, cuts[0]))
            dues.append(let_go(partition, name, cuts[0], was_at_hand=at_hand))
        times.append(clock())
        settle(partition, cuts[0])
        for name, due in zip(names, dues, strict=True):
            next_cut(partition, name, due)
        times.append(clock())
        changes = partition.take_changes()
        deque(partition.rows_of(changes), maxlen=0)
        times.append(clock())
    if records != subscriptions * (cells + 1):
        raise RuntimeError(f"{records} records came of {subscriptions} periods")
    closed, scheduled, flushed = (
        (after - before) / subscriptions * 1e6 for before, after in pairwise(times)
    )
    print(
        f"{cells} cells{', cold' if cold else '      '}: {closed + scheduled + flushed:6.1f} us: "
        f"records {closed:.1f}, next cut {scheduled:.1f}, flush {flushed:.1f}"
    )


def main() -> None:
    """Measure periods without a cell, with one, and with one of each charge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, default=20_000)
    parser.add_argument("--profile", action="store_true")
    told = parser.parse_args()
    for cells, cold in product((0, 1, len(METRICS)), (False, True)):
        with profiling(told.profile) as noting:
            measure(told.subscriptions, cells, noting, cold=cold)


if __name__ == "__main__":
    main()
