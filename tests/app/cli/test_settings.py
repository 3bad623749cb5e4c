"""`meter settings`, and how wrong settings are told."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.settings import Settings


def test_table_names_every_variable() -> None:
    result = CliRunner().invoke(cli, ["settings", "-o", "table"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for field in Settings.model_fields:
        assert f"METER_{field.upper()}" in result.stdout
    assert "Settings of the production profile, which `meter worker` has" in result.stdout
    local = CliRunner().invoke(cli, ["settings", "-o", "table"], env={"METER_PROFILE": "local"})
    assert local.stdout.splitlines()[0].strip() == "Settings of the local profile"


def test_table_shows_brackets_of_a_value() -> None:
    variables = {"COLUMNS": "200", "METER_KAFKA_RACK": "[eu]"}
    result = CliRunner().invoke(cli, ["settings", "-o", "table"], env=variables)
    assert "[eu]" in result.stdout


def test_json_shows_value_and_origin_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAGO_REDIS_STORE_URL", "redis://user:hidden-1@host:1")
    monkeypatch.setenv("METER_API_KEYS", "acme:hidden-2:read")
    monkeypatch.setenv("METER_KAFKA_PASSWORD", "hidden-3")
    result = CliRunner().invoke(cli, ["settings", "--json"])
    assert result.exit_code == 0
    assert "hidden" not in result.output
    shown = json.loads(result.stdout)
    assert shown["redis_url"]["value"] == "redis://user:***@host:1"
    assert shown["redis_url"]["set_by"] == "LAGO_REDIS_STORE_URL"
    assert shown["api_keys"]["value"] == "acme:***:read"
    assert shown["late_window_s"] == {
        "field": "late_window_s",
        "variable": "METER_LATE_WINDOW_S",
        "also": [],
        "value": "3456000",
        "set_by": None,
        "shapes_bytes": True,
        "description": "How long after due time events may still revise a period.",
    }


def test_a_misspelt_variable_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METER_KAFKA_BOOTSTRAP", "a:1")
    result = CliRunner().invoke(cli, ["settings"])
    assert "METER_KAFKA_BOOTSTRAP is set, but no setting has that name" in result.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("METER_HTTP_PORT", "http", "METER_HTTP_PORT: "),
        ("LAGO_EVENTS_BATCH_MAX_LENGTH", "0", "METER_MAX_BATCH"),
        ("METER_API_KEYS", "acme", "METER_API_KEYS: an API key is written"),
        ("METER_CLOSE_GRID_S", "7", "METER_CLOSE_GRID_S is 7 and must divide METER_REVISE_EVERY_S"),
        ("METER_REDIS_URL", "http://x", "METER_REDIS_URL: its scheme is none of Redis"),
        ("METER_TOPIC_PREFIX", "bad prefix/", "METER_TOPIC_PREFIX: 'bad prefix/' may have"),
        ("METER_ADVERTISED_URL", "foo", "METER_ADVERTISED_URL: 'foo' is no http or https URL"),
    ],
)
def test_a_wrong_value_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    for words in (["settings"], ["usage", "s"], ["verify"], ["worker"]):
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 2, words
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1, "nothing of what only follows from it"


def test_version_and_help() -> None:
    assert CliRunner().invoke(cli, ["--version"]).output.startswith("meter, version ")
    assert "stack" in CliRunner().invoke(cli, ["-h"]).output
