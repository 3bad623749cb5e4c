"""The schedule of cuts: each external subscription comes once, at the cut it has by then."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import SubscriptionKey
from tables.closing import schedule as module
from tables.closing.close import DueNext
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


def due(schedule: Schedule, cut_ms: int) -> list[SubscriptionKey]:
    """Take whose cut it is, and let them have a next one."""
    found = list(map(schedule.named, schedule.due(cut_ms)))
    while schedule.has_taken:
        schedule.free()
    return found


def test_the_earliest_comes_first_and_each_once(cuts: dict[SubscriptionKey, int]) -> None:
    schedule = empty()
    for name, at_ms in zip(NAMES, (30, 10, 20, 10, NEVER_MS), strict=True):
        cuts[name] = at_ms
        assert schedule.update(name) == at_ms
    assert schedule.next_ms() == 10
    assert set(due(schedule, 10)) == {NAMES[1], NAMES[3]}
    assert [name in schedule for name in NAMES] == [True, False, True, False, False]
    assert schedule.next_ms() == 20
    assert set(due(schedule, 30)) == {NAMES[0], NAMES[2]}
    assert sorted(map(schedule.named, schedule.take_closed())) == sorted(NAMES[:4])
    assert not schedule.take_closed()
    assert schedule.next_ms() == NEVER_MS


def test_who_moves_away_and_back_comes_once(cuts: dict[SubscriptionKey, int]) -> None:
    schedule = empty()
    for at_ms in (10, 20, 10, 20, 10):
        cuts[NAMES[0]] = at_ms
        schedule.update(NAMES[0])
    assert due(schedule, 10) == [NAMES[0]]
    assert due(schedule, 20) == []


def test_what_ends_early_is_left_for_the_next(cuts: dict[SubscriptionKey, int]) -> None:
    schedule = empty()
    for name in NAMES:
        cuts[name] = 10
        schedule.update(name)
    first = schedule.named(next(schedule.due(10)))
    assert schedule.next_ms() == 10
    assert {first, *due(schedule, 10)} == set(NAMES)


def test_who_is_scheduled_while_others_are_taken_is_taken_too(
    cuts: dict[SubscriptionKey, int],
) -> None:
    schedule = empty()
    cuts[NAMES[0]] = 10
    schedule.update(NAMES[0])
    taken = schedule.due(20)
    assert schedule.named(next(taken)) == NAMES[0]
    assert schedule.next_ms() == NEVER_MS
    cuts.update({NAMES[1]: 5, NAMES[2]: 20, NAMES[3]: 21})
    for name in NAMES[1:4]:
        schedule.update(name)
    assert list(map(schedule.named, taken)) == [NAMES[1], NAMES[2]]
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
    assert sorted(due(schedule, 20)) == sorted(n for n, at_ms in known.items() if at_ms <= 20)


def test_who_is_taken_has_no_cut_before_it_is_free(cuts: dict[SubscriptionKey, int]) -> None:
    schedule = empty()
    for name in NAMES:
        cuts[name] = 10
        schedule.update(name)
    taken = schedule.due(10)
    first = next(taken)
    # Something asks for its cuts again.
    cuts[schedule.named(first)] = 9
    assert schedule.update(schedule.named(first)) == 9
    numbers = [first, *taken]
    schedule.drop(schedule.named(numbers[1]))
    assert sorted(map(schedule.named, numbers)) == NAMES
    known = [DueNext(10, 1, 20), DueNext(10, 1, 30), DueNext(10, 1, 20), None]
    for number, each in zip(numbers, known, strict=False):
        schedule.note_known(number, each)
    found = dict(schedule.free() for _ in NAMES)
    assert [found[schedule.named(number)] for number in numbers] == [*known, None]
    assert not schedule.has_taken
    cuts[NAMES[0]] = 10
    assert schedule.update(NAMES[0]) == schedule.next_ms() == 10


def test_who_is_taken_takes_some_bytes(cuts: dict[SubscriptionKey, int]) -> None:
    """Very many are due at the end of a month, until all of them are closed."""
    schedule, count = empty(), 10_000
    for number in range(count):
        cuts["org", f"sub-{number}"] = 10
        schedule.update(("org", f"sub-{number}"))
    tracemalloc.start()
    for number in schedule.due(10):
        schedule.note_known(number, DueNext(10, 1, 20))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 10 * count
