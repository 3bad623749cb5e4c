"""The commands that pages show, run one after the other against a worker: each still works."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from pathlib import Path

import pytest
from aiohttp import ClientError
from click.testing import CliRunner, Result

from app.cli.main import cli
from app.local_servers.ports import free_ports
from app.main import Worker
from app.settings import HOST
from tests.world import bodies
from tests.world.live.api import Api, text_of
from tests.world.pages import DOCS, WHOLE_LINES, commands
from tests.world.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
FIRST = "sending"
"""Its file of events is what the other pages ask about."""
QUICKSTART = "quickstart"
"""`tests/test_readme.py` runs it."""
LAGO = "tests/app/cli/lago/test_pages.py"
ELSEWHERE = {"import": "tests/live/test_import.py", "migrate": LAGO, "compare": LAGO}
"""Commands that need empty topics or a Lago, and where they are run as pages have them."""
DAY_S = 86_400


@pytest.fixture
async def defined(api: Api) -> None:
    """What the pages speak of: a subscription and two metrics."""
    for code in ("storage", "demo_traffic"):
        await api.make_metric(code, "sum_agg", field_name="gb")
    await api.make_plan("basic", [bodies.charge("storage")])
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 40 * DAY_S))
    await api.subscribe("acme-storage", "basic", "acme", subscription_at=started)


async def starts_and_ends(words: list[str], environment: dict[str, str]) -> None:
    """A worker serves until it is told to stop, and ends well then."""
    (port,) = free_ports(1)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from app.cli.main import cli; cli()", *words),
        env={**os.environ, **environment, "METER_HTTP_PORT": str(port)},
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )

    async def serves() -> bool:
        assert process.returncode is None
        try:
            return "meter_build_info" in await text_of(f"http://{HOST}:{port}/metrics")
        except ClientError:
            return False

    try:
        await eventually(serves, True)
        process.terminate()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_every_command_of_a_page_works(
    worker: Worker, api: Api, defined: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = worker.settings
    for folder in (".meter", "copies"):
        (tmp_path / folder).mkdir()
    (tmp_path / "events.csv").write_text(
        "transaction_id,external_subscription_id,metric,properties.gb\n"
        "storage-0001,acme-storage,storage,1\nstorage-0002,acme-storage,storage,2\n"
    )
    pages = {path.stem: path.read_text() for path in sorted(DOCS.glob("*.md"))}
    first = pages.pop(FIRST)
    del pages[QUICKSTART]
    surroundings = {
        "METER_PROFILE": settings.profile,
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(settings.kafka_bootstrap_servers),
        "METER_REDIS_URL": settings.redis_url or "",
        "METER_TOPIC_PREFIX": settings.topic_prefix,
        "METER_RAW_PARTITIONS": str(settings.raw_partitions),
        "METER_STATE_DIR": str(settings.state_dir),
        "METER_REVISE_EVERY_S": str(settings.revise_every_s),
        "METER_URL": worker.url,
    }

    async def run(words: list[str], given: dict[str, str]) -> Result:
        runner = CliRunner(env=surroundings | given)
        return await asyncio.to_thread(runner.invoke, cli, words)

    async def looked() -> int:
        return (await run(["doctor"], {})).exit_code

    # A worker that has just started does not tell every figure yet.
    await eventually(looked, 0)
    ran, workers = set[str](), list[tuple[list[str], dict[str, str]]]()
    for text in (first, *pages.values()):
        for name, change in re.findall(r"^cat > (\S+) <<'END'\n(.+?)^END$", text, WHOLE_LINES):
            (tmp_path / name).write_text(change)
        for given, words in commands(text):
            ran.add(words[0])
            if words[0] in ELSEWHERE:
                continue
            if words[0] == "worker":
                workers.append((words, given))
                continue
            answer = await run(words, given)
            assert answer.exit_code == 0, (words, answer.output)
    # They change how partitions are shared, so they come last.
    for words, given in workers:
        await starts_and_ends(words, surroundings | given | {"METER_STATE_DIR": str(tmp_path)})
    assert ran >= ELSEWHERE.keys()
    assert workers
    assert ran >= {"send", "trace", "events", "preview", "doctor", "settings", "export", "fold"}
