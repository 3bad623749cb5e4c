"""A server that is alive and silent, its connections open."""

from __future__ import annotations

import os
import signal

from app.local_servers.process import ServerProcess


def pause(process: ServerProcess) -> None:
    """Send SIGSTOP, and return once every thread has stopped."""
    pid = process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    # On a loaded machine some threads run on for milliseconds, and answer what is asked.
    os.waitpid(pid, os.WUNTRACED)


def resume(process: ServerProcess) -> None:
    """Send SIGCONT, if it still runs."""
    if process.pid is not None:
        os.kill(process.pid, signal.SIGCONT)
