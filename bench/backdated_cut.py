"""What one cut of a backdated subscription costs: weekly since 1970, 200 recurring charges.

No servers: the steps of `closing` are counted and timed, and what they publish is thrown away.

    python -m bench.backdated_cut --charges 200 --since 2000
"""

from __future__ import annotations

import argparse
import time
import tracemalloc

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.wire.arrivals import Arrival, runs_of
from app.wire.events import Event
from bench.world import charge_of
from tables.closing.close import closing, next_cut
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition

ORG, NAME = "bench", ("bench", "old")
NOW_MS = 1_768_435_200_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--charges", type=int, default=200)
    parser.add_argument("--since", type=int, default=1970)
    parser.add_argument("--memory", action="store_true", help="measure it too, which takes time")
    arguments = parser.parse_args()
    definitions = Definitions()

    def define(command: Command) -> object:
        applied = apply(definitions, command.encode(), NOW_MS, definitions.offset)
        return getattr(applied, "object", None)

    define(commands.set_settings(SettingsRecord()))
    seats = {"aggregation_type": "sum_agg", "field_name": "v", "recurring": True}
    metric = define(commands.create_billable_metric(ORG, {"name": "s", "code": "s", **seats}))
    charges = [charge_of(metric.id) for _ in range(arguments.charges)]  # type: ignore[attr-defined]
    plan = {"name": "p", "code": "p", "interval": "weekly", "amount_cents": 0, "charges": charges}
    define(commands.create_plan(ORG, {**plan, "amount_currency": "EUR", "pay_in_advance": False}))
    began = f"{arguments.since}-01-01T00:00:00Z"
    define(
        commands.create_subscription(
            ORG,
            {
                "external_customer_id": "c",
                "plan_code": "p",
                "external_id": NAME[1],
                "subscription_at": began,
            },
        )
    )
    state = Partition(0, definitions, EventIndex())
    at_ms = (arguments.since - 1970) * 31_557_600_000 + 864_000_000
    event = Event(ORG, NAME[1], "t", "s", at_ms, None, b'{"v":1}', b"{}")
    began_s = time.perf_counter()
    state.fold(runs_of([Arrival(event, ORG, NOW_MS - 1, 0, 0, 0)]))
    print(f"first event: {time.perf_counter() - began_s:.3f} s")
    began_s = time.perf_counter()
    cut_ms = next_cut(state, NAME)
    print(f"next cut: {time.perf_counter() - began_s:.3f} s")
    if arguments.memory:
        tracemalloc.start()
    records = closing(state, NAME, cut_ms)
    longest_s, all_s, steps, published, size = 0.0, 0.0, 0, 0, 0
    while True:
        began_s = time.perf_counter()
        record = next(records, "over")
        took_s = time.perf_counter() - began_s
        longest_s, all_s, steps = max(longest_s, took_s), all_s + took_s, steps + 1
        if record == "over":
            break
        if record is not None:
            published, size = published + 1, size + len(record.value)  # type: ignore[union-attr]
            if published % 5_000 == 0:
                state.take_changes()
    most_mb = tracemalloc.get_traced_memory()[1] / 1e6
    print(
        f"{published} records, {size / 1e6:.0f} MB in {all_s:.1f} s, {steps} steps,"
        f" longest {longest_s * 1e3:.1f} ms, most memory {most_mb:.0f} MB"
    )


if __name__ == "__main__":
    main()
