"""What an operation costs follows what it touches: counted at a size, and at ten times the size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from app.definitions import commands
from bench.growth.past import event_while_alerts_stand
from bench.growth.rows import ROWS, Row
from bench.growth.spent import Spent, steps_of
from bench.growth.swept import definition_swept, due_times_swept, history_swept
from bench.growth.world import ORG, World, name_of
from bench.world import subscription_of
from tables.partition import timelines
from tables.partition.redirection import Renewed
from tables.routing import route
from tables.routing.plan import CodeCharges


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_an_operation_costs_the_same_beside_ten_times_as_much(row: Row) -> None:
    small, large = (row.play(size) for size in row.sizes[:2])
    assert large.steps <= row.most * small.steps
    assert large.touched == pytest.approx(small.touched)


@pytest.mark.parametrize(
    ("sweep", "most"),
    [
        pytest.param(definition_swept, 485, id="settings"),
        pytest.param(due_times_swept, 1_350, id="settings-of-due-times"),
        pytest.param(partial(due_times_swept, anniversaries=True), 1_570, id="anniversaries"),
        pytest.param(partial(due_times_swept, others_watch=True), 1_800, id="others-watch"),
        pytest.param(history_swept, 1_580, id="history"),
    ],
)
def test_a_sweep_takes_few_steps_for_each(sweep: Callable[[int], Spent], most: int) -> None:
    assert sweep(1_000).steps <= most


def test_an_event_of_a_watched_cell_takes_few_steps() -> None:
    assert event_while_alerts_stand(1).steps <= 1_400


@pytest.mark.parametrize("times", [10, 30])
def test_of_who_begins_anew_those_that_ended_are_not_looked_at(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription that is at hand: its timelines, their runs and periods stay as they are."""
    world, counts = World(1), Counter[str]()
    for _ in range(times):
        world.begin_anew(0)
    world.now_ms = world.definitions.append_time_ms + 1
    world.fold([world.event(0, at_ms=world.now_ms)])

    def counting(of: object, name: str) -> None:
        counted = getattr(of, name)

        def counts_one(*args: Any, **named: Any) -> Any:
            counts[name] += 1
            return counted(*args, **named)

        monkeypatch.setattr(of, name, counts_one)

    # What is looked at first is kept.
    world.begin_anew(0)
    counting(timelines, "subscription_timeline")
    counting(CodeCharges, "runs")
    counting(route, "led")
    world.begin_anew(0)
    assert counts["subscription_timeline"] == 2
    assert counts["runs"] <= 4
    assert counts["led"] <= 8


MANY_CODES = 240
STEPS_A_CODE = 150


@pytest.mark.parametrize("rests", [False, True])
def test_a_look_at_many_codes_takes_small_steps(rests: bool) -> None:
    fewer = MANY_CODES // 3
    few, many = (_longest_look(codes, rests=rests) for codes in (fewer, MANY_CODES))
    # Of one code more it takes 2 us: some thousand of them would make a step of 10 ms.
    assert many - few <= STEPS_A_CODE * (MANY_CODES - fewer)


def _longest_look(codes: int, *, rests: bool) -> int:
    """Return the most steps in a row of a look at a subscription that has events of so many codes.

    `rests`: its cells are packed, and stay so.
    """
    world, longest = World(1), 0
    world.charge_more(MANY_CODES)
    world.fold([world.event(0, f"more{number}") for number in range(codes)])
    world.flush()
    if rests:
        world.state.packing.pack(name_of(0))
    told = {"external_id": subscription_of(0)["external_customer_id"]}
    world.now_ms = world.definitions.append_time_ms
    grace = {"billing_configuration": {"invoice_grace_period": 3}}
    world.define(commands.upsert_customer(ORG, told | grace))
    looking, is_over = world.state.redefinition.renewing(), list[bool]()

    def look() -> None:
        if next(looking, _OVER) is _OVER:
            is_over.append(True)

    while not is_over:
        longest = max(longest, steps_of(look))
    assert world.state.packing.is_packed(name_of(0)) == rests
    return longest


_OVER = Renewed(("", ""), set(), False)


def test_steps_are_counted_whatever_takes_them() -> None:
    def looped(times: int) -> Any:
        return [number + 1 for number in range(times)]

    once, often = (steps_of(lambda n=n: looped(n)) for n in (10, 1_010))  # type: ignore[misc]
    assert often - once == pytest.approx(1_000 * 6, rel=0.4)
