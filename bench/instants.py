"""What an event costs whose charge is paid in advance: when it comes, and at its cut.

The core alone, as `bench.charges` has it: 1,000 subscriptions of one metric, five events of each
at once. Then the cut of all of them makes a record of each, and a flush takes what it decided.

    python -m bench.instants [--rounds N] [--profile] [KIND ...]
"""

from __future__ import annotations

import argparse
import time
from collections import deque

from app.bounds.collecting import Collecting, pass_over
from bench.charges import BY_REGION, FILTERS, REGIONS, SUBSCRIPTIONS, SUM, UNIQUE, Kind, load_of
from bench.pairs import ROUND_EVENTS, Load
from bench.world import profiling
from tables.closing.close import settle
from tables.closing.instants import instants_at

AT_ONCE = {"pay_in_advance": True}
BY_FILTER = {**SUM, "filters": [{"key": "region", "values": list(REGIONS)}]}
KINDS = {
    "sum": Kind(SUM, {}, AT_ONCE),
    "unique count": Kind(UNIQUE, {}, AT_ONCE),
    "sum, recurring and prorated": Kind(
        {**SUM, "recurring": True}, {}, {**AT_ONCE, "prorated": True}
    ),
    "sum, two filters": Kind(BY_FILTER, {}, {**AT_ONCE, "filters": FILTERS}),
    "sum, by 3 groups": Kind(SUM, BY_REGION, AT_ONCE),
}


def measure(load: Load) -> tuple[float, float, float]:
    """Take events and decide them; return what one takes when it comes, is decided and flushed."""
    partition, clock = load.partition, time.process_time
    taken = sum(load.take(load.values(ROUND_EVENTS)))
    waiting = sum(map(len, partition.instants.undecided.values()))
    began = clock()
    records = 0
    while partition.instants.names():
        cut_ms = partition.cuts.next_ms()
        records += sum(record is not None for record in instants_at(partition, cut_ms))
        settle(partition, cut_ms)
    decided = clock()
    deque(partition.rows_of(partition.take_changes()), maxlen=0)
    flushed = clock()
    if records != waiting:
        raise RuntimeError(f"{records} records came of {waiting} events")
    return (
        taken / ROUND_EVENTS * 1e6,
        (decided - began) / waiting * 1e6,
        (flushed - decided) / waiting * 1e6,
    )


def main() -> None:
    """Measure each kind, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("kinds", nargs="*", choices=[[], *KINDS])
    told = parser.parse_args()
    Collecting().start()
    for name in told.kinds or KINDS:
        took = []
        with profiling(told.profile) as noting:
            for _ in range(told.rounds):
                load = load_of(KINDS[name])
                load.take(load.values(5 * SUBSCRIPTIONS))
                pass_over()
                with noting:
                    took.append(measure(load))
        came, decided, flushed = min(took, key=sum)
        print(f"{name:28} {came:6.2f} us as it comes, {decided:6.2f} decided, {flushed:5.2f} flush")


if __name__ == "__main__":
    main()
