"""What others notice while definitions concern a hundred thousand subscriptions: on real servers.

A production worker in a process of its own, one organization with subscriptions of 36 months on one
plan, some of them with events. Then it makes a metric, changes the plan of all, a customer of half
of them and the settings, while somebody asks for usage every 20 ms, half the time of another
organization.

    python -m bench.definitions_live [--subscriptions N] [--used N] [--restarted]
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil
import uvloop
from aiokafka import AIOKafkaProducer

from app.cli.settings_apply import definitions_of
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.kafka.topics import METER_DEFINITIONS
from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from app.settings import Settings
from bench.world import at_shares, plan_of
from tests.attacks.victim import (
    ATTACKER,
    KEYS,
    NEIGHBOUR,
    Victim,
    api_with_key,
    production,
    victim_on,
)
from tests.world.live.api import Api, Json
from tests.world.live.producer import foreign_producer
from tests.world.waiting import eventually

ASKED_EVERY_S = 0.02
QUIET_S = 10.0
MONTHS = 36
SAMPLED = 20
until = partial(eventually, wanted=True, timeout_s=180.0, every_s=0.05)
"""Waits for an answer."""


class Alone(Victim):
    """Nobody works beside it but this bench."""

    async def start(self) -> None:
        self._producer = foreign_producer(self.settings)
        await self._producer.start()


class Asked:
    """Usage asked for again and again, one question at a time."""

    def __init__(self, questions: list[tuple[Api, str]]):
        self._questions = questions
        self.taken_s: list[float] = []

    async def run(self) -> None:
        """Until cancelled."""
        count = 0
        while True:
            began_s = time.perf_counter()
            api, path = self._questions[count % len(self._questions)]
            status, answer = await api.call("GET", path)
            self.taken_s.append(time.perf_counter() - began_s)
            if status >= 429:
                click.echo(f"answered {status}: {answer}")
            count += 1
            await asyncio.sleep(max(0.0, ASKED_EVERY_S - self.taken_s[-1]))


def usage_of(customer: str, subscription: str) -> str:
    """The path that is asked."""
    return f"/customers/{customer}/current_usage?external_subscription_id={subscription}"


def customer_of(number: int) -> str:
    """Half of the subscriptions are one customer's."""
    return "half" if number % 2 else f"customer-{number}"


async def append(settings: Settings, made: list[Command]) -> None:
    """To the definitions log: too many to be sent over REST one by one."""
    async with AIOKafkaProducer(linger_ms=20, **settings.kafka_options()) as producer:
        topic = settings.topic(METER_DEFINITIONS)
        for command in made:
            await producer.send(topic, command.encode(), partition=0)


async def change_settings(settings: Settings, in_force: SettingsRecord, **changes: Any) -> None:
    """As `meter settings apply` does."""
    changes["close_elapsed"] = False
    await append(settings, [commands.set_settings(msgspec.structs.replace(in_force, **changes))])


async def prepare(
    victim: Victim, neighbour: Api, subscriptions: int, used: int
) -> tuple[SettingsRecord, Json]:
    """Subscriptions and events; the settings and the charge of the plan."""
    in_force = (await definitions_of(victim.settings)).settings_at()
    await change_settings(victim.settings, in_force)
    metric = {"name": "M", "code": "calls", "aggregation_type": "count_agg"}
    charge = {"billable_metric_code": "calls", "charge_model": "standard"}
    plan = {**plan_of([charge]), "code": "plan"}
    for api in (victim.attacker, neighbour):
        await api.post("/billable_metrics", {"billable_metric": metric})
        made = await api.post("/plans", {"plan": plan})
    began = time.gmtime(time.time() - MONTHS * 30.44 * 86_400)
    subscription = {"plan_code": "plan", "subscription_at": time.strftime("%Y-%m-%d", began)}
    many = [
        commands.create_subscription(
            ATTACKER,
            {
                **subscription,
                "external_customer_id": customer_of(number),
                "external_id": f"s{number}",
            },
        )
        for number in range(subscriptions)
    ]
    of_neighbour = {**subscription, "external_customer_id": "c", "external_id": "s"}
    many.append(commands.create_subscription(NEIGHBOUR, of_neighbour))
    await append(victim.settings, many)
    await until(lambda: exists(neighbour, "/subscriptions/s"))
    for first in range(0, used, 1_000):
        events = [
            {
                "organization_id": ATTACKER,
                "external_subscription_id": f"s{number}",
                "transaction_id": f"t{number}",
                "code": "calls",
                "timestamp": time.time(),
                "properties": {},
            }
            for number in range(first, min(first + 1_000, used))
        ]
        await victim.produce(events)
    last = used - 1
    path = usage_of(customer_of(last), f"s{last}")
    await until(lambda: counted(victim.attacker, path))
    charges: list[Json] = made["plan"]["charges"]
    return in_force, charges[0]


