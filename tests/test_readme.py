"""Every example of the README does what it says: on a real worker, and in the order printed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.local_servers.ports import free_ports
from app.main import Worker, running_worker
from tests.world.live.api import api_of
from tests.world.live.consumer import read_ledger
from tests.world.live.servers import MakeSettings
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually, until

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
RECORDS = (ROOT / "docs" / "usage-records.md").read_text()
EXAMPLES = ROOT / "docs" / "examples"
LONGEST = 200
PAGE = "http://127.0.0.1:8080"


def _examples(language: str, page: str) -> list[str]:
    """Return the fenced blocks of a page in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


CURLS = [
    text for page in (README, QUICKSTART) for text in _examples("bash", page) if "curl" in text
]


def test_it_is_short() -> None:
    assert README.count("\n") < LONGEST


@pytest.fixture
async def worker(make_served: MakeSettings) -> AsyncIterator[Worker]:
    """A worker as the local profile has it, on topics of its own."""
    (port,) = free_ports(1)
    settings = make_served(
        http_port=port,
        raw_partitions=4,
        implicit_plan=True,
    )
    async with running_worker(settings, **SESSIONS) as worker:
        await until(lambda: not worker.gateway.not_ready(), every_s=0.1)
        yield worker


async def _run(*command: str, stdin: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    output, errors = await asyncio.wait_for(process.communicate(stdin.encode()), 120)
    assert process.returncode == 0, (output.decode(), errors.decode())
    return output.decode()


def _here(text: str, worker: Worker) -> str:
    """An example with the address of this worker in place of the printed one."""
    return text.replace(PAGE, worker.url)


CURL = 'curl() { command curl --silent --show-error --fail-with-body "$@" && echo; }\nset -eu\n'


@pytest.mark.servers
@pytest.mark.slow
async def test_the_path_of_a_newcomer(worker: Worker) -> None:
    script = CURL + "".join(CURLS)
    answers = [
        json.loads(line)
        for line in (await _run("bash", stdin=_here(script, worker))).splitlines()
        if line
    ]
    roots = [next(iter(answer)) for answer in answers]
    assert roots == ["billable_metric", "event", "customer_usage", "event", "plan", "subscription"]
    assert answers[2]["customer_usage"]["charges_usage"][0]["units"] == "12.5"
    assert '"units":"12.5"' in README

    environment = {
        "BROKERS": worker.settings.kafka_bootstrap_servers[0],
        "TOPIC": worker.settings.topic("events-raw"),
    }
    await _run(sys.executable, str(EXAMPLES / "producer.py"), stdin="", **environment)

    async with api_of(worker.url) as api:

        async def units() -> str:
            return str((await api.units("acme", "acme-storage")).get("storage"))

        await eventually(units, "2.25")

    async def published() -> set[str]:
        ledger = await read_ledger(worker.settings)
        return {record["type"] for record in ledger.newest.values()}

    await eventually(published, {"usage.recorded", "period.completed"})
    ledger = await read_ledger(worker.settings)
    records = {record["type"]: record for record in ledger.newest.values()}
    assert records["usage.recorded"]["units"] == "7.5"
    printed = [json.loads(text) for text in _examples("json", RECORDS)]
    for record in (one for one in printed if "cell_id" in one):
        assert list(record) == list(records[record["type"]])
