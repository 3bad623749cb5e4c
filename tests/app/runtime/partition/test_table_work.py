"""Work on the tables of a partition lets the fold and the flush in between."""

from __future__ import annotations

import asyncio

from app.bounds.turns import TURN_S, Turns, Work
from app.definitions.state import Definitions
from app.runtime.partition.life import Life, State
from app.runtime.partition.table_work import TableWork
from tests.app.bounds.test_turns import Clock
from tests.app.runtime.alone import context_of


async def test_whoever_wants_the_tables_has_them_after_one_turn_of_long_steps() -> None:
    clock = Clock()
    context = context_of(Definitions())
    context.turns = Turns(clock)
    work = TableWork(Life(0, context, State.RUNNING))
    waited_s: list[float] = []

    async def fold() -> None:
        while not closing.done():
            wanted_s = clock()
            async with work.lock:
                waited_s.append(clock() - wanted_s)
            await asyncio.sleep(0)

    closing = asyncio.create_task(work.run(Work("close"), clock.busy(1.0, step_s=0.4 * TURN_S)))
    await asyncio.gather(closing, fold())
    assert len(waited_s) > 50
    assert max(waited_s) < 2 * TURN_S
