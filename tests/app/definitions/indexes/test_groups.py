"""Groups have who joined and did not leave, in the order in which it joined last."""

from __future__ import annotations

from operator import attrgetter
from typing import TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from app.definitions.indexes.forms import SubscriptionForm
from app.definitions.indexes.groups import Groups
from app.definitions.indexes.index import Overlay
from app.definitions.indexes.packed import PackedVersions
from app.definitions.model import Subscription
from app.definitions.versions import Versions
from tests.world.definitions import subscription_object

KNOWN = ["a", "b", "c", "d", "e"]
"""They have numbers."""
MADE = ["x", "y"]
"""Keys that are made in a branch, and have none."""

Plain: TypeAlias = dict[str, dict[str, None]]
"""Members of each group, in order."""

moves = st.lists(st.tuples(st.sampled_from("gh"), st.sampled_from(KNOWN)), max_size=40)
later = st.lists(st.tuples(st.sampled_from("gh"), st.sampled_from(KNOWN + MADE)), max_size=20)


def versions_of(key: str) -> Versions[Subscription]:
    return Versions(0, 0, subscription_object(key, external_id=key))


class Grouped:
    """Groups of what is packed, or a branch of them, and the same in plain dicts."""

    def __init__(self) -> None:
        packed = PackedVersions[str, Subscription](SubscriptionForm(), attrgetter("id"))
        for key in KNOWN:
            packed[key] = versions_of(key)
        self.versions: PackedVersions[str, Subscription] | Overlay[str, Versions[Subscription]]
        self.versions, self.groups, self.plain = packed, Groups(packed), Plain()

    def branch(self) -> Grouped:
        """Return the same, to go on otherwise."""
        branch = Grouped()
        branch.versions = Overlay(self.versions, Versions.__copy__)
        branch.groups = self.groups.copy()
        branch.plain = {group: members.copy() for group, members in self.plain.items()}
        for key in MADE:
            branch.versions[key] = versions_of(key)
        return branch

    def play(self, moved: list[tuple[str, str]]) -> None:
        """Let each join a group that it is not in, and leave one that it is in."""
        for group, key in moved:
            members = self.plain.setdefault(group, {})
            if key in members:
                del members[key]
                self.groups.discard(group, key)
            else:
                members[key] = None
                self.groups.add(group, key, self.groups.number_of(key))
            self.check()

    def check(self) -> None:
        """Compare what all that is asked comes to."""
        for group, members in self.plain.items():
            for newest_first in (False, True):
                keys = list(reversed(members)) if newest_first else list(members)
                found = self.groups.newest(group, self.versions, newest_first=newest_first)
                assert [one.id for one in found] == keys
                assert list(self.groups.keys(group, newest_first=newest_first)) == keys
            assert self.groups.count(group) == len(members)


@given(moves, later, moves)
def test_groups_are_as_plain_dicts_and_so_are_their_branches(
    first: list[tuple[str, str]], branched: list[tuple[str, str]], then: list[tuple[str, str]]
) -> None:
    original = Grouped()
    original.play(first)
    branch = original.branch()
    branch.play(branched)
    branch.branch().play(then)
    branch.check()
    original.check()
    original.play(then)


def test_who_joins_or_leaves_meanwhile_is_not_looked_at() -> None:
    original = Grouped()
    original.play([("g", key) for key in "abc"])
    found = original.groups.newest("g", original.versions)
    original.play([("g", "b"), ("g", "d")])
    assert [one.id for one in found] == ["a", "b", "c"]


def test_who_is_deleted_meanwhile_is_passed_over() -> None:
    original = Grouped()
    original.play([("g", key) for key in "abc"])
    found = original.groups.newest("g", original.versions)
    versions = original.versions["b"]
    versions.push(1, 1, None)
    original.versions["b"] = versions
    assert [one.id for one in found] == ["a", "c"]


def test_there_is_nobody_in_a_group_that_nobody_joined() -> None:
    original = Grouped()
    assert list(original.groups.keys("g")) == []
    assert list(original.groups.newest("g", original.versions)) == []
    assert original.groups.count("g") == 0
