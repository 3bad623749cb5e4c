"""The worker measures itself: how late its event loop runs, and who held it.

Seen here: a task due every 10 ms observes how late it runs. While nothing runs by turns it is due
every 40 ms, so that a loop with nothing to do wakes seldom and what holds it for 50 ms is seen.
Who holds the loop, the turns know for all that runs by turns and for requests; what nobody is named
for counts as `other`.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from io import UnsupportedOperation
from itertools import accumulate
from typing import IO, Any, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from app.bounds.turns import HELD_S, Kind, Turns, Work

DUE_EVERY_S = 0.010
DUES_AT_REST = 4
"""Times at which the task would be due, for one at which it is, while nothing runs by turns."""
STANDS_S = 5.0
"""When the loop has not turned for so long the main thread's stack is written, or soon after."""

_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_ON_TIME_S = _BUCKETS_S[0]
_ARMED_EVERY_S = 5.0
"""Arming makes a thread: not for every turn. The stack is written by so much later at most."""

_GC = Work("gc", "garbage collection")
_OTHER = Work("other", "nobody who runs by turns")


class Stall(Collector):
    """`meter_loop_stall_seconds` and `meter_loop_held_seconds_total` of one event loop."""

    def __init__(self, turns: Turns, registry: CollectorRegistry):
        self._turns = turns
        self._counts = [0] * (len(_BUCKETS_S) + 1)
        """How often it was late so far, by bucket; last: later than all of them."""
        self._late_s = 0.0
        registry.register(self)
        self._collecting_since_s = 0.0
        self._output: IO[str] | None = None
        self._armed_s = 0.0
        self._due_s = 0.0
        self._dues = 1
        """Times at which the task would have been due by the next one, that one included."""
        self._stirred = True
        """Whether a step has begun since the task ran."""
        self._named_s = 0.0
        """Seconds for which the loop was held, as far as somebody is named for them."""
        self._next: asyncio.TimerHandle | None = None

    def collect(self) -> Iterator[Metric]:
        """Yield how late the loop ran, and for how long it was held over 50 ms, by whom."""
        bounds = [*map(str, _BUCKETS_S), "+Inf"]
        yield HistogramMetricFamily(
            "meter_loop_stall_seconds",
            "How late a task of the event loop runs that is due every 10 ms, at rest every 40.",
            buckets=list(zip(bounds, accumulate(self._counts), strict=True)),
            sum_value=self._late_s,
        )
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
        self._named_s = self._turns.held_in_all_s
        loop = asyncio.get_running_loop()
        self._due_s, self._dues, self._stirred = loop.time(), 1, True
        self._observe(loop)

    async def stop(self) -> None:
        """Measure no more."""
        if self._next is None:
            return
        gc.callbacks.remove(self._note_collection)
        self._next.cancel()
        self._next = None
        self._turns.call_at_next(None)
        faulthandler.cancel_dump_traceback_later()

    def _observe(self, loop: asyncio.AbstractEventLoop) -> None:
        # A timer, not a task that sleeps, and counts of our own: it comes a hundred times a second
        # while something runs, and 25 times while nothing does.
        now_s = loop.time()
        late_s = now_s - self._due_s
        if late_s > _ON_TIME_S:
            self._note_late(late_s)
        else:
            self._counts[0] += self._dues
            if late_s > 0.0:
                self._late_s += late_s
            self._named_s = self._turns.held_in_all_s
        if self._output is not None and now_s - self._armed_s > _ARMED_EVERY_S:
            self._armed_s = now_s
            # Its thread needs no lock of the interpreter, which may be what is held.
            faulthandler.dump_traceback_later(STANDS_S + _ARMED_EVERY_S, file=self._output)
        self._dues = 1 if self._stirred else DUES_AT_REST
        if self._stirred:
            self._stirred = False
            self._turns.call_at_next(self._stir)
        self._due_s = now_s + DUE_EVERY_S * self._dues
        self._next = loop.call_at(self._due_s, self._observe, loop)

    def _stir(self) -> None:
        """Be due in 10 ms: something runs."""
        self._stirred = True
        if self._dues > 1 and self._next is not None:
            self._next.cancel()
            self._dues = 1
            loop = asyncio.get_running_loop()
            self._due_s = min(self._due_s, loop.time() + DUE_EVERY_S)
            self._next = loop.call_at(self._due_s, self._observe, loop)

    def _note_late(self, late_s: float) -> None:
        self._counts[bisect_left(_BUCKETS_S, late_s)] += 1
        self._late_s += late_s
        named_before_s, self._named_s = self._named_s, self._turns.held_in_all_s
        unnamed_s = late_s - (self._named_s - named_before_s)
        if unnamed_s > HELD_S:
            self._turns.note_held(_OTHER, unnamed_s)
            self._named_s = self._turns.held_in_all_s

    def _note_collection(self, phase: str, _: Mapping[str, Any]) -> None:
        now_s = time.perf_counter()
        if phase == "start":
            self._collecting_since_s = now_s
        else:
            self._turns.interrupted(_GC, now_s - self._collecting_since_s)


def _standard_error() -> IO[str] | None:
    """Return standard error, if it is a file that a thread can write to."""
    with contextlib.suppress(AttributeError, UnsupportedOperation, ValueError):
        sys.stderr.fileno()
        return sys.stderr
    return None
