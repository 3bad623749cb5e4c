"""`meter limits` prints as other lists do."""

from __future__ import annotations

import json

from click.testing import CliRunner

from app.bounds import limits
from app.cli.main import cli


def printed(*words: str) -> str:
    result = CliRunner().invoke(cli, ["limits", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_pipe_gets_a_row_for_each_limit() -> None:
    header, *rows = (line.split("\t") for line in printed().splitlines())
    assert header == ["name", "value", "reason"]
    assert {len(row) for row in rows} == {3}
    told = json.loads(printed("--json"))
    assert [row[0] for row in rows] == [*told]
    for name, value, reason in rows:
        assert json.loads(value) == told[name]["value"]
        assert reason == " ".join(told[name]["reason"].split())
        assert reason


def test_a_person_gets_sentences() -> None:
    shown = printed("-o", "table")
    assert f"BODY_BYTES = {limits.BODY_BYTES}\n\n    Bytes of one request body." in shown
