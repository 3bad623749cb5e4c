"""Definitions of few codes, which the definitions that follow meet."""

from __future__ import annotations

from app.definitions import commands
from app.definitions.command import Command
from tests.world.clock import ms

ORGS = ("org_a", "org_b")
START_MS = ms("2024-01-20T10:00:00Z")
FILTER_IDS = ("filter-0", "filter-1")
"""Of the first charge of each plan that the logs begin with."""


CHARGE_IDS = ("charge-a", "charge-b", "charge-c")
"""Of the first charge of each plan that the logs begin with."""


def prologue() -> list[Command]:
    """Something of everything, for what follows to meet."""
    region = [{"key": "k", "values": ["a", "b"]}, {"key": "l", "values": ["a"]}]
    metric = {"name": "n", "code": "a", "aggregation_type": "count_agg", "filters": region}
    charge = {"billable_metric_code": "a", "charge_model": "standard"}
    found = [{"values": {"k": ["a", "b"]}}, {"values": {"k": ["a"], "l": ["a"]}}]
    plan = {"name": "n", "amount_currency": "EUR", "pay_in_advance": False}
    subscription = {"external_customer_id": "x", "plan_code": "b", "external_id": "x"}
    prices = [("a", "yearly", 3), ("b", "monthly", 1), ("c", "weekly", 2)]
    plans = [
        commands.create_plan(
            ORGS[0],
            {
                **plan,
                "code": code,
                "interval": interval,
                "amount_cents": amount_cents,
                "charges": [{**charge, "filters": found}, charge],
            },
        )
        for code, interval, amount_cents in prices
    ]
    for made, charge_id in zip(plans, CHARGE_IDS, strict=True):
        made.payload["plan"]["charges"][0]["new_id"] = charge_id
        for each, filter_id in zip(
            made.payload["plan"]["charges"][0]["filters"], FILTER_IDS, strict=True
        ):
            each["new_id"] = filter_id
    return [
        commands.create_billable_metric(ORGS[0], metric),
        *plans,
        commands.create_subscription(ORGS[0], subscription),
    ]
