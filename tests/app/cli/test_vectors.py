"""`meter vectors`: what it counts, what it tells, how it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli.main import cli

VECTOR: dict[str, Any] = {
    "id": "sum-1",
    "metric": {"code": "m", "aggregation_type": "sum_agg", "field_name": "v"},
    "subscription": {"external_id": "sub_1", "started_at": "2024-03-01T00:00:00Z"},
    "period": {"from": "2024-03-01T00:00:00Z", "to": "2024-03-31T23:59:59.999Z"},
    "events": [
        {"transaction_id": "a", "timestamp": "2024-03-02T00:00:00Z", "properties": {"v": 1.5}}
    ],
    "expect": {"units": "1.5"},
}


def directory(tmp_path: Path, *vectors: Any) -> str:
    (tmp_path / "aggregation").mkdir()
    (tmp_path / "aggregation" / "mine.json").write_text(json.dumps(vectors))
    return str(tmp_path)


def test_all_pass(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["vectors", directory(tmp_path, VECTOR)])
    assert result.exit_code == 0
    assert result.stdout == "aggregation/mine.json: 1 of 1 pass\n1 of 1 pass\n"


def test_a_difference_names_vector_field_and_both_values(tmp_path: Path) -> None:
    wrong = {**VECTOR, "id": "sum-2", "expect": {"units": "2", "fee": "1"}}
    result = CliRunner().invoke(cli, ["vectors", directory(tmp_path, VECTOR, wrong)])
    assert result.exit_code == 1
    assert "  sum-2: units: expected 2, got 1.5\n" in result.stdout
    assert "  sum-2: fee: expected 1, got nothing that is computed here\n" in result.stdout
    assert "1 of 2 pass\n" in result.stdout


def test_json(tmp_path: Path) -> None:
    wrong = {**VECTOR, "mode": "pricing"}
    result = CliRunner().invoke(cli, ["vectors", "--json", directory(tmp_path, wrong)])
    assert result.exit_code == 1
    (file,) = json.loads(result.stdout)
    (failed,) = file["failed"]
    assert failed["id"] == "sum-1"
    assert failed["differences"][0]["field"] == "mode"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        pytest.param("api.json", [{"id": "api-1"}], "needs a running worker", id="api"),
        pytest.param("unheard_of.json", [{"id": "x-1"}], "a known format", id="unknown-file"),
    ],
)
def test_files_that_are_not_run(tmp_path: Path, name: str, content: Any, told: str) -> None:
    (tmp_path / name).write_text(json.dumps(content))
    result = CliRunner().invoke(cli, ["vectors", str(tmp_path)])
    assert told in result.stdout
    assert "0 of 1 pass" in result.stdout
    assert result.exit_code == (0 if name == "api.json" else 1)


def test_a_file_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "periods.json").write_text("[{")
    result = CliRunner().invoke(cli, ["vectors", str(tmp_path)])
    assert result.exit_code == 1
    assert "periods.json: " in result.stderr


def test_an_empty_directory(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["vectors", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no vectors" in result.stderr


def test_live(tmp_path: Path) -> None:
    wrong = {**VECTOR, "id": "sum-2", "expect": {"units": "2"}}
    offline = {**VECTOR, "id": "sum-3", "ignore_filters": [{"v": ["2"]}]}
    arguments = ["vectors", "--live", directory(tmp_path, VECTOR, wrong, offline)]
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert "live aggregation/mine.json: 1 of 3 pass, 1 not run\n" in result.stdout
    assert "  sum-2: usage units: expected 2, got 1.5\n" in result.stdout
    assert "  sum-2: records units: expected 2, got 1.5\n" in result.stdout
    assert (
        "  1 not run: ignore_filters asks for something that no plan has (sum-3)\n" in result.stdout
    )
