"""Definitions that concern ten thousand subscriptions, which began years ago."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from app.definitions import commands
from app.definitions.command import Command
from app.kafka.topics import METER_DEFINITIONS
from tests.attacks.victim import ATTACKER, MEBIBYTE, SLACK, Victim
from tests.world.live.api import Json

pytestmark = [pytest.mark.servers, pytest.mark.slow]

MANY = 10_000
CHANGE_S = 1.0


async def define(victim: Victim, made: list[Command]) -> None:
    """Append to the definitions log what has no place in a test's time one by one over REST."""
    servers = list(victim.settings.kafka_bootstrap_servers)
    async with AIOKafkaProducer(bootstrap_servers=servers, linger_ms=20) as producer:
        topic = victim.settings.topic(METER_DEFINITIONS)
        for command in made:
            await producer.send(topic, command.encode(), partition=0)


async def call(victim: Victim, method: str, path: str, body: Json) -> Json:
    """A change, and that it is answered at once; nothing else waits for what it concerns."""
    stopwatch = victim.stopwatch()
    status, answer = await victim.attacker.call(method, path, body)
    assert status == 200, answer
    assert stopwatch.taken_s() < CHANGE_S * SLACK
    found: Json = answer
    return found


async def subscriptions(victim: Victim) -> None:
    """Ten thousand of three to ten years, made at once."""
    made = [
        commands.create_subscription(
            ATTACKER,
            {
                "external_customer_id": "one",
                "external_id": f"of-many-{number}",
                "plan_code": "many",
                "subscription_at": f"{2016 + number % 7}-01-01T00:00:00Z",
            },
        )
        for number in range(MANY)
    ]
    await define(victim, made)
    last = f"/subscriptions/of-many-{MANY - 1}"
    async with asyncio.timeout(60):
        while (await victim.attacker.call("GET", last))[0] != 200:
            await asyncio.sleep(0.1)


async def test_definitions_that_concern_ten_thousand_hold_up_nobody(victim: Victim) -> None:
    await victim.attacker.make_metric("calls", "count_agg")
    charge = {"billable_metric_code": "calls", "charge_model": "standard"}
    made = await victim.attacker.make_plan("many", [charge])
    await subscriptions(victim)
    (known,) = made["charges"]
    grouped = {
        **charge,
        "id": known["lago_id"],
        "properties": {"amount": "1", "pricing_group_keys": ["g"]},
    }
    async with victim.attacked(growth_bytes=128 * MEBIBYTE):
        for number in range(5):
            body = {"name": "M", "code": f"new-{number}", "aggregation_type": "count_agg"}
            await call(victim, "POST", "/billable_metrics", {"billable_metric": body})
        for changes in ({"name": "renamed"}, {"charges": [grouped]}):
            await call(victim, "PUT", "/plans/many", {"plan": changes})
        customer = {"external_id": "one", "timezone": "Europe/Paris"}
        await call(victim, "POST", "/customers", {"customer": customer})
