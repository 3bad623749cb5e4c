"""What an operation spends: steps of the interpreter, what it touches, CPU time."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, NamedTuple

from app.bounds.work_done import WorkDone

Operation = Callable[[], object]


class Spent(NamedTuple):
    """What one operation of several spends at the mean."""

    steps: float
    """Instructions of Python; what C does in one call is one."""
    touched: dict[str, float]
    """By kind, as `meter_work_total` counts."""
    cpu_us: float


def steps_of(operation: Operation) -> int:
    """Return how many instructions the interpreter takes for an operation."""
    count = 0

    def each(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "opcode"
        return each

    def called(frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return each

    before = sys.gettrace()
    # Python 3.12 counts them from the next trace on, unless some frame has asked before this one.
    sys._getframe().f_trace_opcodes = True
    sys.settrace(called)
    try:
        operation()
    finally:
        sys.settrace(before)
    return count


def spent(operations: Iterable[Operation], work: WorkDone) -> Spent:
    """Run operations of one kind; the last one under a trace, the others against the clock."""
    *timed, traced = operations
    # As a worker does: the collector passes over what stays.
    gc.collect()
    gc.freeze()
    before = work.counts.copy()
    cpu_us: list[float] = []
    for operation in timed:
        began_s = time.process_time()
        operation()
        cpu_us.append((time.process_time() - began_s) * 1e6)
    steps = steps_of(traced)
    touched: dict[str, float] = {}
    for (_, kind), count in (work.counts - before).items():
        touched[kind] = touched.get(kind, 0) + count / (len(timed) + 1)
    return Spent(steps, touched, sorted(cpu_us)[len(cpu_us) // 2])
