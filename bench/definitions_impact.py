"""What a definition costs that concerns many: the longest step of the event loop, and all of it.

A partition with events of every subscription, which began 36 to 120 months ago and were made a year
ago, or just now. No servers.

    python -m bench.definitions_impact --subscriptions 1000 10000 100000 [--imported]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections.abc import Generator
from typing import Any, NamedTuple

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from app.runtime.owned import OwnedPartition
from app.wire.arrivals import Arrival, runs_of
from app.wire.events import Event
from bench.world import METRICS, charge_of, plan_of, subscription_of
from tables.closing.close import settle
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tests.app.runtime.alone import NoProducer, context_of

ORG = "bench"
NOW_MS = 1_768_435_200_000
"""2026-01-15"""
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


class Cost(NamedTuple):
    """In seconds."""

    applied_s: float
    """The record itself: one step."""
    longest_s: float
    all_s: float
    steps: int


class World:
    """A partition without servers, and one organization in it."""

    def __init__(self, subscriptions: int, used: int, *, imported: bool = False):
        self.definitions = Definitions()
        self.now_ms = NOW_MS - (HOUR_MS if imported else YEAR_MS)
        self.apply(commands.set_settings(SettingsRecord(grace_s=0)))
        metrics = [
            self.apply(commands.create_billable_metric(ORG, body)).object for body in METRICS
        ]
        self.charges = [charge_of(metric.id) for metric in metrics]
        self.apply(commands.create_plan(ORG, plan_of(self.charges[:4])))
        self.names = []
        for number in range(subscriptions):
            body = {
                **subscription_of(number),
                "external_customer_id": f"customer_{number}" if number % 2 else "customer",
                "subscription_at": f"{2016 + number % 7}-01-01T00:00:00Z",
            }
            self.apply(commands.create_subscription(ORG, body))
            self.names.append((ORG, body["external_id"]))
        self.state = Partition(0, self.definitions, EventIndex())
        settle(self.state, NOW_MS)
        self.owned = OwnedPartition(self.state, NoProducer(), context_of(self.definitions))
        for number in range(used):
            self._use(number)
        self.now_ms = NOW_MS + HOUR_MS
        spend(self.owned.cuts.scheduling())
        # As a worker does: the collector passes over what stays.
        gc.collect()
        gc.freeze()

    def _use(self, number: int) -> None:
        """One event of a metric of the plan, and packed again."""
        name = self.names[number]
        event = Event(
            organization_id=ORG,
            precise_total_amount_cents=None,
            transaction_id=f"t{number}",
            external_subscription_id=name[1],
            code="calls",
            timestamp_ms=NOW_MS,
            properties=b"{}",
            body=b"{}",
        )
        self.state.fold(runs_of([Arrival(event, ORG, NOW_MS, 0, number, 0)]))
        self.state.take_changes()
        self.state.packing.pack(name)

    def apply(self, command: Command) -> Applied:
        """Apply a command that has to be accepted."""
        self.now_ms += 1
        outcome = apply(self.definitions, command.encode(), self.now_ms, self.definitions.offset)
        if not isinstance(outcome, Applied):
            raise TypeError(str(outcome))
        return outcome

    def cost(self, command: Command) -> Cost:
        """What applying it costs, and looking at whom it concerns."""
        began_s = time.perf_counter()
        outcome = self.apply(command)
        self.owned.renewal.define(outcome.impact, self.definitions.offset - 1, self.now_ms)
        applied_s = time.perf_counter() - began_s
        looking = self.state.redefinition.renewing()
        longest_s, all_s, steps = spend(self.owned.renewal.taking_over(looking, self.now_ms))
        queue = self.owned.refold_queue
        queue.swapped(queue.begin()[0])
        queue.let_cuts_go_on(self.owned.shared.followed.last)
        return Cost(applied_s, longest_s, all_s, steps)


def spend(steps: Generator[None, None, object]) -> tuple[float, float, int]:
    """Longest step and all, in seconds, and how many steps there were."""
    longest_s = all_s = 0.0
    count = 0
    while True:
        began_s = time.perf_counter()
        over = next(steps, _OVER) is _OVER
        took_s = time.perf_counter() - began_s
        longest_s, all_s, count = max(longest_s, took_s), all_s + took_s, count + 1
        if over:
            return longest_s, all_s, count


_OVER = object()


def definitions_of(world: World) -> dict[str, Command]:
    """A command of each kind, in the order in which they are applied."""
    renamed = {"name": "renamed"}
    fifth = {"charges": [*_known(world), world.charges[4]]}
    customer = {"external_id": "customer_1", "timezone": "Europe/Paris"}
    of_many = {"external_id": "customer", "timezone": "Europe/Paris"}
    unused = {"name": "new", "code": "new", "aggregation_type": "count_agg"}
    return {
        "new metric": commands.create_billable_metric(ORG, unused),
        "unused metric": commands.update_billable_metric(ORG, "new", {"code": "newer"}),
        "plan name": commands.update_plan(ORG, "bench", renamed),
        "new charge": commands.update_plan(ORG, "bench", fifth),
        "charge grouped": commands.update_plan(ORG, "bench", {"charges": _known(world, True)}),
        "customer": commands.upsert_customer(ORG, customer),
        "customer of half": commands.upsert_customer(ORG, of_many),
        "settings": commands.set_settings(SettingsRecord(grace_s=86_400)),
    }


def _known(world: World, grouped: bool = False) -> list[dict[str, Any]]:
    plan = world.definitions.plan(ORG, "bench")
    charges = plan.charges if plan is not None else ()
    properties = {"amount": "0", **({"pricing_group_keys": ["g"]} if grouped else {})}
    return [{"id": charge.id, "properties": properties} for charge in charges]


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subscriptions", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--used", type=float, default=1.0, help="the share that has events")
    parser.add_argument("--imported", action="store_true", help="they were made just now")
    arguments = parser.parse_args()
    print(f"{'subscriptions':>32}  applied ms  longest ms    all ms    steps")
    costs: dict[str, list[Cost]] = {}
    for count in arguments.subscriptions:
        used = int(count * arguments.used)
        world = World(count, used, imported=arguments.imported)
        for kind, command in definitions_of(world).items():
            cost = world.cost(command)
            costs.setdefault(kind, []).append(cost)
            print(
                f"{kind:18}{count:14}{cost.applied_s * 1e3:12.2f}{cost.longest_s * 1e3:12.2f}"
                f"{cost.all_s * 1e3:10.1f}{cost.steps:9}",
                flush=True,
            )
    for kind, (first, *_, last) in costs.items() if len(arguments.subscriptions) > 1 else ():
        growth = last.longest_s / first.longest_s
        print(f"{kind:18}longest step grows {growth:.1f} times")


if __name__ == "__main__":
    asyncio.run(main())
