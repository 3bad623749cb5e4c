"""Days pass on a test clock: daily records, analytics and `usage.changed`, on real servers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from lago_python_client.client import Client

from app.kafka.topics import USAGE_CHANGED, USAGE_DAILY
from app.main import running_worker
from app.settings import Settings
from tests.live.proofs import verified
from tests.world import bodies
from tests.world.clock import ManualClock, ms
from tests.world.live.api import KEY, Api, api_of
from tests.world.live.consumer import records_of
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

MARCH = {"from_date": "2024-03-01", "to_date": "2024-03-31"}


async def define(api: Api) -> None:
    await api.make_metric("seats", "sum_agg", field_name="v")
    await api.make_plan("plan", [bodies.charge("seats")])
    for name in ("s1", "s2", "s3"):
        await api.subscribe(name, "plan")


async def send(api: Api, number: int, name: str, at: str, v: int) -> None:
    await api.send(name, f"t{number}", "seats", ms(at) // 1000, v=v)


async def test_days_are_told_kept_and_added_up(
    live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = live_settings.model_copy(
        update={"test_clock": True, "daily_records": True, "usage_changed": True}
    )
    clock = ManualClock(ms("2024-03-04T09:00:00"))

    def at(text: str) -> None:
        clock.advance_to(ms(text))

    async def told() -> list[tuple[Any, ...]]:
        found = [json.loads(each.value) for each in await records_of(settings, USAGE_DAILY)]
        names = ("external_subscription_id", "day", "units", "delta_units")
        return sorted(tuple(record[name] for name in names) for record in found)

    async def changed() -> list[tuple[str, list[str]]]:
        found = [json.loads(each.value) for each in await records_of(settings, USAGE_CHANGED)]
        assert len({record["id"] for record in found}) == len(found)
        return sorted((record["external_subscription_id"], record["codes"]) for record in found)

    first = [("s1", "2024-03-04", "2.0", "2.0"), ("s2", "2024-03-04", "7.0", "7.0")]
    async with running_worker(settings, clock, **SESSIONS) as worker, api_of(worker.url) as api:
        await define(api)
        await send(api, 1, "s1", "2024-03-04T09:00:00", 2)
        await send(api, 2, "s1", "2024-03-06T08:00:00", 4)
        await send(api, 3, "s2", "2024-03-04T09:00:00", 7)
        at("2024-03-05T00:00:02")
        await eventually(told, first)
        await eventually(changed, [("s1", ["seats"]), ("s2", ["seats"])])

    # Whoever takes over knows what was told, and whom the days to come are about.
    at("2024-03-06T09:00:00")
    async with running_worker(settings, clock, **SESSIONS) as worker, api_of(worker.url) as api:
        await send(api, 4, "s1", "2024-03-04T10:00:00", 1)
        at("2024-03-07T00:00:02")
        await eventually(told, sorted([*first, ("s1", "2024-03-06", "7.0", "5.0")]))

        await eventually(changed, [("s1", ["seats"])] * 2 + [("s2", ["seats"])])

        client: Any = Client(api_key=KEY, api_url=worker.url)
        usages = client.usages
        daily = (await asyncio.to_thread(usages.find_all, MARCH))["usages"]
        assert [(row.start_of_period_dt, row.units) for row in daily] == [
            ("2024-03-04", 9.0),
            ("2024-03-06", 5.0),
        ]
        chosen = {**MARCH, "time_granularity": "monthly", "external_subscription_id": "s1"}
        (month,) = (await asyncio.to_thread(usages.find_all, chosen))["usages"]
        assert (month.start_of_period_dt, month.end_of_period_dt) == ("2024-03-01", "2024-03-31")
        assert (month.units, month.billable_metric_code) == (7.0, "seats")
        with monkeypatch.context() as patch:
            patch.setattr("app.queries.usage.READ_WITHIN_S", 0.0)
            status, body = await api.call("GET", "/analytics/usage")
        assert (status, body["code"]) == (503, "temporarily_unavailable")

        exit_code, said = await verified(worker)
        assert exit_code == 0, said
        counts = said["records_verified"]
        assert (counts[USAGE_DAILY], counts[USAGE_CHANGED]) == (3, 3)
