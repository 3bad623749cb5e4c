"""The end of a worker."""

from __future__ import annotations

import signal
import subprocess
import sys

from tests.world.waiting import PATIENCE_S

HANGS = """
import asyncio
from app import main

class Worker:
    async def start(self): ...
    async def run(self): ...
    async def stop(self):
        await asyncio.sleep({stop_s})

main.STOPPED_WITHIN_S = {within_s}
asyncio.run(main.run_to_the_end(Worker(), print))
"""


def ended(stop_s: float, within_s: int) -> subprocess.CompletedProcess[str]:
    """A process whose worker takes so long to stop, and has so long for it."""
    program = HANGS.format(stop_s=stop_s, within_s=within_s)
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
        check=False,
    )


def test_a_worker_that_does_not_stop_is_ended_and_says_where_it_was() -> None:
    process = ended(stop_s=3_600, within_s=1)
    assert process.returncode == -signal.SIGALRM
    assert "run_to_the_end" in process.stderr or "select" in process.stderr


def test_a_worker_that_stops_ends_by_itself() -> None:
    process = ended(stop_s=0, within_s=60)
    assert (process.returncode, process.stderr) == (0, "")
