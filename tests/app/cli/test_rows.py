"""Rows in every form: complete in a pipe, exact in a file, drawn on a terminal."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from app.cli.rows import Output, Rows, output_options

LONG = "x" * 300
FIGURE = "0.10000000000000000000000000000000001"


@click.command()
@output_options
def things(output: Output) -> None:
    rows = Rows(
        ("name", "units", "at"),
        [(f"a\tb\n{LONG}", FIGURE, "2026-10-01T00:00:00Z"), ("c", "1", "")],
        frozenset({"at"}),
    )
    output.show(lambda: {"things": [1]}, lambda: rows)


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *words: CliRunner().invoke(things, [*words])


def test_a_pipe_gets_every_character(run: Callable[..., Result]) -> None:
    header, first, second = run().stdout.splitlines()
    assert header == "name\tunits\tat"
    assert first.split("\t") == [f"a\\tb\\n{LONG}", FIGURE, "2026-10-01T00:00:00Z"]
    assert second == "c\t1\t"
    assert run("--no-header").stdout.splitlines() == [first, second]


def test_a_table_is_drawn_where_it_is_asked_for(run: Callable[..., Result]) -> None:
    drawn = run("-o", "table").stdout
    assert drawn.count("x") == 300
    assert "\x1b" not in drawn


def test_files_have_the_figures_as_texts(run: Callable[..., Result]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("-o", "csv").stdout)))
    assert [row["units"] for row in rows] == [FIGURE, "1"]
    lines = [json.loads(line) for line in run("-o", "jsonl").stdout.splitlines()]
    assert lines[1] == {"name": "c", "units": "1", "at": ""}
    assert json.loads(run("--json").stdout) == json.loads(run("-o", "json").stdout)


def test_parquet_has_texts_and_timestamps(run: Callable[..., Result]) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(io.BytesIO(run("-o", "parquet").stdout_bytes))
    assert [str(kind) for kind in table.schema.types] == [
        "string",
        "string",
        "timestamp[ms, tz=UTC]",
    ]
    assert table.column("at").to_pylist() == [datetime(2026, 10, 1, tzinfo=UTC), None]
    assert table.column("units").to_pylist() == [FIGURE, "1"]


def test_parquet_onto_a_terminal_is_refused_before_anything_is_done(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    done: list[object] = []
    monkeypatch.setattr(Output, "show", lambda *given: done.append(given))
    terminal = SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("app.cli.rows.sys", terminal)
    answer = run("-o", "parquet")
    assert (answer.exit_code, done) == (2, [])
    assert "redirect it" in answer.stderr
    assert run().exit_code == 0
    assert len(done) == 1


def test_parquet_without_its_extra_says_what_to_install(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer: Any = run("-o", "parquet")
    assert answer.exit_code == 2
    assert "pip install 'meterstream[parquet]'" in answer.stderr


def test_colour_stays_out_of_a_terminal_that_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.cli.output import Terminal

    monkeypatch.setenv("NO_COLOR", "1")
    file = io.StringIO()
    Terminal(file=file, force_terminal=True).print("[red]a[/red]")
    assert "31m" not in file.getvalue()
