"""How far a command has come is told on a terminal, and nowhere else."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace

import pytest

from app.cli import progress


class Terminal(StringIO):
    """Somebody looks on."""

    def isatty(self) -> bool:
        return True


def told(monkeypatch: pytest.MonkeyPatch, stderr: StringIO, records: int) -> str:
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stderr))
    with progress.progress(records, "Writing") as advance:
        for _ in range(records):
            advance(1)
    return stderr.getvalue()


def test_a_bar_is_drawn_on_a_terminal_some_hundred_times(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = told(monkeypatch, Terminal(), 50_000)
    assert shown.count("Writing") > 10
    assert shown.count("\r") < 2_000
    assert "100%" in shown


def test_a_pipe_and_few_records_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(monkeypatch, StringIO(), 50_000) == ""
    assert told(monkeypatch, Terminal(), 100) == ""
