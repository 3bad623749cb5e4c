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
    changes = drained(members.taking_changes())
    members.written([name for name, _ in changes])
    return dict(changes)


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
    drained(members.removing({FINAL}, stored))
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
    drained(members.removing({FINAL}, stored))
    assert dict(drained(members.taking_changes())) == dict.fromkeys(stored)
    # The store has them until it follows.
    drained(members.removing({FINAL}, stored))
    assert flushed(members) == {}
    drained(known.removing({FINAL}, stored))
    flushed(known)
    assert members.sum == known.sum
