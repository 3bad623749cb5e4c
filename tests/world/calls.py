"""Calls: how much Python a piece of work goes through, counted."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any


def calls_of(work: Callable[[], object]) -> Counter[str]:
    """Return how often each function of ours was called; not comprehensions, nor generators.

    What a twin of the kernel calls is not among them.
    """
    calls = Counter[str]()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and not code.co_name.startswith("<") and not _is_passed_over(frame):
            calls[code.co_qualname] += 1

    before, collects = sys.getprofile(), gc.isenabled()
    # What others left would be freed meanwhile, and calls whoever waits for that.
    gc.collect()
    gc.disable()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()
    return calls


def _is_passed_over(frame: FrameType) -> bool:
    """Return whether a call is of a test, or of the twin of the kernel."""
    if "/tests/" in frame.f_code.co_filename:
        return True
    caller: FrameType | None = frame
    while caller is not None and "/app/kernel/" not in caller.f_code.co_filename:
        caller = caller.f_back
    return caller is not None
