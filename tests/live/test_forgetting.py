"""Months that are final: members leave Redis and the changelog, and a balance is carried on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from app.main import Worker, running_worker
from app.redis.members import MEMBERS_IN_A_CALL
from app.runtime.topics.spooled_newest import newest_members
from app.settings import Settings
from tests.live.proofs import verified
from tests.world import bodies
from tests.world.clock import ManualClock, ms
from tests.world.live.api import Api, Json, api_of
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event, send_in_turn
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

CUSTOMER, NAME = "c", "s"
SOON_FINAL = {"test_clock": True, "revise_every_s": 3600, "late_window_s": 86_400}
VISITORS = 2 * MEMBERS_IN_A_CALL + 500
"""They are not read in one call."""


async def test_members_go_when_their_month_is_final_and_come_back_for_a_correction(
    live_settings: Settings,
) -> None:
    settings = live_settings.model_copy(update=SOON_FINAL)
    clock = ManualClock(ms("2024-01-01T00:00:00"))
    redis: Any = Redis.from_url(settings.redis_url or "")

    async def kept() -> tuple[int, int]:
        """How many members Redis has, and the changelogs."""
        pattern = f"{{{settings.consumer_group}:*}}:set:*"
        in_redis = [await redis.hlen(key) async for key in redis.scan_iter(match=pattern)]
        changelogs = [await newest_members(settings, n) for n in range(settings.raw_partitions)]
        return sum(in_redis), sum(len(list(each.items())) for each in changelogs)

    async with _running(settings, clock) as (_, api, out):
        await _define(api, "visitors", "unique_count_agg", field_name="user")
        clock.advance_to(ms("2024-01-05T00:00:00"))
        topic = settings.topic(settings.raw_topic)
        for number in range(VISITORS):
            at = f"{ms('2024-01-04T12:00:00') // 1000 + number}"
            event = raw_event(NAME, f"t{number}", "visitors", at, user=f"u{number}")
            await out.send(topic, encoded(event), key=event_key(NAME), timestamp_ms=clock.now_ms())
        await out.flush()
        await eventually(lambda: _units(api), f"{VISITORS}.0")
        await eventually(kept, (VISITORS, VISITORS))
        clock.advance_to(ms("2024-02-01T00:00:02"))
        await eventually(lambda: _january(api), [f"{VISITORS}.0"])
        assert await kept() == (VISITORS, VISITORS)
        # The late window is over; the next cut is that of February.
        clock.advance_to(ms("2024-03-01T00:00:02"))
        await eventually(kept, (0, 0))
        assert await _january(api) == [f"{VISITORS}.0"]
        cancel = {"external_subscription_id": NAME, "operation": "cancel", "transaction_id": "t7"}
        await api.post("/events/corrections", {"correction": cancel})
        await eventually(kept, (VISITORS - 1, VISITORS - 1))
        clock.advance_to(ms("2024-03-01T01:00:02"))
        await eventually(lambda: _january(api), [f"{VISITORS - 1}.0"])
        clock.advance_to(ms("2024-04-01T00:00:02"))
        await eventually(kept, (0, 0))
        assert await _january(api) == [f"{VISITORS - 1}.0"]
    await redis.aclose()


async def test_a_balance_is_one_cell_and_the_running_months(live_settings: Settings) -> None:
    settings = live_settings.model_copy(update=SOON_FINAL)
    clock = ManualClock(ms("2024-01-01T00:00:00"))
    topic = settings.topic(settings.raw_topic)
    async with _running(settings, clock) as (worker, api, out):
        await _define(api, "balance", "sum_agg", field_name="gb", recurring=True)
        for month in range(1, 7):
            await _send_in(month, clock, out, topic, "balance", gb=month)
            await eventually(lambda: _units(api, "balance"), f"{sum(range(month + 1))}.0")
        # The one before all months, and those of May and June.
        await eventually(lambda: _cells(worker), 3)
    async with running_worker(settings, clock, **SESSIONS) as worker, api_of(worker.url) as api:
        await eventually(lambda: _units_if_owned(api), "21.0")
        exit_code, found = await verified(worker)
        assert exit_code == 0, found


async def test_a_definition_reads_no_event_of_months_that_are_forgotten(
    live_settings: Settings,
) -> None:
    settings = live_settings.model_copy(update=SOON_FINAL)
    clock = ManualClock(ms("2024-01-01T00:00:00"))
    topic = settings.topic(settings.raw_topic)
    async with _running(settings, clock) as (worker, api, out):
        await _define(api, "calls", "count_agg")
        for month in range(1, 7):
            await _send_in(month, clock, out, topic, "calls", g="x")
            await eventually(lambda: _units(api, "calls"), "1.0")
        # Those of May, which the next cut finds final, and of June.
        await eventually(lambda: _cells(worker), 2)
        work = worker.engine.tally.work.counts
        before = work["refold", "index_rows"]
        grouped: Json = {"billable_metric_code": "calls", "charge_model": "standard"}
        grouped["properties"] = {"amount": "1", "pricing_group_keys": ["g"]}
        await api.call("PUT", "/plans/p", {"plan": {"charges": [grouped]}})
        await eventually(lambda: _groups(api), [{"g": "x"}])
        assert work["refold", "index_rows"] - before == 2
        assert await _january(api) == ["1.0"]
        exit_code, found = await verified(worker)
        assert exit_code == 0, found


@asynccontextmanager
async def _running(
    settings: Settings, clock: ManualClock
) -> AsyncIterator[tuple[Worker, Api, AIOKafkaProducer]]:
    """A worker, a client of its API and a producer of events."""
    async with (
        running_worker(settings, clock, **SESSIONS) as worker,
        api_of(worker.url) as api,
        foreign_producer(settings) as out,
    ):
        yield worker, api, out


async def _send_in(
    month: int, clock: ManualClock, out: AIOKafkaProducer, topic: str, code: str, **properties: Any
) -> None:
    """Let the fifth of a month of 2024 come, and send one event of that time."""
    clock.advance_to(ms(f"2024-{month:02}-05T00:00:02"))
    now_ms = clock.now_ms()
    event = raw_event(NAME, f"t{month}", code, f"{now_ms // 1000}", **properties)
    await send_in_turn(out, topic, [event], timestamp_ms=now_ms)


async def _groups(api: Api) -> list[Any]:
    """By what the running month is grouped."""
    usage = await api.usage_if_owned(CUSTOMER, NAME)
    return (
        []
        if usage is None
        else [each["grouped_by"] for each in usage["charges_usage"][0]["grouped_usage"]]
    )


async def _define(api: Api, code: str, aggregation_type: str, **more: Any) -> None:
    await api.make_metric(code, aggregation_type, **more)
    await api.make_plan("p", [bodies.charge(code)])
    await api.post("/customers", {"customer": {"external_id": CUSTOMER}})
    await api.subscribe(NAME, "p", CUSTOMER, billing_time="calendar")


async def _cells(worker: Worker) -> int:
    """How many cells the changelogs have."""
    for owned in worker.engine.owned.values():
        await owned.flush()
    return sum(owned.state.checkpoint.cells for owned in worker.engine.owned.values())


async def _units_if_owned(api: Api) -> str | None:
    usage = await api.usage_if_owned(CUSTOMER, NAME)
    return None if usage is None else usage["charges_usage"][0]["units"]


async def _units(api: Api, code: str = "visitors") -> str:
    return f"{(await api.units(CUSTOMER, NAME))[code]:f}"


async def _january(api: Api) -> list[str]:
    """The published units of the first month."""
    path = f"/customers/{CUSTOMER}/past_usage?external_subscription_id={NAME}"
    status, answer = await api.call("GET", path)
    assert status == 200, answer
    periods: list[Json] = [
        each for each in answer["usage_periods"] if each["from_datetime"].startswith("2024-01")
    ]
    return [charge["units"] for each in periods for charge in each["charges_usage"]]
