"""`meter worker` and `meter up`: what is told when they cannot run, and what is not logged."""

from __future__ import annotations

import logging
import socket

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.cli.worker import STARTING_MS, no_start_noise
from app.stack.ports import HOST


def test_a_worker_without_servers_is_told_what_to_set() -> None:
    answer = CliRunner().invoke(cli, ["worker"])
    assert answer.exit_code == 1
    assert "METER_KAFKA_BOOTSTRAP_SERVERS and METER_REDIS_URL not set" in answer.stderr


@pytest.mark.parametrize("command", ["up", "worker"])
def test_a_taken_port_is_told_before_anything_starts(
    command: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        environment = {
            "METER_HTTP_PORT": str(taken.getsockname()[1]),
            "METER_STATE_DIR": f"{tmp_path}/state",
        }
        if command == "worker":
            environment |= {"METER_KAFKA_BOOTSTRAP_SERVERS": "x:1", "METER_REDIS_URL": "x:1"}
        answer = CliRunner(env=environment).invoke(cli, [command])
    assert answer.exit_code == 1
    assert "set METER_HTTP_PORT to a free port" in answer.stderr
    assert "Kafka" not in answer.stdout


@pytest.mark.parametrize(
    ("message", "at_ms", "shown"),
    [
        ("Group Coordinator Request failed: GroupCoordinatorNotAvailableError", 1_000, False),
        ("Marking the coordinator dead (node 1)for group meterstream.", 1_000, False),
        ("Marking the coordinator dead (node 1)for group meterstream.", STARTING_MS, True),
        ("Heartbeat session expired", 1_000, True),
    ],
)
def test_only_a_starting_broker_is_passed_over(message: str, at_ms: int, shown: bool) -> None:
    record = logging.makeLogRecord({"msg": message, "relativeCreated": at_ms})
    assert no_start_noise(record) is shown
