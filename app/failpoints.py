"""Failpoints: named places where a test lets the process die, as SIGKILL would, or stand still.

METER_FAILPOINT=name, name:nth or name:nth:stop arms one; unset, a failpoint costs a comparison. One
that stopped goes on by SIGCONT. Source: faults F1.
"""

from __future__ import annotations

import os
import signal
from typing import Final, Literal, get_args

Name = Literal[
    "after-fetch",
    "after-fold",
    "before-commit",
    "mid-commit",
    "after-commit",
    "mid-dead-letters",
    "mid-close",
    "between-cut-flushes",
]
NAMES: Final[tuple[Name, ...]] = get_args(Name)

VARIABLE: Final = "METER_FAILPOINT"

_name, _nth, _how, *_ = [*os.environ.get(VARIABLE, "").split(":"), "", ""]
_left = int(_nth or 1)
_signal = signal.SIGSTOP if _how == "stop" else signal.SIGKILL

if _name and _name not in NAMES:
    raise ValueError(f"{VARIABLE} is {_name!r}; there are {', '.join(NAMES)}")


def failpoint(name: Name) -> None:
    """Die or stop here if it is this one that is armed, and the nth time has come."""
    if _name == name:
        _count_down()


def _count_down() -> None:
    global _left
    _left -= 1
    if _left == 0:
        os.kill(os.getpid(), _signal)
