"""Rows of what is defined, beside very much else that is: plans of one subscription above all."""

from __future__ import annotations

from typing import Literal

from app.api.definitions.definitions_json import (
    customer_json,
    metric_json,
    plan_json,
    subscription_json,
)
from app.api.http.pagination import PageRequest, numbered
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from bench.growth.spent import Spent
from bench.growth.world import DAY_MS, NOW_MS, ORG, TIMES, World
from bench.world import METRICS, subscription_of
from tables.closing.close import entering_history
from tables.partition.redirection import refolds_of


def metric_told(children: int) -> Spent:
    """Rename a metric, and tell it, beside so many plans that each are of one subscription."""
    world = World()
    for number in range(children):
        world.override(number)
    code = str(METRICS[0]["code"])

    def told(number: int) -> None:
        renamed = {"name": f"name {number}"}
        metric = world.apply(commands.update_billable_metric(ORG, code, renamed)).object
        metric_json(world.definitions, metric, NOW_MS)

    return world.spent(told)


def plan_told(subscriptions: int) -> Spent:
    """Tell a plan of so many customers; the first of them has a second subscription."""
    world = World(subscriptions)
    world.apply(commands.create_subscription(ORG, subscription_of(0) | {"external_id": "second"}))
    plan = world.definitions.plan(ORG, "bench")
    if plan is None:
        raise RuntimeError("the plan is gone")

    def told(_: int) -> None:
        if drained(plan_json(world.definitions, plan, NOW_MS))["customers_count"] != subscriptions:
            raise RuntimeError("customers are missing")

    return world.spent(told)


def last_page(root: str, subscriptions: int) -> Spent:
    """List the oldest ten of what there is for each subscription; ten of these have ended."""
    world = World(subscriptions)
    for number in range(0, subscriptions, subscriptions // 10):
        external_id = str(subscription_of(number)["external_id"])
        world.apply(commands.terminate_subscription(ORG, external_id))
    definitions = world.definitions
    customers, known = definitions.customer_index, definitions.subscription_index

    def customer(number: int) -> object:
        return customer_json(definitions, customers.numbered(number))

    def subscription(number: int) -> object:
        return subscription_json(definitions, known.numbered(number), NOW_MS)

    def listed(_: int) -> None:
        if root == "customers":
            count, told = definitions.customers_count(ORG), customer
            blocks = iter((customers.live.numbers(ORG),))
        else:
            count, told = definitions.active_count(ORG, NOW_MS), subscription
            numbers = known.by_organization.numbers(ORG)
            blocks = known.of_status(numbers, ("active",), NOW_MS + DAY_MS, NOW_MS + DAY_MS)
        answer = drained(numbered(root, blocks, PageRequest(count // 10, 10), told, count))
        if len(answer[root]) != 10:
            raise RuntimeError("the page is not whole")

    return world.spent(listed)


def first_touch_under(kind: Literal["settings", "prices", "history"], times: int) -> Spent:
    """Fold the first event of a subscription of eight years, in which so much came by months."""
    world = _under(kind, times)
    return world.spent_folding(world.each())


def ended_under(kind: Literal["settings"], times: int) -> Spent:
    """End a subscription of eight years with an event, in which so much came by months."""
    world = _under(kind, times)
    world.fold(world.each())
    world.flush()
    world.now_ms = world.definitions.append_time_ms

    def end(number: int) -> None:
        external_id = str(subscription_of(number)["external_id"])
        world.define(commands.terminate_subscription(ORG, external_id))
        world.renew()

    return world.spent(end)


def _under(kind: Literal["settings", "prices", "history"], times: int) -> World:
    """Return subscriptions of eight years, in which so much came by months."""
    world = World(TIMES, 100)
    (metric,) = (each for each in world.definitions.metrics(ORG) if each.code == "calls")
    (plan,) = world.definitions.plan_versions.values()
    (code,) = {c.code for v in plan.all() for c in v.charges if c.metric_id == metric.id}
    for number in range(times):
        world.now_ms = at_ms = NOW_MS - (times - number) * 29 * DAY_MS
        world.definitions.append_time_ms = at_ms
        if kind == "settings":
            world.define(commands.set_settings(SettingsRecord(max_groups=1_000 + number)))
        elif kind == "prices":
            price = {"properties": {"amount": str(number)}}
            world.define(commands.update_charge(ORG, "bench", code, price))
        else:
            ids, from_ms = [metric.id], at_ms - 60 * DAY_MS
            record = commands.apply_history(ORG, metric_ids=ids, from_ms=from_ms, to_ms=at_ms)
            world.define(record)
            world.state.checkpoint.cut_ms = at_ms - DAY_MS
            if refolds_of(entering_history(world.state)):
                raise RuntimeError("there is nothing to refold")
    world.definitions.append_time_ms = NOW_MS + DAY_MS
    world.renew()
    return world
