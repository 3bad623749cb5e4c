"""What others named is shown in a terminal; it tells the terminal nothing (bounded-work L34)."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from rich.table import Table

import app.cli
from app.cli import main
from app.cli.output import Terminal, echo, lines_to, shown, shown_json, table_of

TITLE = "\x1b]0;owned\x07"
C1 = "\x9b31m"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"a{TITLE}b", r"a\x1b]0;owned\x07b"),
        (C1, r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\r\b\x7f", r"a\x0d\x08\x7f"),
        ("Zo\u00eb\tline\nline \u2713", "Zo\u00eb\tline\nline \u2713"),
    ],
)
def test_control_characters_are_spelled(
    text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(text) == told
    echo(text)
    assert capsys.readouterr().out == told + "\n"


def test_json_keeps_its_value() -> None:
    value = {TITLE: [C1, "\x7f", "\u202e"]}
    text = shown_json(json.dumps(value, ensure_ascii=False))
    assert shown(text) == text
    assert json.loads(text) == value


def test_a_table_keeps_its_own_colours_only() -> None:
    file = io.StringIO()
    console = Terminal(file=file, force_terminal=True, color_system="standard", width=80)
    table = Table("Id")
    table.add_row(f"[red]a{TITLE}[/red]")
    console.print(table)
    console.print(f"[red]{TITLE}[/red]")
    written = file.getvalue()
    assert written.count(r"\x1b") == 2
    own = re.sub(r"\x1b\[[0-9;]*m", "", written)
    assert "\x1b" not in own
    assert "\x07" not in own
    assert "\x1b[31m" in written


def test_an_id_is_no_name_of_a_picture() -> None:
    file = io.StringIO()
    Terminal(file=file, width=80).print(table_of(("Id",), [(":heart:[red]",)]))
    assert ":heart:[red]" in file.getvalue()


def test_lines_are_as_they_are_where_nobody_looks() -> None:
    line = '{"id":"\x9b31m\x7f"}'.encode()
    file = io.BytesIO()
    lines_to(file)(line)
    assert file.getvalue() == line
    master, slave = os.openpty()
    with open(slave, "wb", buffering=0) as terminal, open(master, "rb", buffering=0) as screen:
        lines_to(terminal)(line)
        seen = screen.read(100)
    assert json.loads(seen) == json.loads(line)
    assert seen == rb'{"id":"\u009b31m\u007f"}'


def test_failures_are_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def fail() -> None:
        raise click.ClickException(f"no {TITLE}")

    monkeypatch.setattr(main._Commands, "get_command", lambda *_: fail)
    result = CliRunner().invoke(main.cli, ["fail"])
    assert result.exit_code == 1
    assert result.stderr == "Error: no \\x1b]0;owned\\x07\n"


def test_everything_goes_out_through_it() -> None:
    places = Path(app.cli.__file__).parent.glob("*.py")
    found = {
        (place.name, use)
        for place in places
        if place.name != "output.py"
        for use in re.findall(r"click\.(?:echo|secho)|\bConsole\(|\bprint\(", place.read_text())
        if use != "print(" or re.search(r"(?<![.\w])print\(", place.read_text())
    }
    assert found == set()
