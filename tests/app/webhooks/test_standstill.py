"""Whether it is told that webhooks stand still: what waits, and what is not read."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from app.local_servers.kafka import LocalKafka
from app.settings import Settings
from app.webhooks import outboxes
from tests.app.webhooks.conftest import (
    Topics,
    alert,
    assigned,
    committed,
    figure,
    page,
    says,
)
from tests.world.clock import AheadClock
from tests.world.live.paused import pause, resume
from tests.world.live.webhooks import running_webhooks
from tests.world.waiting import PATIENCE_S


async def test_webhooks_that_stand_still_say_since_when(
    topics: Topics, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is ahead of brokers by 1,000 s, and then by 3,000 s."""
    monkeypatch.setattr(outboxes, "MOST_OF_ONE", 1)
    settings, clock = topics.settings, AheadClock(1_000_000)
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


async def test_before_a_broker_has_answered_nobody_knows_what_is_unread(
    webhook_settings: Settings,
) -> None:
    taken = list[asyncio.StreamWriter]()
    silent = await asyncio.start_server(lambda _, writer: taken.append(writer), "127.0.0.1", 0)
    address = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    settings = webhook_settings.model_copy(update={"kafka_bootstrap_servers": (address,)})
    try:
        async with running_webhooks(settings):
            await says(settings, "meter_webhooks_assigned 0.0")
            async with asyncio.timeout(PATIENCE_S):
                while not taken:
                    await asyncio.sleep(0.1)
            assert not await _is_known(settings)
    finally:
        for writer in taken:
            writer.close()
        silent.close()


@pytest.mark.slow
async def test_while_no_broker_answers_nobody_knows_what_is_unread(
    topics: Topics, local_kafka: LocalKafka
) -> None:
    settings = topics.settings
    async with running_webhooks(settings):
        await assigned(settings)
        await says(settings, "meter_webhooks_oldest_unread_seconds 0.0")
        pause(local_kafka.process)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while await _is_known(settings):
                    await asyncio.sleep(0.1)
        finally:
            resume(local_kafka.process)
        await says(settings, "meter_webhooks_oldest_unread_seconds 0.0")


async def _is_known(settings: Settings) -> bool:
    """Whether it is told how old what is unread is."""
    return "\nmeter_webhooks_oldest_unread_seconds " in await page(settings)
