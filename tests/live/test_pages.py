"""The commands that pages show, run one after the other against a worker: each still works."""

from __future__ import annotations

import asyncio
import re
import shlex
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from app.main import Worker
from tests.world import bodies
from tests.world.live.api import Api
from tests.world.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

DOCS = Path(__file__).parents[2] / "docs"
FIRST = "sending"
"""Its file of events is what the other pages ask about."""
QUICKSTART = "quickstart"
"""`tests/test_readme.py` runs it."""
ELSEWHERE = {
    "worker": "it runs until it is stopped; this test has one",
    "import": "it needs empty topics; tests/live/test_import.py has them",
    "migrate": "it needs a Lago; tests/app/cli/lago has a stand-in",
    "compare": "so does it",
}
"""Commands that are not run here, and why."""
DAY_S = 86_400
WHOLE_LINES = re.MULTILINE | re.DOTALL


def commands(text: str) -> list[tuple[dict[str, str], list[str]]]:
    """Return the commands of a page in their order, each with the settings before it."""
    found = []
    for block in re.findall(r"^ *```bash\n(.*?)^ *```$", text, WHOLE_LINES):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            setting, meter, words = line.partition(".venv/bin/meter ")
            if meter:
                named = [pair.partition("=") for pair in setting.split()]
                found.append(({name: value for name, _, value in named}, shlex.split(words)))
    return found


@pytest.fixture
async def defined(api: Api) -> None:
    """What the pages speak of: a subscription and two metrics."""
    for code in ("storage", "demo_traffic"):
        metric = bodies.metric(code, "sum_agg", field_name="gb")
        await api.post("/billable_metrics", {"billable_metric": metric})
    await api.post("/plans", {"plan": bodies.plan("basic", [bodies.charge("storage")])})
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 40 * DAY_S))
    subscription = {
        "external_customer_id": "acme",
        "plan_code": "basic",
        "external_id": "acme-storage",
        "subscription_at": started,
    }
    await api.post("/subscriptions", {"subscription": subscription})


async def test_every_command_of_a_page_works(
    worker: Worker, api: Api, defined: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = worker.settings
    (tmp_path / ".meter").mkdir()
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
    ran = set[str]()
    for text in (first, *pages.values()):
        for name, change in re.findall(r"^cat > (\S+) <<'END'\n(.+?)^END$", text, WHOLE_LINES):
            (tmp_path / name).write_text(change)
        for given, words in commands(text):
            if words[0] in ELSEWHERE:
                continue
            answer = await run(words, given)
            assert answer.exit_code == 0, (words, answer.output)
            ran.add(words[0])
    assert ran >= {"send", "trace", "events", "preview", "doctor", "settings", "export", "fold"}
