"""`meter verify` and `meter explain` when nobody answers as they should."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import explain
from app.cli.main import cli
from app.local_servers.ports import free_ports

COMMANDS = pytest.mark.parametrize(
    "command", [["verify"], ["explain", "sub", "calls"]], ids=["verify", "explain"]
)


@COMMANDS
def test_without_a_worker_nothing_is_proved(command: list[str]) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    found = CliRunner().invoke(cli, [*command, "--url", url, "--key", "k"])
    assert found.exit_code == 3
    assert f"No worker answers at http://127.0.0.1:{port} (" in found.output
    assert "Is `meter up` running?" in found.output


@COMMANDS
def test_under_wrong_settings_nothing_is_proved(command: list[str]) -> None:
    found = CliRunner(env={"METER_HTTP_PORT": "http"}).invoke(cli, command)
    assert found.exit_code == 2, "1 would say that something differs"
    assert found.stderr.startswith("Error: METER_HTTP_PORT: ")


def test_a_group_needs_key_and_value() -> None:
    found = CliRunner().invoke(cli, ["explain", "sub", "calls", "--group", "eu"])
    assert found.exit_code == 2
    assert "key=value" in found.output


def test_what_is_published_pending_and_live_stands_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    waits = {
        "cut": "2026-11-01T07:00:00.000Z",
        "events": 2,
        "delta_units": "5.0",
        "reasons": ["late_events"],
    }
    live = {"units": "55.75", "events_count": 37, "digest": "d"}
    cell = {
        "charge_code": "gb",
        "filters": None,
        "grouped_by": None,
        "published": {"units": "50.75", "revision": 1},
        "pending": waits,
        "live": live,
        "recomputed": live,
        "equal": True,
    }
    explanation: dict[str, Any] = {
        "billable_metric_code": "gb",
        "external_subscription_id": "s",
        "from_datetime": "f",
        "to_datetime": "t",
        "cells": [cell, {**cell, "filters": {"region": ["eu"]}}],
        "events": [],
        "counts": {},
        "since": None,
    }
    explain._print(explanation, {"total_count": 0})
    rows = [line for line in capsys.readouterr().out.splitlines() if "50.75" in line]
    figures, of_eu = ([each.strip() for each in row.split("│")] for row in rows)
    assert (figures[2], of_eu[2]) == ("everything else", "region: eu")
    told = "+5.0 at 2026-11-01T07:00:00.000Z (late events)"
    assert figures[3:6] == ["50.75 (revision 1)", told, "55.75"]
