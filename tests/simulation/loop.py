"""An event loop whose time is only counted: whoever sleeps is woken at once, in order of time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(RuntimeError):
    """Everything waits for something that nobody will do."""


class _Selector(selectors.SelectSelector):
    """Nothing is ever read or written here; waiting moves the time on."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Stuck("no task can go on")
        # A little more than asked for, or rounding would keep a timer from ever being due.
        self.now_s += timeout + 1e-9 if timeout > 0 else 0.0
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """The same coroutines run in the same order every time."""

    def __init__(self) -> None:
        self._counted = _Selector()
        super().__init__(self._counted)

    def time(self) -> float:
        """Seconds since the start."""
        return self._counted.now_s


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own."""
    loop = VirtualLoop()
    # What killed workers leave behind is nobody's business.
    loop.set_exception_handler(lambda _, context: None)
    try:
        return loop.run_until_complete(coroutine)
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
