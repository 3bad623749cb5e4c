"""All topics are lost and come back from an export: the same logs, and the same records."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from app.cli import progress
from app.cli.main import cli
from app.kafka.topics import admin_client, topic_specs
from app.main import running_worker
from app.offline.export import What, export
from app.settings import Settings
from tests.live.test_finance import define, send, subscribe
from tests.world.live.api import api_of
from tests.world.live.committed import all_of
from tests.world.live.consumer import records_of
from tests.world.live.worker import SESSIONS
from tests.world.pages import DOCS, commands
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

LOGS: tuple[What, ...] = ("definitions", "events")


async def lines(settings: Settings, what: What) -> list[bytes]:
    return [line for lines in await all_of(export(settings, what)) for line in lines]


async def published(settings: Settings) -> set[bytes]:
    return {record.value for record in await records_of(settings, "usage-records")}


def ended_periods() -> int:
    """Months that are over, at least, of a subscription since 61 days ago."""
    today = datetime.now(UTC)
    began = today - timedelta(days=61)
    months = 12 * (today.year - began.year) + today.month - began.month
    return months - (today.day < began.day)


async def lose_everything(settings: Settings) -> None:
    names = [spec.name for spec in topic_specs(settings)]
    async with admin_client(settings) as admin:
        await admin.delete_topics(names)
        while set(names) & set(await admin.list_topics()):
            await asyncio.sleep(0.1)


async def meter(settings: Settings, *words: str, **given: str) -> Result:
    environment = {
        "METER_PROFILE": "test",
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_TOPIC_PREFIX": settings.topic_prefix,
        "METER_RAW_PARTITIONS": str(settings.raw_partitions),
        **given,
    }
    return await asyncio.to_thread(CliRunner(env=environment).invoke, cli, words)


async def imported(settings: Settings, directory: Path, word: str = "") -> Result:
    files = (str(directory / what) for what in LOGS)
    return await meter(settings, "import", *files, *filter(None, [word]))


async def as_written(
    settings: Settings, directory: Path, given: dict[str, str], words: list[str]
) -> Result:
    """Import by the command of a page, with the files elsewhere."""
    files = {f"copies/{what}.jsonl": str(directory / what) for what in LOGS}
    assert files.keys() <= {*words}
    asked = [files.get(word, word) for word in words]
    # The page has three brokers.
    return await meter(settings, *asked, METER_REPLICATION_FACTOR="1", **given)


async def exported(settings: Settings, directory: Path, after: Path | None = None) -> None:
    """Export both logs to files, events first."""
    directory.mkdir()
    for what in reversed(LOGS):
        since = () if after is None else ("--after", str(after / what))
        done = await meter(settings, "export", what, "-o", str(directory / what), *since)
        assert done.exit_code == 0, done.output


class Terminal(StringIO):
    """Somebody looks on."""

    def isatty(self) -> bool:
        return True


async def test_a_total_loss_is_restored(
    live_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yesterday, noon, evening = (tmp_path / name for name in ("yesterday", "noon", "evening"))
    async with running_worker(live_settings, **SESSIONS) as worker, api_of(worker.url) as api:
        await define(api)
        for number, text in enumerate(("plain", 'with "quotes" and \\', "\u00fc\n")):
            await send(api, "s", f"t{number}", 50, region="us", gb="1.50", zone=text)
        await subscribe(api)

        async def kinds() -> Counter[tuple[str, int]]:
            found = map(json.loads, await published(live_settings))
            kept = ((one["type"], one["revision"]) for one in found)
            return Counter(kind for kind in kept if kind != ("period.completed", 0))

        async def completed() -> bool:
            found = map(json.loads, await published(live_settings))
            names = [
                one["external_subscription_id"]
                for one in found
                if one["type"] == "period.completed"
            ]
            return all(names.count(name) >= ended_periods() for name in ("s", "other"))

        # They may be of two partitions, and one of these may close later.
        await eventually(completed, True)
        in_time = Counter({("usage.recorded", 0): 3})
        await eventually(kinds, in_time)
        await exported(live_settings, yesterday)
        await send(api, "s", "late", 50, region="us", gb="1", zone="plain")
        revised = Counter({("usage.revised", 1): 1, ("period.completed", 1): 1})
        await eventually(kinds, in_time + revised)
        await exported(live_settings, noon, yesterday)
        # It is counted nowhere, so nothing of it is published.
        await send(api, "nobody", "later", 50, region="us", gb="1", zone="plain")
    await exported(live_settings, evening, noon)
    before = {what: await lines(live_settings, what) for what in LOGS}
    records = await published(live_settings)
    for word in ("--into-empty", "--go-on"):
        refused = await imported(live_settings, yesterday, word)
        assert (refused.exit_code, "not empty" in refused.stderr) == (1, True)
    assert (await imported(live_settings, yesterday)).exit_code == 2

    await lose_everything(live_settings)
    terminal = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=terminal))
    monkeypatch.setattr(progress, "_SHOWN_FROM", 1)
    for command in commands((DOCS / "operating.md").read_text()):
        if command[1][0] == "import":
            done = await as_written(live_settings, yesterday, *command)
            assert done.exit_code == 0, done.output
    assert re.search("Writing .*100%", terminal.getvalue())
    skipped = await imported(live_settings, evening, "--go-on")
    assert (skipped.exit_code, "the one between is missing" in skipped.stderr) == (1, True)
    for part in (noon, evening, evening):
        done = await imported(live_settings, part, "--go-on")
        assert done.exit_code == 0, done.output
    assert await lines(live_settings, "definitions") == before["definitions"]
    assert await lines(live_settings, "events") == before["events"]
    again = live_settings.model_copy(update={"state_dir": tmp_path / "new"})
    async with running_worker(again, **SESSIONS):
        await eventually(lambda: published(again), records)
