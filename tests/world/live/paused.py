"""A server that is alive and silent, its connections open."""

from __future__ import annotations

import os
import signal

from app.local_servers.process import ServerProcess


def pause(process: ServerProcess) -> None:
    """Send SIGSTOP."""
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)


def resume(process: ServerProcess) -> None:
    """Send SIGCONT, if it still runs."""
    if process.pid is not None:
        os.kill(process.pid, signal.SIGCONT)
