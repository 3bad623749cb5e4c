"""Many seeds at once: each comes to what it comes to alone, and one that never ends is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulation import many
from tests.simulation.play import Player

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_processes_share_the_seeds() -> None:
    seeds = range(300, 300 + many.AT_ONCE + 1)
    shared = sorted(many.play_all(seeds, 2))
    assert [one.seed for one in shared] == [*seeds]
    assert [one.violations for one in shared] == [[]] * len(seeds)
    assert {one.faults for one in shared} == {20}


def test_a_seed_without_end_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never_ends(player: Player) -> None:
        while True:
            pass

    monkeypatch.setattr(Player, "begin", never_ends)
    monkeypatch.setattr(many, "LONGEST_S", 0.2)
    (told,) = many.played(0).violations
    assert "no end after" in told


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_run_says_how_to_go_on(jobs: int) -> None:
    command = [sys.executable, "-m", "tests.simulation", "--seeds", "500", "--jobs", str(jobs)]
    run = subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stderr is not None
    assert run.stderr.readline() == f"seeds 0 to 499, processes: {jobs}\n"
    time.sleep(2)
    run.send_signal(signal.SIGTERM)
    told, also = run.communicate(timeout=120)
    assert run.returncode == 2
    assert " of 500 seeds, " in told
    assert "interrupted: go on with python -m tests.simulation --first " in also
