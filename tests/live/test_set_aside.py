"""What cannot be folded, on real servers: set aside once, while everything else counts."""

from __future__ import annotations

import logging
import signal
import time
from decimal import Decimal
from pathlib import Path

import pytest

from app.main import Worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from app.wire.arrivals import Arrival
from tests.live.weekly import define, subscribe
from tests.world.folding import look_before_folding
from tests.world.live.api import Api, api_of, text_of
from tests.world.live.producer import encoded, event_key, foreign_producer
from tests.world.live.worker import KILLER, WorkerProcess
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

SUBSCRIPTION = "careful"
POISON = "poison"


def event(transaction_id: str) -> bytes:
    return encoded(
        {
            "organization_id": LOCAL_ORGANIZATION_ID,
            "external_subscription_id": SUBSCRIPTION,
            "transaction_id": transaction_id,
            "code": "gb",
            "properties": {"gb": "1"},
        }
    )


async def says(url: str, text: str) -> bool:
    return text in await text_of(url)


async def test_an_event_that_cannot_be_folded(
    live_settings: Settings,
    worker: Worker,
    api: Api,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "app.runtime.followed")

    def look(arrival: Arrival) -> None:
        if arrival.event.transaction_id == POISON:
            raise ZeroDivisionError("no fold ends")

    await define(api)
    await subscribe(api, SUBSCRIPTION, int(time.time()) - 3600)
    planted = look_before_folding(look)
    restores = worker.engine.brokers.restores
    topic = live_settings.topic(live_settings.raw_topic)
    async with foreign_producer(live_settings) as producer:
        for name in ("a", "b", POISON, "c"):
            await producer.send_and_wait(topic, event(name), key=event_key(SUBSCRIPTION))
    await eventually(lambda: api.units("c", SUBSCRIPTION), {"gb": Decimal(3)})
    assert worker.engine.brokers.restores == restores + 1
    assert worker.engine.failure is None
    status, answer = await api.call("GET", "/set_aside")
    assert status == 200
    (one,) = answer["set_aside"]
    assert (one["code"], one["index"], one["from"]) == ("set_aside", 0, one["to"])
    assert 'meter_set_aside{code="set_aside"} 1.0' in await text_of(f"{worker.url}/metrics")
    reason = '"code":"set_aside","since":"'
    await eventually(lambda: says(f"{worker.url}/health/ready", reason), True)
    assert [each["code"] for each in (await api.overview())["health"]] == ["set_aside"]

    async def told() -> list[str]:
        return [letter["code"] for letter in (await api.overview())["dead_letters"]]

    await eventually(told, ["set_aside"])
    # Mended: it is appended anew, and counts.
    planted.close()
    status, answer = await api.call("DELETE", f"/set_aside/{one['lago_id']}")
    assert (status, answer["set_aside"]["appended"]) == (200, 1)
    await eventually(lambda: api.units("c", SUBSCRIPTION), {"gb": Decimal(4)})
    assert (await api.call("GET", "/set_aside"))[1] == {"set_aside": []}
    said = [record.__dict__ for record in caplog.records]
    lines = [
        (each["event"], each["facts"]["partition"], each["facts"]["offset"])
        for each in said
        if each.get("event") in ("set_aside", "lifted")
    ]
    place = (one["partition"], one["from"])
    assert lines == [("set_aside", *place), ("lifted", *place)]


async def test_an_event_that_ends_the_process(live_settings: Settings, tmp_path: Path) -> None:
    """Whoever starts next finds out in a process of its own which one it was, and goes on."""
    worker = WorkerProcess(live_settings, tmp_path, environment={KILLER: POISON})
    topic = live_settings.topic(live_settings.raw_topic)
    try:
        await worker.start()
        async with api_of(worker.url) as api:
            await define(api)
            await subscribe(api, SUBSCRIPTION, int(time.time()) - 3600)
            async with foreign_producer(live_settings) as producer:
                for name in ("a", POISON, "b"):
                    await producer.send_and_wait(topic, event(name), key=event_key(SUBSCRIPTION))
            assert await worker.wait() == -signal.SIGKILL
            await worker.start()
            api.url = worker.url
            await eventually(lambda: api.units("c", SUBSCRIPTION), {"gb": Decimal(2)})
            (one,) = (await api.call("GET", "/set_aside"))[1]["set_aside"]
        assert "it ends the process (SIGKILL)" in one["message"]
        assert worker.is_running()
    finally:
        await worker.kill()
