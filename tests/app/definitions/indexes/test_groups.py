"""Groups have who joined and did not leave, in the order in which it joined last."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.definitions.indexes.groups import Groups

KNOWN = ["a", "b", "c", "d", "e"]
"""They have numbers."""
MADE = ["x", "y"]
"""Keys that are made in a branch, and have none."""


class Numbers:
    """Numbers of those that are known."""

    def number_of(self, key: str) -> int | None:
        return KNOWN.index(key) if key in KNOWN else None

    def key_of(self, number: int) -> str:
        return KNOWN[number]


moves = st.lists(st.tuples(st.sampled_from("gh"), st.sampled_from(KNOWN)), max_size=40)
later = st.lists(st.tuples(st.sampled_from("gh"), st.sampled_from(KNOWN + MADE)), max_size=20)


def play(
    groups: Groups[str], plain: dict[str, dict[str, None]], moved: list[tuple[str, str]]
) -> None:
    """Let each join a group that it is not in, and leave one that it is in."""
    for group, key in moved:
        members = plain.setdefault(group, {})
        if key in members:
            del members[key]
            groups.discard(group, key)
        else:
            members[key] = None
            groups.add(group, key, groups.number_of(key))
        check(groups, plain)


def check(groups: Groups[str], plain: dict[str, dict[str, None]]) -> None:
    for group, members in plain.items():
        assert list(groups.keys(group)) == list(members)
        assert list(groups.keys(group, newest_first=True)) == list(reversed(members))
        assert groups.count(group) == len(members)


@given(moves, later, moves)
def test_groups_are_as_plain_dicts_and_so_are_their_branches(
    first: list[tuple[str, str]], branched: list[tuple[str, str]], then: list[tuple[str, str]]
) -> None:
    groups, plain = Groups(Numbers()), dict[str, dict[str, None]]()
    play(groups, plain, first)
    kept = {group: members.copy() for group, members in plain.items()}
    branch, of_branch = groups.copy(), {group: members.copy() for group, members in plain.items()}
    play(branch, of_branch, branched)
    play(branch.copy(), {group: members.copy() for group, members in of_branch.items()}, then)
    check(branch, of_branch)
    check(groups, kept)
    play(groups, plain, then)


def test_who_joins_or_leaves_meanwhile_is_not_looked_at() -> None:
    groups = Groups(Numbers())
    for key in "abc":
        groups.add("g", key, groups.number_of(key))
    found = groups.keys("g")
    groups.discard("g", "b")
    groups.add("g", "d", groups.number_of("d"))
    assert list(found) == ["a", "b", "c"]


def test_there_is_nobody_in_a_group_that_nobody_joined() -> None:
    groups = Groups(Numbers())
    assert list(groups.keys("g")) == []
    assert groups.count("g") == 0
