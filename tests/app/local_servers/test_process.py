"""A child process that misbehaves: slow, deaf or ending at once."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from app.errors import StackError
from app.local_servers.process import TAIL_LINES, ServerProcess
from tests.world.waiting import PATIENCE_S


@pytest.fixture
def process(tmp_path: Path) -> ServerProcess:
    return ServerProcess("Thing", tmp_path / "thing.pid", tmp_path / "logs" / "thing.log")


def _python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


async def _never() -> bool:
    return False


async def test_not_ready_in_time_is_told_and_ended(process: ServerProcess) -> None:
    process.start(_python("import time; print('still thinking', flush=True); time.sleep(60)"))
    with pytest.raises(StackError, match=r"Thing was not ready within 1 s") as told:
        await process.wait_ready(_never, timeout_s=1)
    assert "still thinking" in str(told.value)
    assert not process.is_running()


async def test_only_the_end_of_a_long_log_is_shown(process: ServerProcess) -> None:
    process.start(_python("[print('line', n) for n in range(1000)]; raise SystemExit(3)"))
    with pytest.raises(StackError, match=r"code 3") as told:
        await process.wait_ready(_never, timeout_s=PATIENCE_S)
    assert "line 999" in str(told.value)
    assert f"line {999 - TAIL_LINES}\n" not in str(told.value)


async def test_one_that_does_not_end_is_killed(process: ServerProcess, tmp_path: Path) -> None:
    process.start(
        _python(
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('deaf', flush=True); time.sleep(600)"
        )
    )

    async def deaf() -> bool:
        return "deaf" in (tmp_path / "logs" / "thing.log").read_text()

    await process.wait_ready(deaf, timeout_s=PATIENCE_S)
    began = time.monotonic()
    await process.stop(timeout_s=0.5)
    assert 0.5 <= time.monotonic() - began < PATIENCE_S
    assert not process.is_running()
    assert process.pid is None


async def test_stopping_what_does_not_run_is_nothing(process: ServerProcess) -> None:
    await process.stop(timeout_s=1)
    process.kill()
    assert not process.is_running()


async def test_a_cancelled_stop_still_ends_it(process: ServerProcess, tmp_path: Path) -> None:
    process.start(
        _python(
            "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "print('deaf', flush=True); time.sleep(60)"
        )
    )
    while "deaf" not in (tmp_path / "logs" / "thing.log").read_text():
        await asyncio.sleep(0.02)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await process.stop(timeout_s=30)
    assert not process.is_running()
