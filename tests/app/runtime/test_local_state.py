"""Workers that are given the same state directory do not write the same files."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.errors import StackError
from app.runtime.local_state import LocalState

HOLD = """
import sys, time
from pathlib import Path
from app.runtime.local_state import LocalState
held = LocalState(Path(sys.argv[1]))
print(held.directory, flush=True)
time.sleep(60)
"""


def test_each_has_its_own(tmp_path: Path) -> None:
    first, second, third = (LocalState(tmp_path / "state") for _ in range(3))
    found = [state.directory.relative_to(tmp_path) for state in (first, second, third)]
    assert found == [Path("state"), Path("state/worker-2"), Path("state/worker-3")]
    second.close()
    fourth = LocalState(tmp_path / "state")
    assert fourth.directory == second.directory, "what it has of its partitions is used again"
    for state in (first, third, fourth):
        state.close()


def test_one_that_stands_still_keeps_it_and_one_that_was_killed_does_not(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as frozen:
        assert frozen.stdout
        assert frozen.stdout.readline().strip() == str(tmp_path)
        frozen.send_signal(signal.SIGSTOP)
        beside = LocalState(tmp_path)
        assert beside.directory == tmp_path / "worker-2"
        beside.close()
        frozen.kill()
    alone = LocalState(tmp_path)
    assert alone.directory == tmp_path
    alone.close()


def test_a_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="METER_STATE_DIR"):
        LocalState(tmp_path / "file" / "state")


def test_no_other_user_reads_it(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir(mode=0o755)
    for name in ("before", "new"):
        LocalState(tmp_path / name).close()
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o700
