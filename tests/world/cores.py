"""How long something took, without the time for which no core was free.

Linux counts for each thread how long it was ready to run and had to wait: that is what other
programs take of a machine. Time spent asleep, stopped or behind a lock is not in it. A system that
does not tell it counts as one with cores enough.
"""

from __future__ import annotations

import math
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

    Two may wait at the same time or one after the other; it counts as if either were chance.
    """

    def __init__(self, *pids: int) -> None:
        self._began_s = time.perf_counter()
        self._waited_s = {pid: waited_s(pid) for pid in {os.getpid(), *pids}}

    def taken_s(self) -> float:
        """Seconds so far."""
        whole_s = time.perf_counter() - self._began_s
        shares = ((waited_s(pid) - before_s) / whole_s for pid, before_s in self._waited_s.items())
        return whole_s * math.prod(max(0.0, 1 - share) for share in shares)
