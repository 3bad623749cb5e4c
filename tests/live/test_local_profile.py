"""`meter up` as a newcomer runs it: from nothing to closed periods, and again after Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.local_servers.ports import free_ports
from tests.world.live.api import Api, api_of
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(400)]

ROOT = Path(__file__).parents[2]
METER = [sys.executable, "-c", "from app.cli.main import cli; cli(prog_name='meter')"]
START_TIMEOUT_S = 120.0
CLOSED_WITHIN_S = 60.0


class Up:
    """One `meter up` in a process group of its own, as a terminal has it."""

    def __init__(self, environment: Mapping[str, str], log_file: Path):
        self.environment = {**os.environ, **environment}
        self.log_file = log_file
        self.url = f"http://127.0.0.1:{environment['METER_HTTP_PORT']}"
        with log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [*METER, "up"],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**self.environment, "PYTHONUNBUFFERED": "1"},
                cwd=ROOT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self.log_file.read_text()

    async def until_ready(self) -> None:
        """Wait for the last line of its welcome."""
        deadline_s = asyncio.get_running_loop().time() + START_TIMEOUT_S
        while "Ctrl-C stops everything" not in self.output:
            assert self.process.poll() is None, self.output
            assert asyncio.get_running_loop().time() < deadline_s, self.output
            await asyncio.sleep(0.2)

    async def interrupt(self) -> int:
        """Ctrl-C reaches the whole group; its exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return await asyncio.to_thread(self.process.wait, 60)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another `meter` command in the same environment."""
        return subprocess.run(
            [*METER, *words], capture_output=True, text=True, env=self.environment, timeout=120
        )


@contextmanager
def _up(environment: Mapping[str, str], log_file: Path) -> Iterator[Up]:
    running = Up(environment, log_file)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Ports and a state directory of its own."""
    ports = map(str, free_ports(3))
    names = ("METER_KAFKA_PORT", "METER_REDIS_PORT", "METER_HTTP_PORT")
    return dict(zip(names, ports, strict=True)) | {"METER_STATE_DIR": str(tmp_path / "state")}


async def test_from_nothing_to_closed_periods_and_again(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _up(environment, tmp_path / "first.log") as up:
        await up.until_ready()
        async with api_of(up.url) as api:
            await eventually(lambda: _shows_closed_periods(api), True, CLOSED_WITHIN_S)
            assert await _letters(api) == ["timestamp_out_of_range"]
            await _welcome_works(up.output)
        await _second_instances_are_told(up, environment, tmp_path)
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".meter").mkdir()
        await _readme_commands_work(up)
        before = _units(up, "demo_ada")
        assert await up.interrupt() == 0, up.output
        _ended_cleanly(up)

    with _up(environment, tmp_path / "second.log") as up:
        await up.until_ready()
        after = _units(up, "demo_ada")
        assert all(after[code] >= before[code] for code in before), (before, after)
        assert await up.interrupt() == 0, up.output
        _ended_cleanly(up)


def _ended_cleanly(up: Up) -> None:
    assert up.output.rstrip().endswith("start again to go on."), up.output
    # A busy machine, too, holds the loop: then it was none of ours.
    said = [line for line in up.output.splitlines() if " by=other" not in line]
    for word in ("WARNING", "ERROR", "Traceback", "Unclosed"):
        assert not [line for line in said if word in line], up.output


async def _overview(api: Api) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_S):
        text = await asyncio.to_thread(
            subprocess.check_output, ["curl", "-sS", f"{api.url}/api/page/overview"]
        )
    found: dict[str, Any] = json.loads(text)
    return found


async def _shows_closed_periods(api: Api) -> bool:
    types = {record["type"] for record in (await _overview(api))["records"]}
    return types >= {"usage.recorded", "period.completed"}


async def _letters(api: Api) -> list[str]:
    return [letter["code"] for letter in (await _overview(api))["dead_letters"]]


async def _welcome_works(output: str) -> None:
    """The curl lines that it prints: metric, event, and the number."""
    lines = output[output.index("  curl") : output.index("A producer of your own")]
    script = 'curl() { command curl -sS --fail-with-body "$@" && echo; }\nset -e\n' + lines
    answer = await asyncio.to_thread(
        subprocess.run, ["bash"], input=script, capture_output=True, text=True, timeout=120
    )
    assert answer.returncode == 0, answer
    metric, event, usage = map(json.loads, answer.stdout.splitlines())
    assert metric["billable_metric"]["code"] == event["event"]["code"]
    units = [charge["units"] for charge in usage["customer_usage"]["charges_usage"]]
    assert "12.5" in units


async def _second_instances_are_told(up: Up, environment: dict[str, str], tmp_path: Path) -> None:
    http, redis = ("METER_HTTP_PORT", "METER_REDIS_PORT")
    with ExitStack() as seconds:
        refused = []
        for lacking, told in (
            ("METER_STATE_DIR", "Another meter is running on"),
            (http, http),
            (redis, redis),
            ("METER_KAFKA_PORT", "METER_KAFKA_PORT"),
        ):
            # Each differs in what would be refused before.
            ports = dict(zip((http, redis), map(str, free_ports(2)), strict=True))
            own = ports | {"METER_STATE_DIR": str(tmp_path / lacking)}
            own.pop(lacking, None)
            log_file = tmp_path / f"refused-{lacking}.log"
            refused.append((seconds.enter_context(_up(environment | own, log_file)), told))
        for second, told in refused:
            assert await asyncio.to_thread(second.process.wait, 60) == 1
            assert told in second.output
            assert "Traceback" not in second.output


async def _readme_commands_work(up: Up) -> None:
    """Each in the order printed, but those that need what the README's own curl lines define."""
    readme = (ROOT / "README.md").read_text()
    lines = re.findall(r"^((?:METER_\w+=\S+ )?)\.venv/bin/meter (.+)$", readme, re.MULTILINE)
    assert len(lines) > 3
    for name, text in re.findall(r"^cat > (\.meter/\S+) <<'END'\n(.+)\nEND$", readme, re.MULTILINE):
        Path(name).write_text(text)
    for setting, text in lines:
        words = shlex.split(text)
        if setting:
            name, _, value = setting.strip().partition("=")
            up.environment[name] = value
        done = await asyncio.to_thread(up.run, *words)
        if setting:
            del up.environment[name]
        assert (done.returncode, done.stderr) == (0, "") or _may(words, done), (text, done)
        assert done.stdout or "--output" in words or words[0] == "fold", text


def _may(words: list[str], done: subprocess.CompletedProcess[str]) -> bool:
    """Folding tells on stderr what it refused, and usage that nobody defined the subscription."""
    told = {"fold": "refused", "usage": "On the implicit plan"}.get(words[0])
    return done.returncode == 0 and told is not None and told in done.stderr


def _units(up: Up, subscription: str) -> dict[str, int]:
    done = up.run("usage", subscription, "--json")
    assert done.returncode == 0, done
    charges = json.loads(done.stdout)["customer_usage"]["charges_usage"]
    return {
        charge["billable_metric"]["code"]: charge["events_count"]
        for charge in charges
        if charge["billable_metric"]["aggregation_type"] != "unique_count_agg"
    }


def test_up_is_what_make_run_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^run:.*\n\t@\$\(BIN\)/meter up$", makefile, re.MULTILINE)
