"""Files of JSON that are none are told in one line, whatever is in them."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import cli

WORDS = (["preview"], ["apply", "--yes", "-f"])


@pytest.mark.parametrize("words", WORDS, ids=["preview", "apply"])
@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff{", b'["\xff"]', b"[" * 100_000], ids=lambda one: repr(one[:9])
)
def test_what_is_no_json_is_one_line(tmp_path: Path, words: list[str], content: bytes) -> None:
    file = tmp_path / "file.json"
    file.write_bytes(content)
    for name, given in ((str(file), None), ("-", content)):
        found = CliRunner().invoke(cli, [*words, name], input=given)
        assert found.exit_code == 2, found.output
        assert f"{name} is no JSON: " in found.stderr


def test_an_event_that_nests_without_end_is_none() -> None:
    words = ["events", "amend", "sub", "id", '{"a":' * 100_000]
    found = CliRunner().invoke(cli, words)
    assert found.exit_code == 2
    assert "is no JSON object" in found.stderr
