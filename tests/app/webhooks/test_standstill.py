"""Whether it is told that webhooks stand still: what waits, and what is not read."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from app.webhooks import outboxes
from tests.app.webhooks.conftest import Ahead, Topics, alert, assigned, committed, figure, says
from tests.world.live.webhooks import running_webhooks
from tests.world.waiting import PATIENCE_S


async def test_webhooks_that_stand_still_say_since_when(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is ahead of brokers by 1,000 s, and then by 3,000 s."""
    monkeypatch.setattr(outboxes, "MOST_OF_ONE", 1)
    settings, clock = topics.settings, Ahead(1_000_000)
    waits, unread = (f"meter_webhooks_oldest_{what}_seconds" for what in ("waiting", "unread"))
    answering = web.AppRunner(web.Application())
    over = asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    answering.app.router.add_post("/", answer)
    await answering.setup()
    await web.TCPSite(answering, "127.0.0.1", 0).start()
    try:
        async with running_webhooks(settings, clock):
            await assigned(settings)
            await says(settings, f"{unread} 0.0")
            await topics.endpoint(f"http://127.0.0.1:{answering.addresses[0][1]}/")
            for number in range(2):
                await topics.append("usage-alerts", alert("s", number))
            await says(settings, "meter_webhooks_waiting 1.0")
            async with asyncio.timeout(PATIENCE_S):
                while not 1_000 <= await figure(settings, unread) < 1_900:
                    await asyncio.sleep(0.1)
            assert await figure(settings, waits) < 900
            clock.ahead_ms += 2_000_000
            assert 2_000 <= await figure(settings, waits) < 2_900
            assert 3_000 <= await figure(settings, unread) < 3_900
            over.set()
            await committed(settings, "usage-alerts", 2)
            await says(settings, f"{waits} 0.0")
            await says(settings, f"{unread} 0.0")
    finally:
        over.set()
        await answering.cleanup()
