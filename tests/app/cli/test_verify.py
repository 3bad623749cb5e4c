"""`meter verify` and `meter explain` when nobody answers as they should."""

from __future__ import annotations

from click.testing import CliRunner

from app.cli.main import cli
from app.stack.ports import free_ports


def test_without_a_worker_nothing_is_proved() -> None:
    (port,) = free_ports(1)
    found = CliRunner().invoke(cli, ["verify", "--url", f"http://127.0.0.1:{port}", "--key", "k"])
    assert found.exit_code == 2
    assert f"No worker answers at http://127.0.0.1:{port} (" in found.output
    assert "Is `meter up` running?" in found.output


def test_a_group_needs_key_and_value() -> None:
    found = CliRunner().invoke(cli, ["explain", "sub", "calls", "--group", "eu"])
    assert found.exit_code == 2
    assert "key=value" in found.output
