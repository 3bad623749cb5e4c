"""A server that is alive and silent, its connections open."""

from __future__ import annotations

import os
import signal

from app.local_servers.process import ServerProcess


def pause(process: ServerProcess) -> None:
    """Send SIGSTOP, and return once every thread has stopped; once more it changes nothing."""
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # On a loaded machine some threads run on for milliseconds, and answer what is asked. What was
    # told once is told again, or whoever pauses a server that is paused would wait for ever.
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)


def resume(process: ServerProcess) -> None:
    """Send SIGCONT, if it still runs."""
    if process.pid is not None:
        os.kill(process.pid, signal.SIGCONT)
