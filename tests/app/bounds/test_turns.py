"""Turns of the event loop: nobody holds it, and nobody is shut out.

The clock is the test's own: a step takes what it says, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from typing import Any, NoReturn

import pytest

from app.bounds.turns import (
    SORTED_AT_ONCE,
    STEP_ITEMS,
    TURN_S,
    Kind,
    Turns,
    Work,
    drained,
    freeing,
    in_order,
    weighed,
)
from tests.world.waiting import PATIENCE_S


class Clock:
    """Stands still but for the steps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def busy(self, seconds: float, step_s: float = 0.001) -> Generator[None, None, float]:
        """Steps that take so long in all."""
        steps = round(seconds / step_s)
        for _ in range(steps):
            self.now_s += step_s
            yield
        return steps * step_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def turns(clock: Clock) -> Turns:
    return Turns(clock)


async def longest_wait(clock: Clock, until: asyncio.Future[Any]) -> float:
    """How long the event loop was held at most."""
    worst_s, before_s = 0.0, clock()
    while not until.done():
        await asyncio.sleep(0)
        worst_s, before_s = max(worst_s, clock() - before_s), clock()
    return worst_s


async def test_the_outcome_is_what_the_steps_return(turns: Turns, clock: Clock) -> None:
    assert await turns.run(Work("scan"), clock.busy(0.003)) == pytest.approx(0.003)


async def test_a_failing_step_fails_its_work_and_nobody_elses(turns: Turns, clock: Clock) -> None:
    def fails() -> Generator[None, None, NoReturn]:
        yield
        raise ValueError("half-way")

    with pytest.raises(ValueError, match="half-way"):
        await turns.run(Work("scan"), fails())
    assert await turns.run(Work("fold"), clock.busy(0.002)) == pytest.approx(0.002)


async def test_many_at_once_hold_the_loop_no_longer_than_one(turns: Turns, clock: Clock) -> None:
    kinds: tuple[Kind, ...] = ("fold", "request", "scan", "refold", "page")
    works = asyncio.ensure_future(
        asyncio.gather(*(turns.run(Work(kind, "", "o"), clock.busy(0.1)) for kind in kinds * 2))
    )
    # One turn and the step that ends it; ten turns in a row would be 100 ms.
    assert await longest_wait(clock, works) <= 2 * TURN_S


async def test_short_works_of_a_task_have_a_turn_together(turns: Turns, clock: Clock) -> None:
    """Until it is over, or the loop has gone round."""
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0)
            rounds += 1

    counting = asyncio.ensure_future(count())
    others = asyncio.ensure_future(turns.run(Work("fold"), clock.busy(2 * TURN_S)))
    await turns.wait(Work("fold"))
    before = rounds
    for _ in range(4):
        await turns.run(Work("fold"), clock.busy(TURN_S / 5))
    assert rounds == before
    assert not others.done()
    await turns.run(Work("fold"), clock.busy(TURN_S / 5))
    await turns.run(Work("fold"), clock.busy(TURN_S / 5))
    assert rounds > before
    before = rounds
    await asyncio.sleep(0)
    await turns.run(Work("fold"), clock.busy(TURN_S / 5))
    assert rounds > before + 1
    counting.cancel()
    await others


async def test_another_task_does_not_go_on_in_a_turn_that_has_ended(
    turns: Turns, clock: Clock
) -> None:
    """Each has a round of the loop, or many short works would hold it together."""
    works = [asyncio.ensure_future(turns.run(Work("fold"), clock.busy(0.001))) for _ in range(9)]
    all_done = asyncio.ensure_future(asyncio.wait(works))
    assert await longest_wait(clock, all_done) == pytest.approx(0.001)


async def test_the_rest_has_at_most_half_while_there_is_something_to_fold(
    turns: Turns, clock: Clock
) -> None:
    folding = asyncio.ensure_future(turns.run(Work("fold"), clock.busy(0.3)))
    scanning = asyncio.ensure_future(turns.run(Work("scan"), clock.busy(0.3)))
    await asyncio.wait([folding, scanning], return_when=asyncio.FIRST_COMPLETED)
    assert folding.done()
    assert not scanning.done()
    await scanning


async def test_a_backlog_does_not_shut_the_rest_out(turns: Turns, clock: Clock) -> None:
    folding = asyncio.ensure_future(turns.run(Work("fold"), clock.busy(0.5)))
    await turns.run(Work("scan"), clock.busy(0.05))
    assert not folding.done()
    await folding


