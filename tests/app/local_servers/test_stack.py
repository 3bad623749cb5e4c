"""Both servers together, as `meter stack` runs them."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis

from app.errors import StackError
from app.local_servers.ports import free_ports, is_free
from app.local_servers.stack import exclusive, local_stack
from tests.world.live.servers import MakeSettings
from tests.world.waiting import PATIENCE_S

pytestmark = pytest.mark.servers

METER = [sys.executable, "-c", "from app.cli.main import cli; cli()"]
REPOSITORY = Path(__file__).parents[3]


@contextmanager
def _meter_stack(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    kafka_port, redis_port = free_ports(2)
    environment = os.environ | {
        "METER_STATE_DIR": str(state_dir),
        "METER_KAFKA_PORT": str(kafka_port),
        "METER_REDIS_PORT": str(redis_port),
        "PYTHONUNBUFFERED": "1",
    }
    with subprocess.Popen(
        [*METER, "stack"],
        env=environment,
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as meter:
        try:
            yield meter
        finally:
            if meter.poll() is None:
                meter.kill()


def _until(meter: subprocess.Popen[str], text: str) -> str:
    assert meter.stdout
    seen = []
    for line in meter.stdout:
        seen.append(line)
        if text in line:
            return "".join(seen)
    pytest.fail(f"{text!r} never came: {''.join(seen)}")


async def test_stack_runs_until_ctrl_c_and_keeps_what_it_holds(tmp_path: Path) -> None:
    for run in range(2):
        with _meter_stack(tmp_path) as meter:
            told = _until(meter, "Ctrl-C")
            assert "export METER_PROFILE=local" in told, "else a worker wants three brokers"
            address = re.search(r"redis://\S+", told)
            assert address
            async with Redis.from_url(address[0]) as client:
                assert await client.incr("runs") == run + 1
            servers = psutil.Process(meter.pid).children()
            assert len(servers) == 2
            meter.send_signal(signal.SIGINT)
            assert meter.wait(PATIENCE_S) == 0
            assert psutil.wait_procs(servers, timeout=PATIENCE_S)[1] == []
    assert (tmp_path / "logs" / "kafka.log").stat().st_size > 0


def test_a_server_that_dies_ends_the_stack_with_its_name(tmp_path: Path) -> None:
    with _meter_stack(tmp_path) as meter:
        _until(meter, "Ctrl-C")
        servers = psutil.Process(meter.pid).children()
        (redis,) = [server for server in servers if "redis" in server.name()]
        redis.kill()
        assert meter.wait(PATIENCE_S) == 1
        assert meter.stdout
        told = meter.stdout.read()
        assert psutil.wait_procs(servers, timeout=PATIENCE_S)[1] == []
    assert told.startswith("Redis ended by itself; the others are stopped")
    assert "Error: Redis ended by itself (code -9)" in told
    assert "Traceback" not in told


async def test_what_fails_inside_comes_out_as_it_is(make_settings: MakeSettings) -> None:
    (port,) = free_ports(1)
    settings = make_settings(kafka_bootstrap_servers="broker.example:1", redis_port=port)
    with pytest.raises(LookupError, match="mine"):
        async with local_stack(settings, lambda _line: None):
            raise LookupError("mine")
    assert is_free(port)


def test_ctrl_c_while_starting_leaves_no_server(tmp_path: Path) -> None:
    with _meter_stack(tmp_path) as meter:
        _until(meter, "starting")
        servers = psutil.Process(meter.pid).children()
        assert servers
        meter.send_signal(signal.SIGINT)
        assert meter.wait(PATIENCE_S) == 0
        assert psutil.wait_procs(servers, timeout=PATIENCE_S)[1] == []


def test_a_second_stack_on_one_directory_is_refused(tmp_path: Path) -> None:
    with exclusive(tmp_path), _meter_stack(tmp_path) as meter:
        assert meter.wait(PATIENCE_S) == 1
        assert meter.stdout
        told = meter.stdout.read()
    assert "Another meter is running" in told
    assert "METER_STATE_DIR" in told
    assert "Traceback" not in told


def test_the_directory_is_free_again_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with exclusive(tmp_path / "state"):
            pass


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="METER_STATE_DIR"), exclusive(tmp_path / "file" / "state"):
        pytest.fail("entered")


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(10**9, 10**9, 5_000_000))
    with pytest.raises(StackError, match="5 MB left"), exclusive(tmp_path):
        pytest.fail("entered")


async def test_configured_servers_are_used_as_they_are(make_settings: MakeSettings) -> None:
    settings = make_settings(kafka_bootstrap_servers="broker.example:1", redis_url="redis.example")
    told: list[str] = []
    async with asyncio.timeout(PATIENCE_S), local_stack(settings, told.append) as running:
        assert running == settings
    assert told == []


async def test_one_server_may_be_configured_and_the_other_ours(make_settings: MakeSettings) -> None:
    (port,) = free_ports(1)
    settings = make_settings(kafka_bootstrap_servers="broker.example:1", redis_port=port)
    async with local_stack(settings, lambda _line: None) as running:
        assert running.kafka_bootstrap_servers == ("broker.example:1",)
        assert running.redis_url == f"redis://127.0.0.1:{port}/0"
        async with Redis.from_url(running.redis_url) as client:
            assert await client.ping()
