"""Members at hand: what goes of a set that nothing is folded into any more."""

from __future__ import annotations

from app.bounds.turns import drained
from tables.changelogged.members import MemberKey, Members, pack_member
from tables.unique_count import Member, MemberOperation

FINAL, RUNNING = b"final", b"running"


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
