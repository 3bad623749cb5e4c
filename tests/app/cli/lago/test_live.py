"""The way from Lago on a running worker: migrate, send the same events to both, compare."""

from __future__ import annotations

import asyncio
from pathlib import Path

from click.testing import CliRunner, Result

from app.cli.main import cli
from app.main import Worker
from tests.app.cli.lago import stand_in
from tests.app.cli.lago.stand_in import StandIn
from tests.world.live.api import KEY, api_of
from tests.world.waiting import eventually


async def test_a_shadow_run_comes_to_equal(lago: StandIn, worker: Worker, tmp_path: Path) -> None:
    key_file = tmp_path / "lago.key"
    key_file.write_text(stand_in.KEY)
    environment = {"METER_URL": worker.url, "METER_API_KEY": KEY}
    environment["METER_LAGO_KEY_FILE"] = str(key_file)

    async def meter(*words: str) -> Result:
        runner = CliRunner(env=environment)
        return await asyncio.to_thread(runner.invoke, cli, [*words])

    lago.lists["billable_metrics"] = [stand_in.metric("storage")]
    lago.lists["plans"] = [stand_in.plan("pro", [stand_in.charge("of_storage", "storage")])]
    lago.lists["customers"] = [stand_in.customer("acme")]
    lago.lists["subscriptions"] = [stand_in.subscription("s", "acme", "pro")]
    ran = await meter("migrate", "--from-lago", lago.url)
    assert ran.exit_code == 0, ran.output
    async with api_of(worker.url) as api:
        event = {"transaction_id": "t", "external_subscription_id": "s", "code": "storage"}
        await api.post("/events", {"event": event | {"properties": {"v": "2.5"}}})
        shown = await api.current_usage("acme", "s")
    # Lago shows it at once, we in a moment.
    for figures in shown["charges_usage"]:
        figures |= {"units": "2.5", "total_aggregated_units": "2.5", "events_count": 1}
    lago.current["s"] = [shown]

    async def compared() -> int:
        return (await meter("compare", "--lago", lago.url, "--wait", "0.1")).exit_code

    await eventually(compared, 0)
