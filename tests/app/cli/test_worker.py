"""`meter worker` and `meter up`: what is told when they cannot run."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.exits import WRONG_USAGE
from app.cli.main import cli
from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.main import Worker
from app.settings import HOST


def test_a_worker_without_servers_is_told_what_to_set() -> None:
    answer = CliRunner().invoke(cli, ["worker"])
    assert answer.exit_code == WRONG_USAGE
    assert "METER_KAFKA_BOOTSTRAP_SERVERS and METER_REDIS_URL not set" in answer.stderr


def nobody(tmp_path: object) -> dict[str, str]:
    """Return the environment of a worker whose brokers and Redis nobody is."""
    kafka, http = free_ports(2)
    return {
        "METER_PROFILE": "local",
        "METER_HTTP_PORT": str(http),
        "METER_STATE_DIR": f"{tmp_path}/state",
        "METER_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{kafka}",
        "METER_REDIS_URL": f"redis://user:secret@{HOST}:1/0",
    }


@pytest.mark.parametrize("command", ["up", "worker"])
def test_brokers_that_do_not_answer_are_named(command: str, tmp_path: object) -> None:
    environment = nobody(tmp_path)
    kafka = environment["METER_KAFKA_BOOTSTRAP_SERVERS"]
    answer = CliRunner(env=environment).invoke(cli, [command])
    assert answer.exit_code == 1
    assert (
        f"Error: Kafka at {kafka} does not answer. Start it, or correct "
        "METER_KAFKA_BOOTSTRAP_SERVERS." in answer.stderr
    )
    assert "AddressFamily" not in answer.stderr


def test_brokers_that_may_speak_otherwise_are_told_by_what_is_set(tmp_path: object) -> None:
    environment = nobody(tmp_path) | {
        "METER_KAFKA_TLS": "true",
        "METER_KAFKA_USERNAME": "meter",
        "METER_KAFKA_PASSWORD": "secret",
    }
    wrong = "METER_KAFKA_BOOTSTRAP_SERVERS, METER_KAFKA_TLS or METER_KAFKA_USERNAME."
    answer = CliRunner(env=environment).invoke(cli, ["worker"])
    assert answer.stderr.splitlines()[-1].endswith(f"Start it, or correct {wrong}")
    answer = CliRunner(env=environment).invoke(cli, ["topics", "create"])
    assert answer.stderr.splitlines()[-1].endswith(f"Another address: {wrong}"), answer.output


@pytest.mark.servers
def test_a_redis_that_does_not_answer_is_named(tmp_path: object, local_kafka: LocalKafka) -> None:
    redis, http = free_ports(2)
    environment = {
        "METER_PROFILE": "local",
        "METER_TOPIC_PREFIX": "no-redis-",
        "METER_HTTP_PORT": str(http),
        "METER_STATE_DIR": f"{tmp_path}/state",
        "METER_KAFKA_BOOTSTRAP_SERVERS": local_kafka.bootstrap_servers,
        "METER_REDIS_URL": f"redis://user:secret@{HOST}:{redis}/0",
    }
    answer = CliRunner(env=environment).invoke(cli, ["worker"])
    assert answer.exit_code == 1
    assert f"Error: Redis at {HOST}:{redis} does not answer" in answer.stderr
    assert "secret" not in answer.output


@pytest.mark.servers
async def test_settings_that_differ_from_the_log_are_told_and_nothing_else(
    worker: Worker, tmp_path: Path
) -> None:
    theirs = worker.settings
    environment = os.environ | {
        "METER_PROFILE": "test",
        "METER_KAFKA_BOOTSTRAP_SERVERS": ",".join(theirs.kafka_bootstrap_servers),
        "METER_REDIS_URL": str(theirs.redis_url),
        "METER_TOPIC_PREFIX": theirs.topic_prefix,
        "METER_RAW_PARTITIONS": str(theirs.raw_partitions),
        "METER_IMPLICIT_PLAN": "true",
        "METER_STATE_DIR": str(tmp_path / "other"),
        "METER_HTTP_PORT": str(free_ports(1)[0]),
        "METER_GRACE_S": "5",
    }
    command = [sys.executable, "-c", "from app.cli.main import cli; cli()", "worker"]
    ran = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=200
    )
    assert ran.returncode == 1
    # A busy machine holds the loop, which is told as well.
    besides = (" INFO app.", " app.bounds.turns: loop held ")
    lines = [line for line in ran.stderr.splitlines() if not any(each in line for each in besides)]
    assert lines[0].startswith("Error: These settings shape usage records")
    assert lines[1:-1] == ["  grace_s: 5 here, 0 in the log"]
    assert "`meter settings apply`" in lines[-1]


KAFKA_OVER_TLS = {"METER_KAFKA_TLS": "true"}
REDIS_OVER_TLS = {"METER_REDIS_URL": "rediss://x:1"}
TLS = {"METER_HTTP_TLS_CERT_FILE": "/nope", "METER_HTTP_TLS_KEY_FILE": "/nope"}


@pytest.mark.parametrize(
    ("setting", "besides", "told"),
    [
        ("METER_KAFKA_CA_FILE", KAFKA_OVER_TLS, "METER_KAFKA_CA_FILE /nope cannot be used (No su"),
        ("METER_KAFKA_CERT_FILE", KAFKA_OVER_TLS, "METER_KAFKA_CERT_FILE /nope cannot be used"),
        ("METER_PEER_CA_FILE", {}, "METER_PEER_CA_FILE /nope cannot be used (No such file"),
        ("METER_REDIS_CA_FILE", REDIS_OVER_TLS, "METER_REDIS_CA_FILE /nope cannot be used"),
        ("METER_REDIS_CERT_FILE", REDIS_OVER_TLS, "METER_REDIS_CERT_FILE /nope cannot be used"),
        ("METER_API_KEYS_FILE", {}, "METER_API_KEYS_FILE: the keys of /nope cannot be used: No"),
        ("METER_HTTP_TLS_CERT_FILE", TLS, "METER_HTTP_TLS_CERT_FILE /nope and METER_HTTP_TLS_KEY"),
        ("METER_WEBHOOK_PRIVATE_KEY_FILE", {}, "METER_WEBHOOK_PRIVATE_KEY_FILE: /nope holds no"),
        ("METER_REDIS_URL", {}, "METER_REDIS_URL has an option that is none: "),
    ],
)
def test_the_last_line_names_the_file_that_cannot_be_used(
    setting: str, besides: dict[str, str], told: str, tmp_path: Path
) -> None:
    """As a process: what nobody closed would be told when it ends, after the message."""
    value = "redis://x:1/0?db=none" if setting == "METER_REDIS_URL" else "/nope"
    environment = os.environ | {
        "METER_PROFILE": "local",
        "METER_STATE_DIR": str(tmp_path / "state"),
        "METER_HTTP_PORT": str(free_ports(1)[0]),
        "METER_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:1",
        "METER_REDIS_URL": "redis://x:1",
        **besides,
        setting: value,
    }
    command = [sys.executable, "-c", "from app.cli.main import cli; cli()", "worker"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode == WRONG_USAGE
    assert ran.stderr.splitlines()[-1].startswith(f"Error: {told}"), ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize(
    ("command", "setting"), [("worker", "METER_ADMIN_PORT"), ("webhooks", "METER_WEBHOOKS_PORT")]
)
def test_another_taken_port_is_told_as_well(command: str, setting: str) -> None:
    (http,) = free_ports(1)
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        environment = {
            "METER_HTTP_PORT": str(http),
            setting: str(taken.getsockname()[1]),
            "METER_KAFKA_BOOTSTRAP_SERVERS": "x:1",
            "METER_REDIS_URL": "x:1",
        }
        answer = CliRunner(env=environment).invoke(cli, [command])
    assert answer.exit_code == 1
    assert f"set {setting} to a free port" in answer.stderr.splitlines()[-1]


@pytest.mark.parametrize("command", ["up", "worker", "webhooks"])
@pytest.mark.parametrize("host", ["8.8.8.8", "no..host"])
def test_an_address_of_another_machine_is_told(command: str, host: str) -> None:
    environment = {"METER_HTTP_HOST": host}
    if command != "up":
        environment |= {"METER_KAFKA_BOOTSTRAP_SERVERS": "x:1", "METER_REDIS_URL": "x:1"}
    answer = CliRunner(env=environment).invoke(cli, [command])
    assert answer.exit_code == 1
    told = f"Error: METER_HTTP_HOST {host} is no address of this machine"
    assert answer.stderr.splitlines()[-1].startswith(told)


def test_a_misspelt_setting_has_a_line_of_its_own() -> None:
    environment = {
        "METER_HTPP_PORT": "1",
        "METER_HTTP_HOST": "8.8.8.8",
        "METER_KAFKA_BOOTSTRAP_SERVERS": "x:1",
        "METER_REDIS_URL": "x:1",
    }
    answer = CliRunner(env=environment).invoke(cli, ["worker"])
    (line,) = [line for line in answer.stderr.splitlines() if "METER_HTPP_PORT" in line]
    assert "WARNING" in line
    assert "METER_HTPP_PORT is set, but no setting has that name" in line


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
