"""Attacks by looking: many tabs of the page, and usage of very many groups."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import msgspec
import pytest

from app.bounds.limits import OVERVIEW_EVERY_S
from tests.attacks.victim import ATTACKER, KEYS, Victim

pytestmark = pytest.mark.servers

METRIC, SUBSCRIPTION, CUSTOMER = "looks", "looked-at", "looker"
GROUPS = 10_000
NAMES = 5_000
TABS = 10


@pytest.fixture(scope="module")
async def looked_at(victim: Victim) -> Victim:
    """The victim, prepared."""
    return await prepared(victim)


async def prepared(victim: Victim) -> Victim:
    """The victim with a subscription of many groups, and events of many subscriptions more."""
    await victim.charge(METRIC, CUSTOMER, SUBSCRIPTION, pricing_group_keys=["place"])
    await victim.append(METRIC, [(SUBSCRIPTION, {"place": f"place-{n}"}) for n in range(GROUPS)])
    await victim.append(METRIC, [(f"name-{n}", {}) for n in range(NAMES)], GROUPS)
    await victim.counted(CUSTOMER, SUBSCRIPTION, GROUPS)
    return victim


async def test_many_tabs_cost_what_one_does(looked_at: Victim) -> None:
    headers = {"Authorization": f"Bearer {KEYS['read', ATTACKER]}"}
    shown: set[str] = set()
    statuses: list[int] = []

    async def tab(session: aiohttp.ClientSession, until_s: float) -> None:
        tag = ""
        while time.perf_counter() < until_s:
            async with session.get(
                f"{looked_at.url}/api/page/overview", headers={"If-None-Match": tag}
            ) as answer:
                statuses.append(answer.status)
                tag = answer.headers.get("ETag", "")
                if answer.status == 200:
                    shown.add(msgspec.json.decode(await answer.read())["now"])
            await asyncio.sleep(0.1)

    async with aiohttp.ClientSession(headers=headers) as session, looked_at.attacked():
        began_s = time.perf_counter()
        await asyncio.gather(*(tab(session, began_s + 3) for _ in range(TABS)))
        took_s = time.perf_counter() - began_s
    assert set(statuses) == {200, 304}
    assert len(statuses) > TABS
    assert len(shown) <= 2 + took_s / OVERVIEW_EVERY_S
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{looked_at.url}/api/page/overview?search=look") as answer,
    ):
        overview = msgspec.json.decode(await answer.read())
    (line,) = (
        line for line in overview["usage"] if line["external_subscription_id"] == SUBSCRIPTION
    )
    # So much is not summed up for an overview.
    assert (line["units"], line["events_count"]) == (None, None)


async def test_usage_of_many_groups_is_streamed(looked_at: Victim) -> None:
    async with looked_at.attacked():
        charges = await asyncio.gather(
            *(looked_at.charged(CUSTOMER, SUBSCRIPTION) for _ in range(3))
        )
    for charge in charges:
        grouped = charge["grouped_usage"]
        assert len(grouped) == GROUPS
        assert charge["units"] == f"{GROUPS}.0"
