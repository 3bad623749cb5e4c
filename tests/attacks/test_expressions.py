"""Expressions that cost too much: bounded-work C1, H9 and H10, by their numbers."""

from __future__ import annotations

import time

import pytest

from tests.attacks.billing import requests
from tests.attacks.victim import ATTACKER, Victim
from tests.world import bodies
from tests.world.live.api import Json
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

CUSTOMER = "attacker"


async def define(victim: Victim, code: str, *, prorated: bool = False, **metric: object) -> str:
    """A metric on a plan of its own; the external id of a subscription to it."""
    for path, body in requests(code, CUSTOMER, code, metric):
        await victim.attacker.post(path, body)
    return code


def event(subscription: str, transaction_id: str, **properties: object) -> Json:
    return {
        "organization_id": ATTACKER,
        "external_subscription_id": subscription,
        "transaction_id": transaction_id,
        "code": subscription,
        "timestamp": time.time(),
        "properties": properties,
    }


async def units(victim: Victim, subscription: str) -> object:
    return (await victim.attacker.units(CUSTOMER, subscription)).get(subscription)


async def test_a_member_of_32_megabytes_is_never_made(victim: Victim) -> None:
    concat = f"concat({','.join(['event.properties.s'] * 40)})"
    code = await define(
        victim, "c1", aggregation_type="unique_count_agg", field_name="u", expression=concat
    )
    async with victim.attacked():
        await victim.produce(event(code, "large", s="x" * 800_000))
        await victim.produce(event(code, "small", s="x"))
        await eventually(lambda: units(victim, code), 1)


async def test_a_seat_that_comes_and_goes_without_end(victim: Victim) -> None:
    """Prorated: when it came and went decides what it costs."""
    code = await define(
        victim,
        "seat",
        prorated=True,
        aggregation_type="unique_count_agg",
        field_name="u",
        recurring=True,
    )
    async with victim.attacked():
        operations = ["add", "remove"] * 2_000
        batch = [
            event(code, f"t{i}", u="one", operation_type=each) for i, each in enumerate(operations)
        ]
        await victim.produce(batch)
        await victim.produce(event(code, "last", u="other"))
        await eventually(lambda: units(victim, code), 1)


async def test_an_example_is_evaluated_within_the_budget(victim: Victim) -> None:
    concat = f"concat({','.join(['event.properties.s'] * 500)})"
    example = {"expression": concat, "event": {"properties": {"s": "x" * 880_000}}}
    path = "/billable_metrics/evaluate_expression"
    async with victim.attacked():
        for _ in range(5):
            status, answer = await victim.attacker.call("POST", path, example)
            assert (status, answer["error_details"]) == (422, {"event": ["invalid_event"]})


async def test_a_long_expression_is_not_taken_and_a_costly_one_counts_nothing(
    victim: Victim,
) -> None:
    long = "+".join(["event.properties.a"] * 500)
    body = bodies.metric("h", "sum_agg", field_name="v")
    metric = {"billable_metric": {**body, "expression": long}}
    status, answer = await victim.attacker.call("POST", "/billable_metrics", metric)
    assert (status, answer["error_details"]) == (422, {"expression": ["invalid_expression"]})
    rounded = "+".join(["round(event.properties.a, 2)"] * 120)
    code = await define(
        victim, "h10", aggregation_type="sum_agg", field_name="v", expression=rounded
    )
    async with victim.attacked():
        batch = [event(code, f"t{i}", a=f"{i}.125") for i in range(3_000)]
        await victim.produce(batch)
        # Each is 120 times its number and 0.13.
        await eventually(lambda: units(victim, code), 539_866_800)
