"""Every example of the README does what it says: on a real worker, and in the order printed."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from app.cli.main import cli
from app.local_servers.ports import free_ports
from app.main import Worker, running_worker
from app.settings import Settings, environment_names
from app.wire.decode import decode_record
from app.wire.events import Event
from tests.world.live.api import api_of
from tests.world.live.consumer import read_ledger
from tests.world.live.servers import MakeSettings
from tests.world.live.worker import SESSIONS
from tests.world.pages import parse
from tests.world.waiting import eventually, until

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
QUICKSTART = (ROOT / "docs" / "quickstart.md").read_text()
RECORDS = (ROOT / "docs" / "usage-records.md").read_text()
EXAMPLES = ROOT / "docs" / "examples"
LONGEST = 200
PAGE = "http://127.0.0.1:8080"


class Example(NamedTuple):
    """One fenced block."""

    language: str
    text: str
    line: int


def _examples(*languages: str, page: str = README) -> list[Example]:
    found = []
    for match in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        line = page[: match.start()].count("\n") + 1
        found.append(Example(match[1], match[2], line))
    return [example for example in found if example.language in languages]


def _named(examples: list[Example]) -> list[Any]:
    return [pytest.param(example.text, id=f"line-{example.line}") for example in examples]


CURLS = [
    example
    for page in (README, QUICKSTART)
    for example in _examples("bash", page=page)
    if "curl" in example.text
]
COMMANDS = [
    line for e in _examples("bash") for line in e.text.splitlines() if ".venv/bin/meter" in line
]
TABLE_COMMANDS = re.findall(r"^\| `meter ([a-z -]+)", README, re.MULTILINE)


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    assert {example.language for example in _examples("", "bash", "json", "python", "sh")} == {
        "bash",
        "json",
        "python",
    }


@pytest.mark.parametrize("text", _named(_examples("json")))
def test_json_is_an_event(text: str) -> None:
    ((_, event),) = decode_record(text.encode(), [])
    assert isinstance(event, Event), event
    assert event.code == "storage"


@pytest.mark.parametrize("line", COMMANDS)
def test_printed_commands_parse(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".meter").mkdir()
    for name in ("definitions.jsonl", "events.jsonl", "change.json"):
        (tmp_path / ".meter" / name).touch()
    words = [word for word in shlex.split(line) if not word.startswith("METER_")]
    assert words[0] == ".venv/bin/meter"
    parse(words[1:])


@pytest.mark.parametrize("text", TABLE_COMMANDS)
def test_commands_of_the_table_exist(text: str) -> None:
    command: click.Command = cli
    for name in text.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found


@pytest.mark.parametrize("text", _named(_examples("python")))
def test_python_is_python(text: str) -> None:
    ast.parse(text)


def test_it_is_short() -> None:
    assert README.count("\n") < LONGEST


def test_make_targets_settings_and_files_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([\w-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    known = {name for field in Settings.model_fields for name in environment_names(field)}
    assert set(re.findall(r"\b(?:METER|LAGO)_[A-Z_]+", README)) - {"LAGO_URL"} - {"METER_"} <= known
    for target in re.findall(r"\]\((docs/[^)#]+)", README):
        assert (ROOT / target).stat().st_size < 300_000


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
        await until(lambda: not worker.gateway.not_ready(), 30, every_s=0.1)
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
    script = CURL + "".join(example.text for example in CURLS)
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
    printed = [json.loads(example.text) for example in _examples("json", page=RECORDS)]
    for record in (one for one in printed if "cell_id" in one):
        assert list(record) == list(records[record["type"]])
