"""How long something took, without the time for which no core was free.

Linux counts for each thread how long it was ready to run and had to wait: that is what other
programs take of a machine. Time spent asleep, stopped or behind a lock is not in it. A system that
does not tell it counts as one with cores enough.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def waited_s(pid: int) -> float:
    """Seconds for which the main thread of a process has waited for a core, from its start on."""
    try:
        _, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
    except (OSError, ValueError):
        return 0.0
    return int(waited_ns) / 1e9


class Stopwatch:
    """Runs from when it is made, but not while this process or one of the others has no core.

    Two that wait at the same time both count, so on a crowded machine it tells rather too little.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = {os.getpid(), *pids}
        self._began_s = self._now_s()

    def _now_s(self) -> float:
        return time.perf_counter() - sum(map(waited_s, self._pids))

    def taken_s(self) -> float:
        """Seconds so far."""
        return max(0.0, self._now_s() - self._began_s)
