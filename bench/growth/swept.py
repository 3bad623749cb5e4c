"""Rows of definitions that concern very many, at each of whom somebody looks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from bench.growth.spent import Operation, Spent
from bench.growth.world import DAY_MS, NOW_MS, ORG, World
from bench.world import charge_of, plan_of, subscription_of
from tables.closing.close import entering_history
from tables.partition.redirection import refolds_of

SWEPT = 100
"""Subscriptions that are looked at in one sweep, where their number does not grow."""


def definition_swept(subscriptions: int) -> Spent:
    """Look at a subscription with an event, of all that new settings concern."""
    made = (commands.set_settings(SettingsRecord(grace_s=number + 1)) for number in range(3))
    return _swept(World(subscriptions), subscriptions, made)


def due_times_swept(
    subscriptions: int, *, anniversaries: bool = False, others_watch: bool = False
) -> Spent:
    """Look at a subscription with an event under settings of due times, and for its next cut.

    `others_watch`: another organization has an alert, and pays in advance.
    """
    world = World(subscriptions, 3, anniversaries=anniversaries)
    if others_watch:
        _watch(world, "other")
    made = (commands.set_settings(SettingsRecord(grace_s=number + 1)) for number in range(3))
    world.state.checkpoint.cut_ms = NOW_MS - DAY_MS
    return _swept(world, subscriptions, made, world.take_over)


def _watch(world: World, organization_id: str) -> None:
    """Make a subscription of an organization that is watched at each grid cut."""
    metric = {"name": "n", "code": "calls", "aggregation_type": "count_agg"}
    made = world.apply(commands.create_billable_metric(organization_id, metric)).object
    plan = plan_of([{**charge_of(made.id), "pay_in_advance": True}])
    alert: dict[str, Any] = {"alert_type": "billable_metric_current_usage_units", "code": "calls"}
    alert |= {"billable_metric_code": "calls", "thresholds": [{"value": "1"}]}
    told = subscription_of(0)
    for command in (
        commands.create_plan(organization_id, plan),
        commands.create_subscription(organization_id, told),
        commands.create_alert(organization_id, str(told["external_id"]), alert),
    ):
        world.apply(command)


def definition_swept_at_an_age(months: int) -> Spent:
    """Look at a subscription of an age with an event, under other settings than of due times."""
    made = (commands.set_settings(SettingsRecord(max_groups=number + 1)) for number in range(3))
    return _swept(World(SWEPT, months), SWEPT, made)


def _swept(
    world: World,
    subscriptions: int,
    made: Iterable[Command],
    renew: Operation | None = None,
) -> Spent:
    world.fold(map(world.event, range(subscriptions)))
    world.flush()
    world.now_ms = NOW_MS + DAY_MS
    renew = renew or world.renew

    def change(command: Command) -> None:
        world.define(command)
        renew()

    found = world.spent(change, made)
    touched = {kind: count / subscriptions for kind, count in found.touched.items()}
    return Spent(found.steps / subscriptions, touched, found.cpu_us / subscriptions)


def history_swept(subscriptions: int) -> Spent:
    """Put a history record in force, of charges that never changed."""
    world = World(subscriptions)
    world.fold(map(world.event, range(subscriptions)))
    world.flush()
    world.now_ms = NOW_MS + DAY_MS
    named = [metric.id for metric in world.definitions.metrics(ORG)]

    def rewrite(number: int) -> None:
        from_ms, to_ms = NOW_MS - 40 * DAY_MS, NOW_MS + number
        record = commands.apply_history(ORG, metric_ids=named, from_ms=from_ms, to_ms=to_ms)
        world.apply(record)
        world.state.checkpoint.cut_ms = world.now_ms - 1
        if refolds_of(entering_history(world.state)):
            raise RuntimeError("nothing changed")

    found = world.spent(rewrite, range(3))
    return Spent(found.steps / subscriptions, found.touched, found.cpu_us / subscriptions)
