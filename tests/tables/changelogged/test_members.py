"""Members at hand: what goes of a set that nothing is folded into any more."""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from tables.changelogged.members import Found, MemberKey, Members, pack_member
from tables.unique_count import ALONE, UNKNOWN, Member, MemberOperation
from tests.world.clock import START_MS
from tests.world.profiles import examples

FINAL, RUNNING = b"final", b"running"
MEMBERS = 1_300
"""Dicts that grow by doubling are well filled then."""


def member(number: int) -> Member:
    return (MemberOperation(0, 0, number, (number, 0, number, 0), adds=True),)


def named(key: bytes, number: int) -> MemberKey:
    return key, f"u{number}"


def flushed(members: Members) -> dict[MemberKey, bytes | None]:
    """What one flush writes, as the store has it then."""
    changes, _ = drained(members.taking_changes())
    members.written(list(changes))
    return changes


def empty(members: Members, stored: dict[MemberKey, bytes]) -> None:
    """Empty a set of which the store tells all at once."""
    members.leave([FINAL])
    drained(members.emptying({FINAL: (0, {text: packed for (_, text), packed in stored.items()})}))
    assert members.leaving == {}


def filled() -> Members:
    """Two sets of 200 members each that the store has, and one of each that it lacks yet."""
    members = Members()
    for key in (FINAL, RUNNING):
        members.create_empty(key)
        for number in range(200):
            members.put(named(key, number), member(number))
    flushed(members)
    for key in (FINAL, RUNNING):
        members.put(named(key, 200), member(200))
    return members


def test_all_members_of_a_set_go_and_no_others() -> None:
    members = filled()
    stored = {named(FINAL, number): pack_member(member(number)) for number in range(200)}
    empty(members, stored)
    gone = flushed(members)
    assert gone.keys() == {*(named(FINAL, n) for n in range(201)), named(RUNNING, 200)}
    assert [name for name, packed in gone.items() if packed is not None] == [named(RUNNING, 200)]
    whole = Members()
    for number in range(201):
        whole.put(named(RUNNING, number), member(number))
    flushed(whole)
    assert members.sum == whole.sum
    assert members.at_hand({FINAL}) == {}


def test_members_that_are_not_at_hand_go_as_well() -> None:
    known = filled()
    flushed(known)
    members = Members()
    members.sum = known.sum
    stored = {named(FINAL, number): pack_member(member(number)) for number in range(201)}
    empty(members, stored)
    assert drained(members.taking_changes())[0] == dict.fromkeys(stored)
    # The store has them until it follows.
    empty(members, stored)
    assert flushed(members) == {}
    empty(known, stored)
    flushed(known)
    assert members.sum == known.sum


def test_a_set_that_is_read_in_parts_is_looked_at_once_more() -> None:
    """The store may have been filled in anew between two parts, and its order with it."""
    members = filled()
    members.leave([FINAL])
    for cursor, left in ((7, {FINAL: 7}), (0, {FINAL: 0}), (0, {})):
        drained(members.emptying({FINAL: (cursor, {})}))
        assert members.leaving == left


def test_the_oldest_sets_leave_whole_and_the_others_stay_so() -> None:
    members = Members(capacity=250)
    for key in (b"first", b"second", b"third"):
        members.create_empty(key)
        for number in range(100):
            members.put(named(key, number), member(number))
        flushed(members)
    assert members.complete == {b"third"}
    assert members.is_missing(named(b"first", 1))
    assert members.at_hand({b"first", b"second"}) == {}
    assert members.get(named(b"third", 1)) == member(1)
    for number in range(100):
        members.fill(named(b"first", number), pack_member(member(number)))
    flushed(members)
    assert members.complete == {b"third"}


def test_what_is_looked_up_for_a_cut_stays_until_it_is_decided() -> None:
    members = Members(capacity=10)
    members.keep_all()
    for number in range(20):
        members.fill(named(RUNNING, number), pack_member(member(number)))
    flushed(members)
    assert not any(members.is_missing(named(RUNNING, number)) for number in range(20))
    members.keep_few()
    flushed(members)
    assert all(members.is_missing(named(RUNNING, number)) for number in range(20))


def test_what_the_store_lacks_stays_however_many_there_are() -> None:
    members = Members(capacity=10)
    members.create_empty(RUNNING)
    for number in range(20):
        members.put(named(RUNNING, number), member(number))
    changes, _ = drained(members.taking_changes())
    members.written(list(changes)[:5])
    assert [members.is_missing(named(RUNNING, number)) for number in range(20)] == [
        number < 5 for number in range(20)
    ]


def seen(number: int, attempt: int) -> Found:
    """A property at a whole second, in the event of an attempt."""
    appended_ms = START_MS + 3000 * attempt + number % 7
    return f"u{number}", True, START_MS + number * 1000, (appended_ms, 0, number * 4 + attempt, 0)


def test_what_memory_knows_besides_is_not_published_and_ends_with_it() -> None:
    members = Members()
    members.create_empty(RUNNING)
    for attempt in range(3):
        members.take_simple(RUNNING, START_MS, 0, [seen(1, attempt)])
    name = (RUNNING, "u1")
    (known,) = members.get(name)
    assert known.others_until_ms == seen(1, 1)[3][0]
    _, adds, timestamp_ms, position = seen(1, 2)
    kept = (MemberOperation(START_MS, 0, timestamp_ms, position, adds),)
    changes, rows = drained(members.taking_changes())
    assert changes == {name: pack_member(kept)}
    assert [*rows.values()] == [*changes.values()]
    again = Members()
    again.fill(name, changes[name])
    assert again.get(name) == kept
    assert kept[0].others_until_ms == UNKNOWN


@examples(100)
@given(st.lists(st.sampled_from([ALONE, UNKNOWN, START_MS]), max_size=40))
def test_memory_knows_so_much_of_a_member(known: list[int]) -> None:
    """Of one with very many operations it knows nothing."""
    made = tuple(
        MemberOperation(0, 0, at, (at, 0, at, 0), adds=True, others_until_ms=until_ms)
        for at, until_ms in enumerate(known)
    )
    members = Members()
    members.put(named(RUNNING, 1), made)
    found = members.get(named(RUNNING, 1))
    assert pack_member(found) == pack_member(made)
    assert found == made or {o.others_until_ms for o in found} == {UNKNOWN}
    assert found == made or len(made) > 25


@pytest.mark.parametrize(("attempts", "most"), [(1, 149), (2, 160), (3, 160)])
def test_what_a_member_at_hand_weighs(attempts: int, most: int) -> None:
    """Also of an event that is sent again with another id, so that two share its time."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        members = Members()
        members.create_empty(RUNNING)
        for attempt in range(attempts):
            for number in range(MEMBERS):
                members.take_simple(RUNNING, START_MS, 0, [seen(number, attempt)])
        flushed(members)
        gc.collect()
        assert (tracemalloc.get_traced_memory()[0] - before) / MEMBERS < most
    finally:
        tracemalloc.stop()
