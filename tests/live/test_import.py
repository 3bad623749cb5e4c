"""All topics are lost and come back from an export: the same logs, and the same records."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from app.kafka.topics import admin_client, topic_specs
from app.main import running_worker
from app.offline.export import What, export
from app.settings import Settings
from tests.live.test_finance import define, send, subscribe
from tests.world.live.api import api_of
from tests.world.live.consumer import records_of
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers


async def lines(settings: Settings, what: What) -> list[bytes]:
    return [line async for line in export(settings, what)]


async def published(settings: Settings) -> set[bytes]:
    return {record.value for record in await records_of(settings, "usage-records")}


async def lose_everything(settings: Settings) -> None:
    names = [spec.name for spec in topic_specs(settings)]
    async with admin_client(settings) as admin:
        await admin.delete_topics(names)
        while set(names) & set(await admin.list_topics()):
            await asyncio.sleep(0.1)


async def imported(settings: Settings, directory: Path, *words: str) -> Result:
    environment = {
        "METER_PROFILE": "test",
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_TOPIC_PREFIX": settings.topic_prefix,
        "METER_RAW_PARTITIONS": str(settings.raw_partitions),
    }
    files = [str(directory / "definitions"), str(directory / "events")]
    runner = CliRunner(env=environment)
    return await asyncio.to_thread(runner.invoke, cli, ["import", *files, *words])


async def test_a_total_loss_is_restored(live_settings: Settings, tmp_path: Path) -> None:
    async with running_worker(live_settings, **SESSIONS) as worker, api_of(worker.url) as api:
        await define(api)
        for number, text in enumerate(("plain", 'with "quotes" and \\', "\u00fc\n")):
            await send(api, "s", f"t{number}", 50, region="us", gb="1.50", zone=text)
        await subscribe(api)

        async def kinds() -> Counter[tuple[str, int]]:
            found = map(json.loads, await published(live_settings))
            kept = ((one["type"], one["revision"]) for one in found)
            return Counter(kind for kind in kept if kind != ("period.completed", 0))

        in_time = Counter({("usage.recorded", 0): 3})
        await eventually(kinds, in_time)
        await send(api, "s", "late", 50, region="us", gb="1", zone="plain")
        revised = Counter({("usage.revised", 1): 1, ("period.completed", 1): 1})
        await eventually(kinds, in_time + revised)
    logs: tuple[What, ...] = ("definitions", "events")
    before = {what: await lines(live_settings, what) for what in logs}
    records = await published(live_settings)
    for what, found in before.items():
        (tmp_path / what).write_bytes(b"".join(line + b"\n" for line in found))
    refused = await imported(live_settings, tmp_path, "--into-empty")
    assert (refused.exit_code, "not empty" in refused.stderr) == (1, True)
    assert (await imported(live_settings, tmp_path)).exit_code == 2

    await lose_everything(live_settings)
    done = await imported(live_settings, tmp_path, "--into-empty")
    assert done.exit_code == 0, done.output
    assert await lines(live_settings, "definitions") == before["definitions"]
    assert await lines(live_settings, "events") == before["events"]
    again = live_settings.model_copy(update={"state_dir": tmp_path / "new"})
    async with running_worker(again, **SESSIONS):
        await eventually(lambda: published(again), records)
