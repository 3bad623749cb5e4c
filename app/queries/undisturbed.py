"""Looks at the definitions that take many steps, though records may be applied between two."""

from __future__ import annotations

from collections.abc import Callable

from app.bounds.turns import Steps, T
from app.definitions.state import Definitions
from app.meter.errors import Unavailable

_TIMES = 3


def undisturbed(definitions: Definitions, begun: Callable[[], Steps[T]]) -> Steps[T]:
    """Take steps that look at what the definitions are; begin again when they change meanwhile.

    Raises:
        Unavailable: they changed each time.
    """
    for _ in range(_TIMES):
        known, steps = definitions.records_applied, begun()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outcome: T = end.value
                return outcome
            yield
            if definitions.records_applied != known:
                # It looks at what it began with, which is another by now.
                steps.close()
                break
    raise Unavailable("the definitions change all the time")
