"""Definitions that are large, that change nothing, or that would take long to carry out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.bounds import limits
from app.kafka.topics import METER_DEFINITIONS
from tests.attacks.victim import MEBIBYTE, Victim
from tests.world import bodies
from tests.world.live.api import Json

pytestmark = pytest.mark.servers

REGIONS = [str(i) for i in range(1_000)]
CHANGES_A_MINUTE = 120
ENVIRONMENT = {"METER_QUOTA_PLAN_CHANGES_A_MINUTE": str(CHANGES_A_MINUTE)}
"""Fewer than by default, so that a minute's are sent in a few seconds."""


async def refused(victim: Victim, method: str, path: str, body: Json) -> Any:
    """The codes by field of an answer 422."""
    status, answer = await victim.attacker.call(method, path, body)
    assert (status, answer["code"]) == (422, "validation_errors"), answer
    return answer["error_details"]


def charges(code: str, filters: int) -> list[Json]:
    made = [{"values": {"region": [REGIONS[i % 1_000]], "zone": [str(i)]}} for i in range(filters)]
    return [{"billable_metric_code": code, "charge_model": "package", "filters": made}]


async def definitions_end(victim: Victim) -> int:
    """Where the log ends; ticks count."""
    servers = list(victim.settings.kafka_bootstrap_servers)
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    await consumer.start()
    try:
        tp = TopicPartition(victim.settings.topic(METER_DEFINITIONS), 0)
        return int((await consumer.end_offsets([tp]))[tp])
    finally:
        await consumer.stop()


async def test_texts_of_880_kb_are_refused(victim: Victim) -> None:
    await victim.attacker.make_metric("long", "count_agg")
    before = await definitions_end(victim)
    async with victim.attacked(growth_bytes=64 * MEBIBYTE):
        for _ in range(20):
            body = {"billable_metric": {"description": "x" * 880_000}}
            found = await refused(victim, "PUT", "/billable_metrics/long", body)
            assert found == {"description": ["value_is_too_long"]}
    assert await definitions_end(victim) - before < 20, "something was appended"


async def test_texts_that_change_again_and_again_are_kept_once(victim: Victim) -> None:
    await victim.attacker.make_metric("texts", "count_agg")
    most = limits.DESCRIPTION_CHARACTERS
    async with victim.attacked(growth_bytes=64 * MEBIBYTE):
        for number in range(40):
            body = {"billable_metric": {"description": str(number).rjust(most)}}
            status, _ = await victim.attacker.call("PUT", "/billable_metrics/texts", body)
            assert status == 200
        before = await definitions_end(victim)
        for _ in range(40):
            status, answer = await victim.attacker.call("PUT", "/billable_metrics/texts", body)
            assert status == 200
    assert answer["billable_metric"]["description"] == "39".rjust(most)
    assert await definitions_end(victim) - before < 40, "what changes nothing was appended"


async def test_a_plan_of_8_000_charge_filters_is_refused_and_one_of_2_000_is_quick(
    victim: Victim,
) -> None:
    zones = [{"key": "region", "values": REGIONS}, {"key": "zone", "values": REGIONS}]
    await victim.attacker.make_metric("placed", "count_agg", filters=zones)
    plan = bodies.plan("many", interval="weekly")
    async with victim.attacked():
        made = charges("placed", 8_000)
        found = await refused(victim, "POST", "/plans", {"plan": {**plan, "charges": made}})
        assert found == {"filters": ["limit_is_2000"]}
        halves = charges("placed", 1_000) * 2
        answer = await victim.attacker.post("/plans", {"plan": {**plan, "charges": halves}})
        kept = [{"id": each["lago_id"]} for each in answer["plan"]["charges"]]
        for once, half in zip(kept, halves, strict=True):
            once.update({**half, "charge_model": "package"})
        for cents in (1, 2):
            await victim.attacker.call(
                "PUT", "/plans/many", {"plan": {"amount_cents": cents, "charges": kept}}
            )


async def test_a_subscription_that_began_in_1970_is_refused(victim: Victim) -> None:
    await victim.attacker.make_metric("old", "count_agg")
    many = [{"billable_metric_code": "old", "charge_model": "package"}] * 200
    await victim.attacker.make_plan("old", many, interval="weekly")
    subscription = {
        "external_customer_id": "old",
        "external_id": "old",
        "plan_code": "old",
        "subscription_at": "1970-01-01",
    }
    async with victim.attacked():
        found = await refused(victim, "POST", "/subscriptions", {"subscription": subscription})
    assert found == {"subscription_at": ["value_is_out_of_range"]}
    status, _ = await victim.attacker.call("GET", "/customers/old")
    assert status == 404


async def test_a_code_that_no_terminal_shows_is_refused(victim: Victim) -> None:
    body = {"name": "M", "code": "a\nb", "aggregation_type": "count_agg"}
    found = await refused(victim, "POST", "/billable_metrics", {"billable_metric": body})
    assert found == {"code": ["value_is_invalid"]}


async def test_more_changes_than_a_minute_has_are_refused(victim: Victim) -> None:
    await victim.attacker.make_metric("often", "count_agg")
    statuses: set[int] = set()

    async def rename(name: str) -> None:
        body = {"billable_metric": {"name": name}}
        statuses.add((await victim.attacker.call("PUT", "/billable_metrics/often", body))[0])

    async with victim.attacked():
        # Twice as many: a minute may end between.
        for number in range(0, 2 * CHANGES_A_MINUTE, 10):
            await asyncio.gather(*(rename(str(number + each)) for each in range(10)))
            if 429 in statuses:
                break
    assert statuses == {200, 429}
