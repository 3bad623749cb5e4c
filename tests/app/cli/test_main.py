"""The command itself: everything it lists is there, and listing loads nothing of a worker."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from app.cli.main import cli

NAMES = cli.list_commands(click.Context(cli))

_LOADED = """
import sys
from app.cli.main import cli
try:
    cli([%r], prog_name="meter")
except SystemExit:
    pass
print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_loads_no_command(option: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED % option], capture_output=True, text=True, check=True
    )
    assert "meter" in ended.stdout.lower()
    heavy = {
        "aiohttp",
        "aiokafka",
        "faust",
        "pydantic",
        "redis",
        "rich",
        "lark",
        "tables",
        "agents",
    }
    assert heavy.isdisjoint(ended.stderr.split())


def test_help_lists_every_command_with_a_line() -> None:
    printed = CliRunner().invoke(cli, ["--help"]).output
    listed = dict(
        line.split(maxsplit=1) for line in printed.partition("Commands:")[2].strip().splitlines()
    )
    assert sorted(listed) == NAMES
    assert all(text.endswith(".") for text in listed.values())


@pytest.mark.parametrize("name", NAMES)
def test_every_listed_command_can_be_run(name: str) -> None:
    ran = CliRunner().invoke(cli, [name, "--help"])
    assert ran.exit_code == 0, ran.output
    assert f"Usage: cli {name}" in ran.output


def test_an_unknown_command_is_named() -> None:
    ran = CliRunner().invoke(cli, ["usages"])
    assert ran.exit_code == 2
    assert "No such command 'usages'" in ran.output
    assert "Did you mean 'usage'?" in ran.output
    assert "Did you mean" not in CliRunner().invoke(cli, ["qqqqqqqq"]).output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: str) -> None:
    ran = CliRunner().invoke(cli, ["completion", shell])
    assert ran.exit_code == 0
    assert "_METER_COMPLETE" in ran.stdout