async def test_while_the_fold_waits_for_something_else_the_rest_waits_as_long_as_it_took(
    turns: Turns, clock: Clock
) -> None:
    with turns.folding():
        scan = asyncio.ensure_future(turns.run(Work("scan"), clock.busy(1.0, TURN_S)))
        await asyncio.sleep(5 * TURN_S)
        assert clock() == pytest.approx(TURN_S)
        await turns.run(Work("fold"), clock.busy(TURN_S / 2))
        await asyncio.sleep(5 * TURN_S)
        assert clock() == pytest.approx(1.5 * TURN_S)
        await turns.run(Work("request"), clock.busy(TURN_S / 2))
        await asyncio.sleep(5 * TURN_S)
        assert clock() == pytest.approx(3 * TURN_S)
    async with asyncio.timeout(PATIENCE_S):
        assert await scan == pytest.approx(1.0)


async def test_organizations_take_turns_by_the_time_they_used(turns: Turns, clock: Clock) -> None:
    greedy = [
        asyncio.ensure_future(turns.run(Work("scan", "", "greedy"), clock.busy(0.1)))
        for _ in range(5)
    ]
    began_s = clock()
    await turns.run(Work("scan", "", "modest"), clock.busy(0.05))
    assert clock() - began_s < 0.25
    assert not all(each.done() for each in greedy)
    await asyncio.gather(*greedy)


async def test_a_cancelled_work_is_closed_and_gives_its_turn_back(
    turns: Turns, clock: Clock
) -> None:
    closed = asyncio.Event()

    def endless() -> Generator[None, None, None]:
        try:
            while True:
                yield from clock.busy(1.0)
        finally:
            closed.set()

    task = asyncio.ensure_future(turns.run(Work("scan"), endless()))
    await asyncio.sleep(0.03)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed.is_set()
    assert await turns.run(Work("fold"), clock.busy(0.002)) == pytest.approx(0.002)


async def test_cancelled_at_the_moment_of_its_turn_it_gives_that_back_too(
    turns: Turns, clock: Clock
) -> None:
    for _ in range(50):
        tasks = [asyncio.ensure_future(turns.run(Work("scan"), clock.busy(0.02))) for _ in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(PATIENCE_S):
        await turns.run(Work("fold"), clock.busy(0.002))


async def test_a_step_that_holds_the_loop_is_counted_and_told_once(
    turns: Turns, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "app.bounds.turns"):
        for _ in range(2):
            await turns.run(Work("scan", "explain", "o"), clock.busy(0.3, step_s=0.3))
    assert turns.held_s["scan"] == pytest.approx(0.6)
    (told,) = caplog.records
    assert told.getMessage().endswith("by scan: explain")
    assert told.__dict__["facts"].items() >= {"organization": "o", "by": "scan"}.items()


async def test_requests_that_used_much_have_turns_while_events_are_folded(
    turns: Turns, clock: Clock
) -> None:
    turns.used(Work("request"), 0.9)
    folding = asyncio.create_task(turns.run(Work("fold"), clock.busy(0.5)))
    await asyncio.sleep(0)
    await turns.run(Work("request"), clock.busy(0.01))
    assert not folding.done()
    await folding


@pytest.mark.parametrize("many", [0, 1, SORTED_AT_ONCE, 3 * SORTED_AT_ONCE + 1])
def test_many_are_sorted_a_part_at_a_step(many: int) -> None:
    """Equal ones stay as they were."""
    items = [(number * 7_919 % 100, number) for number in range(many)]
    asked: list[int] = []

    def key(item: tuple[int, int]) -> int:
        asked.append(1)
        return item[0]

    steps = in_order(items, key)
    for part in range(-(-many // SORTED_AT_ONCE)):
        next(steps)
        assert len(asked) == min(many, (part + 1) * SORTED_AT_ONCE)
    assert list(drained(steps)) == sorted(items)


async def test_what_all_have_used_is_what_each_has(turns: Turns, clock: Clock) -> None:
    """Nobody adds it up at each turn: very many organizations may have used some."""
    kinds: tuple[Kind, ...] = ("fold", "request", "other")
    for number in range(30):
        work = Work(kinds[number % 3], organization=f"org-{number}")
        await turns.run(work, clock.busy(0.1 * number))
        each = [sum(used.values()) for used in turns._used]
        assert turns._used_in_all == pytest.approx(each)
    assert max(turns._used_in_all) > 0


@pytest.mark.parametrize("kind", [set, list])
def test_very_many_items_are_freed_a_part_at_a_step(
    kind: type[set[int]] | type[list[int]],
) -> None:
    items = kind(range(3 * SORTED_AT_ONCE))
    left = [len(items) for _ in freeing(items)]
    assert left == [2 * SORTED_AT_ONCE, SORTED_AT_ONCE]
    assert not list(freeing(items))


def test_what_is_weighed_comes_so_few_at_a_time_as_a_step_takes() -> None:
    weights = [STEP_ITEMS - 1, 1, 1, 5 * STEP_ITEMS, 2, STEP_ITEMS]
    some = list(weighed(weights, lambda weight: weight))
    assert some == [[STEP_ITEMS - 1, 1], [1], [5 * STEP_ITEMS], [2], [STEP_ITEMS]]
    assert not list(weighed([], len))
