"""What README and pages of docs print is there: commands parse, settings and routes exist."""

from __future__ import annotations

import ast
import json
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from app.api.descriptions import openapi_document
from app.api.endpoints.table import DESCRIBED
from app.cli.lago.deviations import DEVIATIONS
from app.cli.main import cli
from app.local_servers.java import KAFKA_VERSION
from app.settings import OF_CLIENTS, Settings, environment_names
from app.wire.decode import decode_record
from app.wire.events import Event
from tests.world.pages import parse

ROOT = Path(__file__).parents[2]
PAGES = {"README": (ROOT / "README.md").read_text()} | {
    name: (ROOT / "docs" / f"{name}.md").read_text()
    for name in (
        "quickstart",
        "concepts",
        "aggregations",
        "sending",
        "usage-records",
        "operating",
        "capacity",
        "exactness",
        "from-lago",
        "runbook",
        "THREATS",
        "WEBHOOKS",
    )
}
CONTINUED = re.compile(r"\\\n\s*")
FILES = (
    "events.csv",
    "lago.key",
    "change.json",
    "definitions.jsonl",
    "events.jsonl",
    "events-redacted.jsonl",
)
"""Names that commands of the pages open."""
ROUTES = {
    (method.upper(), re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)))
    for path, methods in openapi_document(DESCRIBED)["paths"].items()
    for method in methods
}


class Block(NamedTuple):
    """One fenced block of a page."""

    page: str
    language: str
    text: str


BLOCKS = [
    Block(name, found[1], found[2])
    for name, page in PAGES.items()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
]
COMMANDS = [
    (block.page, line)
    for block in BLOCKS
    if block.language == "bash"
    for line in CONTINUED.sub(" ", block.text).splitlines()
    if ".venv/bin/meter" in line
]
INLINE = [
    (name, found)
    for name, page in PAGES.items()
    for found in re.findall(r"`meter ([a-z][a-z -]*)", page)
]


def blocks(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    languages = {block.language for block in BLOCKS}
    assert languages <= {"", "bash", "sh", "json", "python", "sql", "toml", "http"}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_printed_command_parses(
    page: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path, tmp_path / ".meter", tmp_path / "copies"):
        folder.mkdir(exist_ok=True)
        for name in FILES:
            (folder / name).touch()
    # The shell puts a time there, which is checked.
    line = line.replace("$THEN", "2026-10-01T00:00:00Z")
    words = [word for word in shlex.split(line) if not word.startswith("METER_")]
    assert words[0] == ".venv/bin/meter"
    parse(words[1:])


@pytest.mark.parametrize(("page", "text"), sorted(set(INLINE)))
def test_a_command_that_is_named_exists(page: str, text: str) -> None:
    command: click.Command = cli
    for word in text.split():
        if not isinstance(command, click.Group):
            break
        found = command.get_command(click.Context(command), word)
        assert found is not None, text
        command = found


@pytest.mark.parametrize("page", PAGES)
def test_settings_and_targets_exist(page: str) -> None:
    known = {name for field in Settings.model_fields for name in environment_names(field)}
    named = set(re.findall(r"\b(?:METER|LAGO_KAFKA|LAGO_REDIS)_[A-Z0-9_]*[A-Z0-9]\b", PAGES[page]))
    assert named - OF_CLIENTS <= known
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([\w-]+)", PAGES[page], re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("block", [b for b in blocks("bash") if "curl " in b.text])
def test_a_request_goes_to_a_route_that_exists(block: Block) -> None:
    text = CONTINUED.sub(" ", block.text)
    asked = re.findall(r'curl ([^\n]*?)"\$LAGO_URL(/[^"?]*)', text)
    assert asked
    for options, path in asked:
        method = (re.search(r"--request (\w+)", options) or ["", "GET"])[1]
        assert any(method == known and route.fullmatch(path) for known, route in ROUTES), path


@pytest.mark.parametrize(
    "path",
    sorted(
        {
            p
            for t in PAGES.values()
            for p in re.findall(r"`(?:GET|POST|PUT|DELETE) (/api/v1/[^`?]*)", t)
        }
    ),
)
def test_a_route_that_is_named_exists(path: str) -> None:
    plain = re.sub(r"\{[^}]+\}", "x", path)
    assert any(route.fullmatch(plain) for _, route in ROUTES)


@pytest.mark.parametrize(
    "block", [b for b in blocks("json") if b.page in ("README", "sending", "usage-records")]
)
def test_json_is_an_event_or_a_record(block: Block) -> None:
    value = json.loads(block.text)
    if "schema_version" in value:
        assert value["type"] in ("usage.recorded", "period.completed", "usage.changed")
        return
    ((_, event),) = decode_record(block.text.encode(), [])
    assert isinstance(event, Event), event


@pytest.mark.parametrize("block", blocks("python"))
def test_python_is_python(block: Block) -> None:
    ast.parse(block.text)


def test_every_deviation_that_compare_names_is_explained() -> None:
    rows = re.findall(r"^\| (D\d+) \| (.*?) \| ?(.*?) \|$", PAGES["from-lago"], re.MULTILINE)
    listed = {name for name, _, why in rows if why}
    assert listed - {"D13"} == set(DEVIATIONS)
    assert [name for name, *_ in rows] == [f"D{number}" for number in range(1, len(rows) + 1)]


def test_versions_that_are_named_are_those_that_the_tests_run() -> None:
    page, readme = PAGES["from-lago"], PAGES["README"]
    constraints = (ROOT / "constraints.txt").read_text()
    python = re.search(r"^lago-python-client==(.+)$", constraints, re.MULTILINE)
    script = (ROOT / "tests" / "clients" / "test_javascript.py").read_text()
    javascript = re.search(r'^VERSION = "(.+)"$', script, re.MULTILINE)
    assert python is not None
    assert javascript is not None
    assert f"| lago-python-client | {python[1]}," in page
    assert f"| lago-javascript-client | {javascript[1]}," in page
    assert f"Kafka {KAFKA_VERSION}," in readme
