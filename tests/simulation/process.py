"""A worker process as clients see it: alive, stopped for a while like a zombie, or killed."""

from __future__ import annotations

import asyncio
import random
from contextvars import ContextVar

from app.failpoints import Name

PROCESS: ContextVar[Process] = ContextVar("process")
"""Of the running task; tasks inherit it."""


class SimulatedClock:
    """Time of the broker: years pass in a leap, and seconds with the loop."""

    def __init__(self, start_ms: int):
        self.start_ms = start_ms
        self.monotonic_s = asyncio.get_running_loop().time
        """Seconds of the loop."""
        self.leapt_ms = 0
        self.back_ms = 0
        """How far an operator has set the broker's clock back."""

    def now_ms(self) -> int:
        """What the broker stamps."""
        elapsed_ms = int(self.monotonic_s() * 1000)
        return self.start_ms + self.leapt_ms - self.back_ms + elapsed_ms


class SkewedClock:
    """A worker's clock: off by some minutes."""

    def __init__(self, clock: SimulatedClock):
        self._clock = clock
        self.monotonic_s = clock.monotonic_s
        """Seconds of the loop."""
        self.skew_ms = 0

    def now_ms(self) -> int:
        """What the worker takes the time to be."""
        return self._clock.now_ms() + self.skew_ms


class Process:
    """Tasks that live and die together."""

    def __init__(self, choose: random.Random):
        self.choose = choose
        self.dead = False
        self.tasks: list[asyncio.Task[object]] = []
        self.dies_at: Name | None = None
        """The failpoint at which it is killed."""
        self.next_commit: str | None = None
        """What the next commit comes to: `lost` or `unknown`."""
        self._most_tasks = _FEW_TASKS
        self._running = asyncio.Event()
        self._running.set()

    def hold(self, task: asyncio.Task[object]) -> None:
        """One more task; those that have ended are let go of now and then."""
        self.tasks.append(task)
        if len(self.tasks) > self._most_tasks:
            self.tasks = [task for task in self.tasks if not task.done()]
            self._most_tasks = 2 * len(self.tasks) + _FEW_TASKS

    def stop(self) -> None:
        """SIGSTOP: nothing that it asks for is answered until it is continued."""
        self._running.clear()

    def go_on(self) -> None:
        """SIGCONT."""
        self._running.set()

    @property
    def stopped(self) -> bool:
        """Whether it is a zombie."""
        return not self._running.is_set()

    def kill(self) -> None:
        """SIGKILL."""
        self.dead = True
        self._running.set()
        current = asyncio.current_task()
        for task in self.tasks:
            if task is not current:
                task.cancel()

    async def passes(self) -> None:
        """A call to a server is on its way; it never comes back to the dead."""
        if not self._running.is_set():
            await self._running.wait()
        elif not self.dead and self.choose.random() < 0.3:
            await asyncio.sleep(self.choose.choice(_DELAYS_S))
        if self.dead:
            raise asyncio.CancelledError


_FEW_TASKS = 50
_DELAYS_S = (0, 0, 0.01, 0.2)


def failpoint(name: Name) -> None:
    """Die here if it is this one that is armed."""
    process = PROCESS.get()
    if process.dies_at == name:
        process.dies_at = None
        process.kill()
        raise asyncio.CancelledError
