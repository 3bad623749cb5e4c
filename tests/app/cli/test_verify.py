"""`meter verify` and `meter explain` when nobody answers as they should."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

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
    assert found.exit_code == 3, "1 would say that something differs"
    assert found.stderr.startswith("Error: METER_HTTP_PORT: ")


def test_a_group_needs_key_and_value() -> None:
    found = CliRunner().invoke(cli, ["explain", "sub", "calls", "--group", "eu"])
    assert found.exit_code == 2
    assert "key=value" in found.output
