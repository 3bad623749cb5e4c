"""Definitions changed through the API under load (faults F15)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError

from app.settings import Settings
from tests.world.live.api import Json
from tests.world.live.load import load, prove_by_fold, restarted, world_on
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import METRICS, PLAN, World
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

BETWEEN_S = 0.5


async def test_everything_changes_mid_stream(live_settings: Settings, tmp_path: Path) -> None:
    """Charges, filters, groups, metrics and subscriptions come, change and go; a worker dies."""
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        change = Changes(world, worker)
        async with restarted(worker), load(world):
            await asyncio.sleep(1)
            charges = await change.charges()
            await change.plan(c for code, c in charges.items() if code != "peak")
            charges["calls"]["properties"] = {"amount": "1", "pricing_group_keys": ["nothing"]}
            charges["traffic"]["filters"] = [
                {"values": {"region": ["us"]}, "properties": {"amount": "3"}},
            ]
            await change.plan(charges.values())
            await change.call("DELETE", "/subscriptions/sub-3")
            await worker.kill()
            await change.call("DELETE", "/billable_metrics/level")
            await change.call("POST", "/subscriptions", subscription=_subscription("sub-3"))
            level = {**_metric("level"), "aggregation_type": "max_agg"}
            added = await change.call("POST", "/billable_metrics", billable_metric=level)
            charges = await change.charges()
            assert "level" not in charges, "it went with its metric"
            charges["level"] = {
                "billable_metric_id": added["billable_metric"]["lago_id"],
                "charge_model": "standard",
                "properties": {"amount": "1"},
            }
            await change.plan(charges.values())
            wider = {"filters": [{"key": "region", "values": ["eu", "us", "asia"]}]}
            await change.call("PUT", "/billable_metrics/traffic", billable_metric=wider)
            await change.call("DELETE", "/billable_metrics/users")
            await change.call("POST", "/billable_metrics", billable_metric=_metric("users"))
            await asyncio.sleep(1)
        world.api.url = worker.url

        async def used() -> set[str]:
            # Of all together: one alone may have had no event of a code.
            of_all = [await world.api.units("customer", name) for name in world.names]
            return {code for units in of_all for code, of_code in units.items() if of_code}

        # What changed last is refolded by then.
        await eventually(used, {"calls", "traffic", "peak", "level"})
        await prove_by_fold(world, tmp_path)


class Changes:
    """Requests, one after the other; whatever is refused while no worker is there is sent again."""

    def __init__(self, world: World, worker: WorkerProcess):
        self._world, self._worker = world, worker

    async def call(self, method: str, path: str, **body: Any) -> Json:
        """One change, taken."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                self._worker.look_for_url()
                self._world.api.url = self._worker.url
                with suppress(ClientError):
                    status, answer = await self._world.api.call(method, path, body or None)
                    if status != 503:
                        break
                await asyncio.sleep(0.2)
        assert status == 200, (path, status, answer)
        await asyncio.sleep(BETWEEN_S)
        return answer

    async def charges(self) -> dict[str, Json]:
        """Of the plan as it is now, by metric."""
        plan = (await self.call("GET", f"/plans/{PLAN}"))["plan"]
        return {
            charge["billable_metric_code"]: {
                "id": charge["lago_id"],
                "billable_metric_id": charge["lago_billable_metric_id"],
                "charge_model": charge["charge_model"],
                "properties": charge["properties"],
                "filters": charge["filters"],
            }
            for charge in plan["charges"]
        }

    async def plan(self, charges: Any) -> None:
        """These charges and no others."""
        await self.call("PUT", f"/plans/{PLAN}", plan={"charges": list(charges)})


def _metric(code: str) -> Json:
    (found,) = [metric for metric in METRICS if metric["code"] == code]
    return found


def _subscription(name: str) -> Json:
    return {"external_customer_id": "customer", "plan_code": PLAN, "external_id": name}
