"""Health tells the truth, on real servers: what is lost is said within 5 s, and its return too."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from agents import probe
from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import Worker, running_worker
from app.settings import Settings
from tests.faults.outages import frozen
from tests.faults.proxy import proxy_to
from tests.world.live.api import Api, Json, text_of
from tests.world.live.paused import pause, resume
from tests.world.live.worker import SESSIONS
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

WITHIN_S = 20.0
"""5 s, and what a machine takes that carries two other processes of tests."""


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[LocalRedis]:
    async with LocalRedis(tmp_path / "own-redis", options=["--maxmemory", "64mb"]) as redis:
        yield redis


async def ready(worker: Worker, query: str = "") -> tuple[int, Json]:
    """The status and what is told."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{worker.url}/health/ready{query}") as answer,
    ):
        return answer.status, await answer.json()


async def codes(worker: Worker) -> set[str]:
    _, told = await ready(worker)
    return {reason["code"] for reason in told.get("reasons", ())}


async def becomes(ask: Callable[[], Awaitable[object]], wanted: object) -> float:
    """Seconds until it is so."""
    began_s = time.monotonic()
    await eventually(ask, wanted, WITHIN_S)
    return time.monotonic() - began_s


async def told(worker: Worker, *wanted: str) -> None:
    """Readiness and page come to tell these, and only these."""
    await becomes(lambda: codes(worker), set(wanted))
    await becomes(lambda: page(worker), set(wanted))


async def _tells_lag(worker: Worker) -> bool:
    return "meter_lag_records{" in await text_of(f"{worker.url}/metrics")


async def page(worker: Worker) -> set[str]:
    async with Api(worker.url) as api:
        return {reason["code"] for reason in (await api.overview())["health"]}


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the log says was lost and has returned, in order."""
    said = [record.__dict__ for record in log.records]
    events = [each for each in said if each.get("event") in ("loss", "return")]
    return [(each["event"], each["facts"]["reason"]) for each in events]


def once(*reasons: str) -> list[tuple[str, str]]:
    """One line at the loss of each and one at its return."""
    return [(event, reason) for reason in reasons for event in ("loss", "return")]


async def sample(worker: Worker, name: str) -> str | None:
    """The value of a metric without labels; None: it is not there."""
    for line in (await text_of(f"{worker.url}/metrics")).splitlines():
        if line.startswith(f"{name} "):
            return line.split()[-1]
    return None


async def test_redis_away_full_and_forgetful(
    live_settings: Settings, own_redis: LocalRedis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app")
    settings = live_settings.model_copy(update={"redis_url": own_redis.url})
    async with (
        running_worker(settings, **SESSIONS) as worker,
        Redis.from_url(own_redis.url) as ours,
    ):
        await becomes(lambda: codes(worker), set())
        pause(own_redis.process)
        await told(worker, "redis_unreachable")
        assert (await ready(worker))[0] == 200
        assert (await ready(worker, "?require=redis"))[0] == 503
        await becomes(lambda: sample(worker, "meter_redis_up"), "0.0")
        resume(own_redis.process)
        await becomes(lambda: codes(worker), set())
        await becomes(lambda: sample(worker, "meter_redis_up"), "1.0")
        await ours.config_set("maxmemory-policy", "allkeys-lru")
        await ours.config_set("maxmemory", 1)
        # Asked once a minute: what was seen at the start holds until then.
        worker.engine.health.note("redis_full", "asked again at once")
        await told(worker, "redis_full", "redis_evicts")
        await becomes(lambda: sample(worker, "meter_redis_memory_allowed_bytes"), "1.0")
        assert lines(caplog) == [
            *once("redis_unreachable"),
            ("loss", "redis_full"),
            ("loss", "redis_evicts"),
        ]
        assert "CONFIG SET maxmemory" in caplog.text


async def test_brokers_slow_and_away(
    live_settings: Settings,
    local_kafka: LocalKafka,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "app")
    async with running_worker(live_settings, **SESSIONS) as worker:
        await becomes(lambda: codes(worker), set())
        await becomes(lambda: _tells_lag(worker), True)
        with monkeypatch.context() as patience:
            patience.setattr(probe, "KAFKA_SLOW_FOR_S", 1.0)
            async with asyncio.timeout(PATIENCE_S):
                while "kafka_slow" not in await codes(worker):
                    # A busy worker may ask when it is over already.
                    await frozen([local_kafka], 2.5)
                    with suppress(AssertionError):
                        await eventually(lambda: codes(worker), {"kafka_slow"}, 3.0)
            await told(worker, "kafka_slow")
        await told(worker)
        pause(local_kafka.process)
        try:
            await told(worker, "kafka_unreachable")
            status, answer = await ready(worker)
            assert (status, answer["status"]) == (200, "degraded")
            assert (await ready(worker, "?require=kafka"))[0] == 503
            await becomes(lambda: sample(worker, "meter_kafka_up"), "0.0")
            assert "meter_lag_records{" not in await text_of(f"{worker.url}/metrics")
        finally:
            resume(local_kafka.process)
        await told(worker)
        await becomes(lambda: sample(worker, "meter_kafka_up"), "1.0")
        twice = once("kafka_slow", "kafka_unreachable")
        await becomes(lambda: asyncio.sleep(0, lines(caplog)), twice)


async def test_a_worker_without_answer(
    live_settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "app.runtime.health")
    monkeypatch.setattr(probe, "PEER_SILENT_S", 2.0)
    port, other_port = free_ports(2)
    elsewhere = f"http://127.0.0.1:{port}"
    silent = live_settings.model_copy(
        update={
            "advertised_url": elsewhere,
            "http_port": other_port,
            "state_dir": tmp_path / "other",
        }
    )
    async with running_worker(live_settings, **SESSIONS) as worker:
        await told(worker)
        async with running_worker(silent, **SESSIONS):
            await becomes(lambda: codes(worker), {"peer_unreachable"})
            (reason,) = (await ready(worker))[1]["reasons"]
            assert reason["message"].startswith(f"No answer from {elsewhere} (partitions ")
            assert "their figures are missing here" in reason["message"]
            await becomes(lambda: sample(worker, "meter_peers_unreachable"), "1.0")
            await becomes(lambda: page(worker), {"peer_unreachable"})
            async with proxy_to("127.0.0.1", port, other_port):
                await told(worker)
                await becomes(lambda: sample(worker, "meter_peers_unreachable"), "0.0")
    ours = [record for record in caplog.records if elsewhere in str(record.__dict__.get("facts"))]
    assert [record.__dict__["event"] for record in ours] == ["loss"]
    assert ("return", "peer_unreachable") in lines(caplog)


async def test_settings_that_differ_from_the_log(live_settings: Settings) -> None:
    async with running_worker(live_settings, **SESSIONS) as worker:
        await becomes(lambda: codes(worker), set())
        worker.engine.settings = live_settings.model_copy(update={"grace_s": 60})
        await told(worker, "settings_differ")
