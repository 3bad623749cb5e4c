"""The garbage collector walks what is new, never everything that lives.

Cells, definitions and routes live long, and a walk over millions of them holds the event loop for
seconds. So what a walk has found alive is passed over from then on, once there is much of it or
memory grows. What is dropped of it goes as its last reference does: cycles among what lives long
are broken where it is dropped (`tables.cells.cell.Span.drop`).
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from resource import RUSAGE_SELF, getrusage
from typing import Any

THRESHOLDS = (20_000, 1, 1)
"""Slices of events make hardly any garbage that only the collector finds, and die at once: the
young are walked seldom, 20,000 at a time, those of a middle age by 40,000. A walk takes up to 1 µs
an object on a busy machine.
"""

MUCH_S = 0.02
"""A walk over what is passed over from then on takes so long: at least 20,000 objects."""

GROWN = (2 << 20) // (1 if sys.platform == "darwin" else 1024)
"""Memory grows by so much beyond the most there ever was: most of what is new stays then.

It is in the unit of `ru_maxrss`. What only comes and goes stays below the most there ever was, so
it is not passed over for that.
"""


class Collecting:
    """Lets the collector pass over what lives long."""

    def __init__(self) -> None:
        self._began_s = 0.0
        self._most = 0
        """The most memory there ever was, when objects were frozen last for more of it."""

    def start(self) -> None:
        """Freeze live objects after long collections, and as memory grows, from now on."""
        self._most = _most_memory()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._note)

    def stop(self) -> None:
        """Stop freezing live objects after long collections."""
        with suppress(ValueError):
            gc.callbacks.remove(self._note)

    def _note(self, phase: str, told: Mapping[str, Any]) -> None:
        if phase == "start":
            self._began_s = time.perf_counter()
            return
        most = _most_memory()
        if most - self._most >= GROWN:
            self._most = most
            gc.freeze()
        elif told["generation"] and time.perf_counter() - self._began_s > MUCH_S:
            gc.freeze()


def _most_memory() -> int:
    return getrusage(RUSAGE_SELF).ru_maxrss


def pass_over() -> None:
    """Walk what long work has made so far, and pass over it from then on.

    Where it puts new in place of old, the collector does not notice: it counts one against the
    other, until the young are too many to be walked at once.
    """
    gc.collect(1)
    gc.freeze()
