"""The directory that one worker alone writes to.

Two workers that wrote the same files of an event index would destroy them. Fencing does not keep
them apart: one that stood still while others took its partitions goes on for a moment.
"""

from __future__ import annotations

import fcntl
from itertools import count
from pathlib import Path

from app.directory import private_directory
from app.errors import StackError

LOCK_NAME = "worker.lock"


class LocalState:
    """`state_dir` itself or, while another worker has that, a directory in it.

    Held until it is closed or the process ends, however it ends.

    Raises:
        StackError: it cannot be written.
    """

    def __init__(self, state_dir: Path):
        for number in count(1):
            self.directory = state_dir if number == 1 else state_dir / f"worker-{number}"
            try:
                private_directory(self.directory)
                self._lock = (self.directory / LOCK_NAME).open("a")
            except OSError as error:
                raise StackError(
                    f"The state directory cannot be written: {error}. Set METER_STATE_DIR to "
                    "another."
                ) from error
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
            else:
                return

    def close(self) -> None:
        """Let another worker have it."""
        self._lock.close()
