"""Repeated ids whose bodies are hard to compare: bounded-work M20, by its numbers."""

from __future__ import annotations

import pytest

from tests.attacks.victim import ATTACKER, Victim
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers


async def test_large_duplicates_full_of_exponents(victim: Victim) -> None:
    """Longer than what is compared: of 140,000 numbers each, spelled otherwise."""
    async with victim.attacked():
        for number in range(5):
            for text in ("1e400", "10e399"):
                numbers = ",".join([text] * 120_000)
                await victim.produce(_body(f"large{number}", numbers), partition=number % 2)
        await eventually(lambda: _total(victim, "meter_events_refused_total"), 5.0)


async def test_duplicates_as_long_as_any_that_are_compared(victim: Victim) -> None:
    refused = await _total(victim, "meter_events_refused_total")
    identical = await _total(victim, "meter_duplicates_total,kind=identical")
    async with victim.attacked():
        for number in range(8):
            for text in ("1e400", "10e399"):
                numbers = ",".join([text] * 9_000)
                await victim.produce(_body(f"small{number}", numbers), partition=number % 2)
        told = "meter_duplicates_total,kind=identical"
        await eventually(lambda: _total(victim, told), identical + 8)
    assert await _total(victim, "meter_events_refused_total") == refused


def _body(transaction_id: str, numbers: str) -> bytes:
    return (
        f'{{"organization_id":"{ATTACKER}","external_subscription_id":"s","code":"c",'
        f'"transaction_id":"{transaction_id}","timestamp":1700000000,'
        f'"properties":{{"a":[{numbers}]}}}}'
    ).encode()


async def _total(victim: Victim, name: str) -> float:
    metrics = await victim.metrics()
    return sum(value for each, value in metrics.items() if each.startswith(name))
