"""Seeds played in every run of the suite, and scripts written by hand."""

from __future__ import annotations

import pytest

from tests.simulation.play import play
from tests.simulation.script import (
    CRASH,
    REBALANCE,
    TORN,
    Define,
    Event,
    Fault,
    Script,
    Step,
    script_of,
)
from tests.simulation.shrink import shrink

SEEDS = 500
A_TEST = 25


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SEEDS, A_TEST))
def test_seeds_come_to_the_offline_fold(first: int) -> None:
    """`python -m tests.simulation --seed N` replays one."""
    violated = {
        seed: found
        for seed in range(first, first + A_TEST)
        if (found := play(script_of(seed), seed).check())
    }
    assert not violated


def test_every_seed_has_twenty_faults() -> None:
    assert {script_of(seed).faults for seed in range(50)} == {20}


def base() -> list[Define]:
    """Definitions of a seed: metrics `average`, plans, customer, two subscriptions."""
    script = script_of(2)
    return [step for step in script.steps if isinstance(step, Define)][:9]


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_one_fault_between_events(fault: Fault) -> None:
    """`[event, event, FAULT, event, FAULT, event]`."""
    events = [Event("seats", f"t{i}", 0, properties={"u": "ab"[i % 2]}, place=i) for i in range(5)]
    steps: list[Step] = [*events[:2], fault, events[2], fault, *events[3:]]
    outcome = play(Script(2, 2, [*base(), *steps]))
    assert outcome.check() == []
    assert len({entry.value for entry in outcome.raw() if entry.value is not None}) == 5


def test_faults_one_after_the_other() -> None:
    steps: list[Step] = [
        *base(),
        Event("seats", "t0", properties={"u": "a"}),
        CRASH,
        Event("seats", "t1", properties={"u": "b"}),
        REBALANCE,
        TORN,
        Event("seats", "t2", properties={"u": "c"}),
    ]
    assert play(Script(2, 3, steps)).check() == []


def test_the_same_seed_plays_the_same() -> None:
    one, two = (play(script_of(7), 7) for _ in range(2))
    assert [entry[:4] for entry in one.raw()] == [entry[:4] for entry in two.raw()]
    assert one.records == two.records


def test_shrinking_keeps_what_is_needed() -> None:
    steps: list[Step] = [Event("sum", f"t{i}") for i in range(20)]
    needed = [steps[3], steps[17]]
    short = shrink(Script(1, 1, steps), lambda script: all(s in script.steps for s in needed))
    assert short.steps == needed
