"""Runs a server that ends with the process that started it.

Called by path, as `die_with_parent.py OWNER_PID PROGRAM ARGUMENT…`, and replaces itself by the
program. A program of its own because code between fork and exec of a threaded process may deadlock.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    owner, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != owner:  # it died before the leash was on
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
