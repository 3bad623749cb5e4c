"""Work on the tables of a partition, in small steps that others come between."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TypeVar

from app.bounds.collecting import pass_over
from app.bounds.turns import TURN_S, Steps, Work
from app.runtime.partition.life import Life

STEPS_AT_ONCE = 64
"""Most steps of one portion, which also ends with its turn of the loop. Between two portions a fold
or a flush may change the tables."""

PASSED_OVER_EVERY = 4
"""Portions after which the garbage collector looks at the objects that they made."""

T = TypeVar("T")


class TableWork:
    """The locks on the tables of one partition, and work that changes these tables in steps."""

    def __init__(self, life: Life):
        self._life = life
        self.shaping = asyncio.Lock()
        """Held while a cut is taken, definitions are looked at or a refold is swapped in. One of
        these happens at a time, each in many turns. Taken before `lock`."""
        self.lock = asyncio.Lock()
        """Held while arrivals and offsets move together, while a flush is taken, while cells are
        swapped; never while the flush is sent."""

    async def run(self, work: Work, steps: Generator[None, None, T]) -> T:
        """Change the tables in small steps, each whole; a flush or a fold may come between them."""
        turns, urgent, portions = self._life.context.turns, work._replace(urgent=True), 0
        while True:
            # It waits for its share of time first: meanwhile the fold need not.
            await turns.wait(work)
            async with self.lock:
                ended = await turns.run(urgent, self._portion(steps))
            if ended is not None:
                return ended[0]
            portions += 1
            if portions % PASSED_OVER_EVERY == 0:
                with turns.holding(work):
                    pass_over()

    def _portion(self, steps: Generator[None, None, T]) -> Steps[tuple[T] | None]:
        """Take the steps of one turn; return a tuple of the outcome after the last, else None."""
        clock = self._life.context.turns.clock
        until_s = clock() + TURN_S
        for _ in range(STEPS_AT_ONCE):
            with self._life.change():
                try:
                    next(steps)
                except StopIteration as end:
                    return (end.value,)
            if clock() >= until_s:
                # To hold the lock until the next turn would keep the fold waiting.
                break
            yield
        return None