async def exists(api: Api, path: str) -> bool:
    """Whether something answers 200."""
    return (await api.call("GET", path))[0] == 200


async def counted(api: Api, path: str) -> bool:
    """Whether the usage has any units."""
    _, answer = await api.call("GET", path)
    charges = answer.get("customer_usage", {}).get("charges_usage", ())
    return any(charge["units"] not in ("0", "0.0") for charge in charges)


async def is_caught_up(api: Api, used: int) -> bool:
    """Whether no sampled figure is stale."""
    for number in range(0, used, max(1, used // SAMPLED)):
        status, answer = await api.call("GET", usage_of(customer_of(number), f"s{number}"))
        # Once its plan or customer is deleted it has no usage.
        if status == 200 and answer["customer_usage"]["stale"]:
            return False
    return True


async def verify(api: Api) -> None:
    """All of an organization against the raw log."""
    *_, last = await api.reports("/verify", {})
    if last["differences"]:
        click.echo(f"differs: {last}")


def told(taken_s: list[float]) -> str:
    """p50, p99 and worst, in ms."""
    return "".join(f"{each * 1000:9.0f}" for each in at_shares(taken_s, 0.5, 0.99, 1))


class Bench:
    """Rows of the table."""

    def __init__(self, victim: Victim, asked: Asked, used: int):
        self._victim, self._asked, self._used = victim, asked, used

    async def measure(self, name: str, change: Awaitable[object]) -> None:
        """Do something, wait until all is caught up, and print what was seen."""
        self._asked.taken_s.clear()
        before = await self._victim.metrics()
        began_s = time.perf_counter()
        await change
        answered_s = time.perf_counter() - began_s
        # A change appended to the log is not applied at once.
        await asyncio.sleep(0.5)
        await until(lambda: is_caught_up(self._victim.attacker, self._used))
        caught_up_s = time.perf_counter() - began_s
        await asyncio.sleep(0.5)
        after = await self._victim.metrics()
        held = {
            key.rpartition("=")[2]: round(value - before.get(key, 0.0), 2)
            for key, value in after.items()
            if key.startswith("meter_loop_held_seconds_total") and value > before.get(key, 0.0)
        }
        click.echo(
            f"{name:22}{told(self._asked.taken_s)}{stall(before, after):>9}"
            f"{answered_s * 1000:9.0f}{caught_up_s:9.1f}  {held or ''}"
        )


def stall(before: dict[str, float], after: dict[str, float]) -> str:
    """The bounds of the highest bucket that grew, in ms."""
    name = "meter_loop_stall_seconds_bucket,le="
    bounds = sorted(float(each.removeprefix(name)) for each in after if each.startswith(name))
    labels = {float(each.removeprefix(name)): each for each in after if each.startswith(name)}
    grown = [after[labels[b]] - before.get(labels[b], 0.0) for b in bounds]
    return f"<={next(b for b, g in zip(bounds, grown, strict=True) if g >= grown[-1]) * 1000:.0f}"


@asynccontextmanager
async def worker(state: Path) -> AsyncIterator[Victim]:
    """Servers, and a production worker of two partitions."""
    async with LocalKafka(state / "kafka") as kafka, LocalRedis(state / "redis") as redis:
        settings = production(kafka, redis, state)
        async with victim_on(settings, state, None, Alone) as victim:
            yield victim


async def run(subscriptions: int, used: int, restarted: bool) -> None:
    """All of it."""
    with tempfile.TemporaryDirectory() as name:
        async with (
            worker(Path(name)) as victim,
            api_with_key(victim.url, KEYS["write", NEIGHBOUR]) as neighbour,
        ):
            in_force, charge = await prepare(victim, neighbour, subscriptions, used)
            if restarted:
                await victim.worker.stop()
                began_s = time.perf_counter()
                await victim.worker.start(timeout_s=300)
                click.echo(f"started again in {time.perf_counter() - began_s:.1f} s")
                victim.attacker.url = neighbour.url = victim.url
            await until(lambda: is_caught_up(victim.attacker, used))
            asked = Asked(
                [(neighbour, usage_of("c", "s")), (victim.attacker, usage_of(customer_of(0), "s0"))]
            )
            asking = asyncio.create_task(asked.run())
            cores, load = os.cpu_count(), psutil.getloadavg()[0]
            click.echo(
                f"{subscriptions:,} subscriptions, {used:,} with events; {cores} cores, "
                f"load {load:.1f}\n{'ms':22}{'p50':>9}{'p99':>9}{'worst':>9}{'stall':>9}"
                f"{'answer':>9}{'done s':>9}  held longer than 50 ms"
            )
            bench = Bench(victim, asked, used)
            for kind, change in changes(victim, in_force, charge).items():
                await bench.measure(kind, change())
            asking.cancel()
            click.echo(victim.worker.tail())


def changes(
    victim: Victim, in_force: SettingsRecord, charge: Json
) -> dict[str, Callable[[], Awaitable[object]]]:
    """What is done, in this order."""
    api, settings = victim.attacker, victim.settings
    metric = {"name": "new", "code": "new", "aggregation_type": "count_agg"}
    known = {"id": charge["lago_id"], "billable_metric_code": "calls", "charge_model": "standard"}
    added = {"billable_metric_code": "new", "charge_model": "standard"}
    again = {"billable_metric_code": "calls", "charge_model": "standard"}
    grouped = {**known, "properties": {"amount": "1", "pricing_group_keys": ["g"]}}

    def plan(**body: Any) -> Callable[[], Awaitable[object]]:
        return lambda: api.call("PUT", "/plans/plan", {"plan": body})

    def customer(name: str) -> Callable[[], Awaitable[object]]:
        body = {"customer": {"external_id": name, "timezone": "Europe/Paris"}}
        return lambda: api.call("POST", "/customers", body)

    return {
        "nothing": lambda: asyncio.sleep(QUIET_S),
        "new metric": lambda: api.call("POST", "/billable_metrics", {"billable_metric": metric}),
        "plan: name": plan(name="other"),
        "plan: unused charge": plan(charges=[known, added]),
        "plan: charge in use": plan(charges=[known, added, again]),
        "plan: charge grouped": plan(charges=[grouped, added]),
        "plan: interval": plan(interval="yearly"),
        "customer of one": customer("customer-0"),
        "customer of half": customer("half"),
        "settings: grace": lambda: change_settings(settings, in_force, grace_s=86_400),
        "settings: late window": lambda: change_settings(settings, in_force, late_window_s=86_400),
        "verify": lambda: verify(api),
        "list subscriptions": lambda: api.call("GET", "/subscriptions?per_page=1"),
        "list customers": lambda: api.call("GET", "/customers?per_page=1"),
        "customer deleted": lambda: api.call("DELETE", "/customers/half"),
        "plan deleted": lambda: api.call("DELETE", "/plans/plan"),
        "nothing, afterwards": lambda: asyncio.sleep(QUIET_S),
    }


@click.command(help=__doc__)
@click.option("--subscriptions", default=100_000, show_default=True)
@click.option("--used", default=10_000, show_default=True, help="Those with an event.")
@click.option("--restarted", is_flag=True, help="Events are folded before the worker starts.")
def main(subscriptions: int, used: int, restarted: bool) -> None:
    uvloop.run(run(subscriptions, used, restarted))


if __name__ == "__main__":
    main()
