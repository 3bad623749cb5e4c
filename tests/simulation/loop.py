"""An event loop whose time is only counted: whoever sleeps is woken at once, in order of time.

It is all that tasks, futures and timeouts ask of a loop, and nothing else: no sockets, no threads.
Callbacks run in the order in which asyncio's own loop would run them.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context, copy_context
from functools import wraps
from heapq import heapify, heappop, heappush
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")

_ROUNDING_S = 1e-9
"""A little more than asked for, or rounding would keep a timer from ever being due."""
_MOST_CANCELLED = 100
_LONGEST_S = 86_400.0

Callback = Callable[..., object]


class Stuck(RuntimeError):
    """Everything waits for something that nobody will do."""


class _Call:
    """A callback that is due."""

    __slots__ = ("args", "callback", "cancelled", "context")

    def __init__(self, callback: Callback, args: tuple[Any, ...], context: Context):
        self.callback = callback
        self.args = args
        self.context = context
        self.cancelled = False

    def cancel(self) -> None:
        """Let it not run."""
        self.cancelled = True


class _Timer(float):
    """A callback that is due at a time, which it is compared by."""

    __slots__ = ("args", "callback", "cancelled", "context", "loop", "waits")

    loop: VirtualLoop
    callback: Callback
    args: tuple[Any, ...]
    context: Context
    cancelled: bool
    waits: bool

    def when(self) -> float:
        """Seconds of the loop."""
        return float(self)

    def cancel(self) -> None:
        """Let it not run."""
        if not self.cancelled:
            self.cancelled = True
            self.loop.cancelled_timers += self.waits


class VirtualLoop:
    """The same coroutines run in the same order every time."""

    def __init__(self) -> None:
        self.cancelled_timers = 0
        """How many of those that wait."""
        self._now_s = 0.0
        self._ready: deque[_Call | _Timer] = deque()
        self._timers: list[_Timer] = []
        self._closed = False
        self._factory: Callable[..., asyncio.Task[Any]] | None = None

    def time(self) -> float:
        """Seconds since the start."""
        return self._now_s

    def spend(self, seconds: float) -> None:
        """Let so much time pass while something runs: timers are due, and others go on."""
        self._now_s += seconds

    def get_debug(self) -> bool:
        """Nothing is checked more closely."""
        return False

    def is_running(self) -> bool:
        """Asked only by those who run in it."""
        return True

    def is_closed(self) -> bool:
        """Whether nothing runs any more."""
        return self._closed

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What killed workers leave behind is nobody's business."""

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=cast(asyncio.AbstractEventLoop, self))

    def set_task_factory(self, factory: Callable[..., asyncio.Task[Any]]) -> None:
        """Let `factory` make all tasks from now on."""
        self._factory = factory

    def create_task(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Run a coroutine as a task."""
        make: Callable[..., asyncio.Task[Any]] = self._factory or asyncio.Task
        return make(coroutine, loop=self, name=name, context=context)

    def call_soon(self, callback: Callback, *args: Any, context: Context | None = None) -> _Call:
        """Call it in the next round."""
        call = _Call(callback, args, copy_context() if context is None else context)
        self._ready.append(call)
        return call

    def call_later(
        self, delay_s: float, callback: Callback, *args: Any, context: Context | None = None
    ) -> _Timer:
        """Call it after so many seconds."""
        return self.call_at(self._now_s + delay_s, callback, *args, context=context)

    def call_at(
        self, when_s: float, callback: Callback, *args: Any, context: Context | None = None
    ) -> _Timer:
        """Call it at that time."""
        timer = _Timer(when_s)
        timer.loop, timer.callback, timer.args = self, callback, args
        timer.context = copy_context() if context is None else context
        timer.cancelled, timer.waits = False, True
        heappush(self._timers, timer)
        return timer

    def run_until_complete(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run until the coroutine has ended."""
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=self._finalize)
        asyncio._set_running_loop(cast(asyncio.AbstractEventLoop, self))
        try:
            task = self.create_task(coroutine)
            ended: list[object] = []
            task.add_done_callback(ended.append)
            while not ended:
                self._run_once()
            return task.result()
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)

    def close(self) -> None:
        """Forget whatever still waits."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        if not self._closed:
            self.call_soon(self.create_task, generator.aclose())

    def _run_once(self) -> None:
        ready = self._ready
        self._drop_cancelled()
        timers = self._timers
        if not ready:
            if not timers:
                raise Stuck("no task can go on")
            wait_s = min(timers[0] - self._now_s, _LONGEST_S)
            if wait_s > 0:
                self._now_s += wait_s + _ROUNDING_S
        until_s = self._now_s + _ROUNDING_S
        while timers and timers[0] < until_s:
            timer = heappop(timers)
            timer.waits = False
            ready.append(timer)
        for _ in range(len(ready)):
            call = ready.popleft()
            if not call.cancelled:
                try:
                    call.context.run(call.callback, *call.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:
                    self.call_exception_handler({"exception": error})

    def _drop_cancelled(self) -> None:
        timers = self._timers
        if len(timers) > _MOST_CANCELLED and self.cancelled_timers > len(timers) / 2:
            for timer in timers:
                timer.waits = not timer.cancelled
            timers[:] = [timer for timer in timers if timer.waits]
            heapify(timers)
            self.cancelled_timers = 0
        while timers and timers[0].cancelled:
            self.cancelled_timers -= 1
            heappop(timers).waits = False


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        for task in asyncio.all_tasks(cast(asyncio.AbstractEventLoop, loop)):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()


def in_virtual_time(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Have a test of times run on a loop of its own: no machine is too slow for it there."""

    @wraps(test)
    def played(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(test(*args, **kwargs))

    return played
