"""The schedule of cuts: each external subscription comes once, at the cut it has by then."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.timeline import NEVER_MS
from app.wire.arrivals import SubscriptionKey
from tables.closing import schedule as module
from tables.closing.schedule import Schedule
from tables.partition.partition import Partition
from tests.world.profiles import examples

NAMES = [("org", f"sub-{number}") for number in range(5)]


@pytest.fixture(autouse=True)
def cuts(monkeypatch: pytest.MonkeyPatch) -> dict[SubscriptionKey, int]:
    """Return the next cut of each name, which a test sets."""
    known: dict[SubscriptionKey, int] = {}
    monkeypatch.setattr(module, "next_cut", lambda _, name, due=None: known.get(name, NEVER_MS))
    return known


def empty() -> Schedule:
    """Return a schedule of a partition that waits for nothing else."""

    def never() -> int:
        return NEVER_MS

    standing = SimpleNamespace(next_history_ms=never, next_awaited_ms=never)
    partition: Any = SimpleNamespace(
        standing=standing,
        cuts=SimpleNamespace(next_of_history=never),
        changed=SimpleNamespace(next_ms=never),
    )
    return Schedule(cast("Partition", partition), ())


def test_the_earliest_comes_first_and_each_once(cuts: dict[SubscriptionKey, int]) -> None:
    schedule = empty()
    for name, at_ms in zip(NAMES, (30, 10, 20, 10, NEVER_MS), strict=True):
        cuts[name] = at_ms
        assert schedule.update(name) == at_ms
    assert schedule.next_ms() == 10
    assert set(schedule.due(10)) == {NAMES[1], NAMES[3]}
    assert [name in schedule for name in NAMES] == [True, False, True, False, False]
    assert schedule.next_ms() == 20
    assert set(schedule.due(30)) == {NAMES[0], NAMES[2]}
    assert sorted(map(schedule.named, schedule.take_closed())) == sorted(NAMES[:4])
    assert not schedule.take_closed()
    assert schedule.next_ms() == NEVER_MS


def test_who_moves_away_and_back_comes_once(cuts: dict[SubscriptionKey, int]) -> None:
    schedule = empty()
    for at_ms in (10, 20, 10, 20, 10):
        cuts[NAMES[0]] = at_ms
        schedule.update(NAMES[0])
    assert list(schedule.due(10)) == [NAMES[0]]
    assert list(schedule.due(20)) == []


def test_what_ends_early_is_left_for_the_next(cuts: dict[SubscriptionKey, int]) -> None:
    schedule = empty()
    for name in NAMES:
        cuts[name] = 10
        schedule.update(name)
    first = next(schedule.due(10))
    assert schedule.next_ms() == 10
    assert {first, *schedule.due(10)} == set(NAMES)


def test_who_is_scheduled_while_others_are_taken_is_taken_too(
    cuts: dict[SubscriptionKey, int],
) -> None:
    schedule = empty()
    cuts[NAMES[0]] = 10
    schedule.update(NAMES[0])
    taken = schedule.due(20)
    assert next(taken) == NAMES[0]
    assert schedule.next_ms() == NEVER_MS
    cuts.update({NAMES[1]: 5, NAMES[2]: 20, NAMES[3]: 21})
    for name in NAMES[1:4]:
        schedule.update(name)
    assert list(taken) == [NAMES[1], NAMES[2]]
    assert schedule.next_ms() == 21


@examples(100)
@given(
    st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from([10, 20, 30, NEVER_MS, -1])), max_size=30
    )
)
def test_it_is_as_a_dict_would_have_it(steps: list[tuple[SubscriptionKey, int]]) -> None:
    """-1: the name is dropped."""
    schedule, known = empty(), dict[SubscriptionKey, int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "next_cut", lambda _, name, due=None: known.get(name, NEVER_MS))
        for name, at_ms in steps:
            known.pop(name, None)
            if at_ms < 0:
                schedule.drop(name)
            elif at_ms < NEVER_MS:
                known[name] = at_ms
                schedule.update(name)
            else:
                schedule.update(name)
            assert schedule.next_ms() == min(known.values(), default=NEVER_MS)
            assert {name for name in NAMES if name in schedule} == known.keys()
    assert sorted(schedule.due(20)) == sorted(n for n, at_ms in known.items() if at_ms <= 20)
