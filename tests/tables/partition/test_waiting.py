"""Who waits for which cut is found without a look at all others."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.periods import NEVER_MS
from bench.growth.spent import steps_of
from tables.partition.waiting import WaitingNames
from tests.world.profiles import examples

NAMES = [("org", name) for name in "abc"]
CUTS = st.integers(0, 9)
NAME = st.sampled_from(NAMES)


def assert_same(waiting: WaitingNames, plain: dict[tuple[str, str], set[int]]) -> None:
    """Compare it with the cuts of each name, looked through one by one."""
    assert {name: set(waiting.of(name)) for name in waiting.by_name} == plain
    every = sorted(set[int]().union(*plain.values()))
    for cut_ms in range(-1, 11):
        assert list(waiting.until(cut_ms)) == [each for each in every if each <= cut_ms]
        assert set(waiting.at(cut_ms)) == {name for name in plain if cut_ms in plain[name]}
        later = [each for each in every if each > cut_ms]
        assert waiting.next_ms(cut_ms) == min(later, default=NEVER_MS)
        for name in NAMES:
            assert list(waiting.of(name)) == sorted(plain.get(name, ()))
            own = [each for each in plain.get(name, ()) if each > cut_ms]
            assert waiting.next_of(name, cut_ms) == min(own, default=NEVER_MS)


@examples(100)
@given(st.lists(st.tuples(st.booleans(), NAME, CUTS), max_size=30))
def test_it_is_as_sets_of_cuts_by_name(steps: list[tuple[bool, tuple[str, str], int]]) -> None:
    waiting, plain = WaitingNames(), defaultdict[tuple[str, str], set[int]](set)
    for adds, name, cut_ms in steps:
        if adds:
            assert waiting.add(name, cut_ms) == (cut_ms not in plain[name])
            plain[name].add(cut_ms)
        else:
            waiting.drop(name, cut_ms)
            plain[name] = {each for each in plain[name] if each > cut_ms}
            if not plain[name]:
                del plain[name]
        assert_same(waiting, plain)


@pytest.mark.parametrize("others", [10, 10_000])
def test_others_cost_nothing(others: int) -> None:
    waiting = WaitingNames()
    for cut_ms in range(others):
        waiting.add(NAMES[cut_ms % 2], cut_ms)
    waiting.add(NAMES[2], others)

    def looked_up() -> None:
        assert waiting.next_of(NAMES[2], -1) == others
        assert waiting.next_of(NAMES[1], others // 2) > others // 2
        assert waiting.next_ms(others - 1) == others
        assert waiting.add(NAMES[2], others + 1)
        waiting.drop(NAMES[2], others)
        waiting.drop(NAMES[2], others + 1)

    assert steps_of(looked_up) <= 700
