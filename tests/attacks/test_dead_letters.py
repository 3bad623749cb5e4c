"""Dead letters by the thousand, and of others: bounded-work M21 and M32."""

from __future__ import annotations

import json
import time
import uuid

import aiohttp
import pytest

from tests.attacks.billing import subscription
from tests.attacks.victim import (
    ATTACKER,
    BY_RECORD,
    KEYS,
    MEBIBYTE,
    NEIGHBOUR,
    Victim,
    api_with_key,
)
from tests.world.live.api import Api, Json
from tests.world.live.consumer import records_of
from tests.world.live.worker import UNDEFINED_NAMES
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

OF_MANY = "of-many-names"
KEPT_NAMES = 2_000
"""Instead of a hundred thousand, which take half a minute to send."""
ENVIRONMENT = {UNDEFINED_NAMES: str(KEPT_NAMES)}


async def test_records_of_elements_that_are_all_refused(victim: Victim) -> None:
    value = b"[" + b",".join([b"1"] * 10_000) + b"]"

    async def told() -> list[tuple[str, str, int]]:
        letters = await records_of(victim.settings, victim.settings.dead_letter_topic)
        headers = [dict(letter.headers) for letter in letters]
        return [
            (each["meter-error-code"].decode(), each["meter-refused"].decode(), len(letter.value))
            for each, letter in zip(headers, letters, strict=True)
            if "meter-refused" in each
        ]

    async with victim.attacked():
        for number in range(20):
            await victim.produce(value, partition=number % 2)
        await eventually(told, [("many_refused", "invalid_event=10000", len(value))] * 20)


async def test_a_dead_letter_is_seen_by_whose_it_is(victim: Victim) -> None:
    event: Json = {
        "specversion": "1.0",
        "organizationid": NEIGHBOUR,
        "data": {"organization_id": ATTACKER},
    }
    async with api_with_key(victim.url, KEYS["write", NEIGHBOUR]) as neighbour:

        async def known() -> int:
            return len(await _seen(neighbour))

        async with victim.attacked():
            await victim.produce(event, partition=0)
            await eventually(known, 1)
        assert await _seen(victim.attacker) == []
        (letter,) = await _seen(neighbour)
        assert await _replayed(victim, "write", ATTACKER, letter) == "not sent"
        assert await _replayed(victim, "write", NEIGHBOUR, letter) in ("refused again", "sent")


async def _seen(api: Api) -> list[Json]:
    letters: list[Json] = (await api.overview())["dead_letters"]
    return [letter for letter in letters if letter["code"] == "missing_field"]


async def _replayed(victim: Victim, access: str, organization_id: str, letter: Json) -> str:
    headers = {"Authorization": f"Bearer {KEYS[access, organization_id]}", "Meter-Page": "1"}
    places = [f"{letter['partition']}/{letter['offset']}"]
    url = f"{victim.url}/api/page/dead_letters/replay"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json={"places": places}) as answer,
    ):
        outcomes = [json.loads(line) async for line in answer.content]
        return str(outcomes[1]["outcome"])


async def test_names_that_nothing_defines_are_kept_up_to_a_limit(victim: Victim) -> None:
    """What is beyond it is found in the log, once something has the name (bounded-work H19)."""
    # Of each play names of its own: those of the one before were counted, and it waits for none.
    play, before = uuid.uuid4().hex[:8], await _uncounted(victim)
    codes = [f"never-{play}-{number}" for number in range(KEPT_NAMES + 5 * BY_RECORD)]
    name = f"{OF_MANY}-{play}"
    async with victim.attacked(growth_bytes=64 * MEBIBYTE):
        for start in range(0, len(codes), BY_RECORD):
            events = [
                {
                    "organization_id": ATTACKER,
                    "external_subscription_id": name,
                    "transaction_id": code,
                    "code": code,
                }
                for code in codes[start : start + BY_RECORD]
            ]
            await victim.produce(events, key=f"{ATTACKER}-{name}")
        await eventually(lambda: _uncounted(victim), before + len(codes))
        assert await _undefined(victim) == KEPT_NAMES
    last = codes[-1]
    await victim.charge(last, "many", "another")
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    await victim.attacker.post(*subscription(last, "many", name, subscription_at=yesterday))
    await eventually(lambda: victim.attacker.units("many", name), {last: 1})
    assert await _undefined(victim) == KEPT_NAMES


async def _undefined(victim: Victim) -> float:
    """Of the partition that has most."""
    metrics = await victim.metrics()
    return max(value for name, value in metrics.items() if name.startswith("meter_names_undefined"))


async def _uncounted(victim: Victim) -> float:
    metrics = await victim.metrics()
    return metrics.get("meter_events_not_counted_total,reason=unknown_code", 0.0)
