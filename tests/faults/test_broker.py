"""The broker killed, silent or without room under load (faults F5, F6): no worker ends."""

from __future__ import annotations

import asyncio
import resource
import time
from pathlib import Path

import pytest

from app.bounds.limits import TRANSACTION_TIMEOUT_MS
from app.errors import StackError
from app.kafka.asked import READ_WITHIN_S
from app.local_servers.kafka import LocalKafka
from app.settings import Settings
from tests.world.live.load import EVENTS_PER_S, load, prove, world_on
from tests.world.live.paused import pause, resume
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import CUSTOMER, METRICS, SCALE, World
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

KILLS = SCALE
AWAY_S = 3.0 * SCALE
SILENT_S = min(60.0, 7.0 * SCALE)


async def test_broker_killed_and_started_again(
    live_settings: Settings, local_kafka: LocalKafka, tmp_path: Path
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        pid = worker.pid
        async with load(world):
            for _ in range(KILLS):
                await asyncio.sleep(2)
                local_kafka.process.kill()
                await asyncio.sleep(AWAY_S)
                await local_kafka.start()
                await asyncio.sleep(2)
        assert worker.is_running(), worker.tail()
        assert worker.pid == pid
        await prove(world, tmp_path)


async def test_broker_silent_for_a_while(
    live_settings: Settings, local_kafka: LocalKafka, tmp_path: Path
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        pid = worker.pid
        async with load(world) as traffic:
            await asyncio.sleep(1)
            pause(local_kafka.process)
            try:
                await asyncio.sleep(0.5)
                sent = traffic.sent
                asking = asyncio.create_task(_asked(world))
                await asyncio.sleep(SILENT_S)
                told, longest_s = await asking
                # Back-pressure: what is not acknowledged holds the producers up.
                assert traffic.sent - sent < EVENTS_PER_S
            finally:
                resume(local_kafka.process)
            # What is at hand is told; of the rest, soon, that it cannot be read now.
            assert set(told.values()) <= {200, 404, 503}, (told, worker.tail())
            assert (told["current_usage"], told["events"]) == (200, 503)
            assert longest_s < READ_WITHIN_S + 4, told
            assert "Defect" not in worker.said()
            # The silence outlasted the worker's session: it joins its group again first.
            await eventually(lambda: _not_told(world), {})
        assert worker.is_running(), worker.tail()
        assert worker.pid == pid
        await prove(world, tmp_path)


QUERIES = (
    ("current_usage", "events", "explain", "dead_letters", "definitions"),
    ("usage_records", "trace"),
)
"""What is asked at once, and then: two scans of an organization run at a time."""


async def _asked(world: World) -> tuple[dict[str, int], float]:
    """Ask for all that may be read of logs; return the status of each, and the longest wait."""
    of_customer = f"/customers/{CUSTOMER}"
    named = f"external_subscription_id={world.names[0]}"
    paths = {
        "current_usage": f"{of_customer}/current_usage?{named}",
        "events": f"/events?{named}",
        "explain": f"{of_customer}/usage/explain?{named}&billable_metric_code={METRICS[0]['code']}",
        "dead_letters": "/dead_letters",
        "series": f"{of_customer}/usage/series?{named}&billable_metric_code={METRICS[0]['code']}",
        "usage_records": f"/usage_records?{named}&revisions=true",
        "definitions": "/definitions/changes",
        "trace": f"/events/never-sent/trace?{named}",
    }
    told, longest_s = dict[str, int](), 0.0
    for names in QUERIES:
        began_s = time.monotonic()
        answers = await asyncio.gather(*(world.api.call("GET", paths[name]) for name in names))
        told |= {name: status for name, (status, _) in zip(names, answers, strict=True)}
        longest_s = max(longest_s, time.monotonic() - began_s)
    return told, longest_s


async def _not_told(world: World) -> dict[str, int]:
    """Ask for all that may be read of logs; return the statuses that are no answers."""
    told, _ = await _asked(world)
    return {name: status for name, status in told.items() if status not in {200, 404}}


async def test_broker_out_of_disk(
    live_settings: Settings, local_kafka: LocalKafka, tmp_path: Path
) -> None:
    """A write fails half done, as on a full disk, and the broker ends by it."""
    raw = live_settings.topic(live_settings.raw_topic)
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        pid = worker.pid
        async with load(world) as traffic:
            await asyncio.sleep(2)
            segments = [*local_kafka.directory.glob(f"data/{raw}-*/*.log")]
            room = max(segment.stat().st_size for segment in segments) + 2_000
            broker = local_kafka.process.pid
            assert broker is not None
            resource.prlimit(broker, resource.RLIMIT_FSIZE, (room, room))
            with pytest.raises(StackError, match=r"ended by itself \(code 1\)"):
                await asyncio.wait_for(local_kafka.process.wait_ended(), PATIENCE_S)
            sent = traffic.sent
            await asyncio.sleep(AWAY_S)
            assert traffic.sent - sent < EVENTS_PER_S
            await local_kafka.start()
            await asyncio.sleep(2)
        assert traffic.acknowledged > 0
        assert worker.is_running(), worker.tail()
        assert worker.pid == pid
        await prove(world, tmp_path)


async def test_a_broker_of_short_transactions_is_refused_at_the_start(
    live_settings: Settings, tmp_path: Path
) -> None:
    properties = {"transaction.max.timeout.ms": str(TRANSACTION_TIMEOUT_MS - 1)}
    async with LocalKafka(tmp_path / "kafka", properties=properties) as kafka:
        there = {"kafka_bootstrap_servers": (kafka.address,)}
        worker = WorkerProcess(live_settings.model_copy(update=there), tmp_path)
        worker.launch()
        assert await worker.wait() != 0
    worker.look_for_url()
    assert not worker.url, "it took partitions over"
    assert "Set transaction.max.timeout.ms to at least that" in worker.said()
