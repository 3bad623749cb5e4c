"""The worker measures itself: how late its event loop runs, and who held it.

Seen here: a task due every 10 ms observes how late it runs. Who holds the loop, the turns know for
all that runs by turns and for requests; what nobody is named for counts as `other`.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import sys
import time
from collections.abc import Iterator, Mapping
from io import UnsupportedOperation
from typing import IO, Any, get_args

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.bounds.turns import HELD_S, Kind, Turns, Work

DUE_EVERY_S = 0.010
STANDS_S = 5.0
"""When the loop has not turned for so long, the main thread's stack is written."""

_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ARMED_EVERY_S = 0.5
"""Arming makes a thread: not for every turn."""

_GC = Work("gc", "garbage collection")
_OTHER = Work("other", "nobody who runs by turns")


class Stall(Collector):
    """`meter_loop_stall_seconds` and `meter_loop_held_seconds_total` of one event loop."""

    def __init__(self, turns: Turns, registry: CollectorRegistry):
        self._turns = turns
        self._late = Histogram(
            "meter_loop_stall_seconds",
            "How late a task of the event loop runs that is due every 10 ms.",
            buckets=_BUCKETS_S,
            registry=registry,
        )
        registry.register(self)
        self._collecting_since_s = 0.0
        self._output: IO[str] | None = None
        self._armed_s = 0.0
        self._due_s = 0.0
        self._named_s = 0.0
        """Seconds for which the loop was held, as far as somebody is named for them."""
        self._next: asyncio.TimerHandle | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield the seconds for which the loop was held over 50 ms at a time, by who held it."""
        held = CounterMetricFamily(
            "meter_loop_held_seconds",
            "Time for which the event loop was held longer than 50 ms at once, by what held it.",
            labels=["by"],
        )
        for kind in get_args(Kind):
            held.add_metric([kind], self._turns.held_s.get(kind, 0.0))
        yield held

    def start(self) -> None:
        """Measure the running loop from now on."""
        gc.callbacks.append(self._note_collection)
        self._output, self._armed_s = _standard_error(), 0.0
        self._named_s = _sum(self._turns.held_s)
        loop = asyncio.get_running_loop()
        self._due_s = loop.time()
        self._observe(loop)

    async def stop(self) -> None:
        """Measure no more."""
        if self._next is None:
            return
        gc.callbacks.remove(self._note_collection)
        self._next.cancel()
        self._next = None
        faulthandler.cancel_dump_traceback_later()

    def _observe(self, loop: asyncio.AbstractEventLoop) -> None:
        # A timer, not a task that sleeps: a hundred times a second that would cost twice as much.
        now_s = loop.time()
        late_s = max(0.0, now_s - self._due_s)
        self._late.observe(late_s)
        named_before_s, self._named_s = self._named_s, _sum(self._turns.held_s)
        unnamed_s = late_s - (self._named_s - named_before_s)
        if unnamed_s > HELD_S:
            self._turns.note_held(_OTHER, unnamed_s)
            self._named_s += unnamed_s
        if self._output is not None and now_s - self._armed_s > _ARMED_EVERY_S:
            self._armed_s = now_s
            # Its thread needs no lock of the interpreter, which may be what is held.
            faulthandler.dump_traceback_later(STANDS_S + _ARMED_EVERY_S, file=self._output)
        self._due_s = now_s + DUE_EVERY_S
        self._next = loop.call_at(self._due_s, self._observe, loop)

    def _note_collection(self, phase: str, _: Mapping[str, Any]) -> None:
        now_s = time.perf_counter()
        if phase == "start":
            self._collecting_since_s = now_s
        else:
            self._turns.interrupted(_GC, now_s - self._collecting_since_s)


def _sum(held_s: Mapping[str, float]) -> float:
    return sum(held_s.values())


def _standard_error() -> IO[str] | None:
    """Return standard error, if it is a file that a thread can write to."""
    with contextlib.suppress(AttributeError, UnsupportedOperation, ValueError):
        sys.stderr.fileno()
        return sys.stderr
    return None
