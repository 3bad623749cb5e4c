"""Alerts that were deleted: they are known as of then, and cost nobody anything now."""

from __future__ import annotations

from collections import UserDict
from copy import copy

from hypothesis import given
from hypothesis import strategies as st

from app.definitions.indexes.alerts import AlertIndex
from app.definitions.indexes.index import CodeKey
from app.definitions.model import Alert
from app.definitions.timeline import NEVER_MS
from app.definitions.versions import Versions

MANY = 200
NAME = ("org", "sub-0")


class Looked(UserDict[str, Versions[Alert]]):
    """Counts how many of its alerts are looked up."""

    count = 0

    def __getitem__(self, key: str) -> Versions[Alert]:
        self.count += 1
        return super().__getitem__(key)


def alert(identity: str, sub: str = NAME[1]) -> Alert:
    return Alert(
        id=identity,
        organization_id=NAME[0],
        external_subscription_id=sub,
        alert_type="billable_metric_current_usage_units",
        code=identity,
        metric_id="metric",
        thresholds=(),
        created_at_ms=0,
    )


def test_deleted_ones_are_not_looked_at_again() -> None:
    versions = Looked()
    index = AlertIndex(versions=versions)
    index.commit(alert("stays"), 1, 1)
    for number in range(MANY):
        index.commit(alert(f"a{number}"), 2, 2 * number)
        index.commit_deletion(alert(f"a{number}"), 3, 2 * number + 1)
    before = versions.count
    index.commit(alert("last"), 4, 2 * MANY)
    assert [each.id for each in index.of(NAME)] == ["stays", "last"]
    assert [each.id for each in index.of(NAME, 3)] == ["stays"]
    index.commit_deletion(alert("last"), 5, 2 * MANY + 1)
    assert index.asked_until_ms(NAME) == NEVER_MS
    assert versions.count - before < MANY / 10
    assert [each.id for each in index.of(NAME, 4)] == ["stays", "last"]


def as_all_tell(index: AlertIndex, name: CodeKey, at_ms: int | None) -> list[Alert]:
    """The alerts in force, of all that ever were."""
    every = (index.versions[each].at(at_ms) for each in index.by_name.get(name, ()))
    return [each for each in every if each is not None]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.integers(0, 2)), max_size=24))
def test_they_are_what_all_that_ever_were_tell(
    changes: list[tuple[int, int, int]],
) -> None:
    index, now_ms, last_ms = AlertIndex(), 0, dict[CodeKey, int]()
    for number, (of, deletes, after_ms) in enumerate(changes):
        now_ms += after_ms
        name = (NAME[0], f"sub-{of}")
        there = as_all_tell(index, name, None)
        if deletes and there:
            index = copied(index) if deletes == 1 else index
            index.commit_deletion(there[(deletes * number) % len(there)], now_ms, number)
            last_ms[name] = now_ms
        else:
            index.commit(alert(f"a{number}", f"sub-{of}"), now_ms, number)
            last_ms.setdefault(name, -1)
        for asked in (NAME, (NAME[0], "sub-1")):
            for at_ms in (None, *range(-1, now_ms + 2)):
                assert list(index.of(asked, at_ms)) == as_all_tell(index, asked, at_ms)
            there = as_all_tell(index, asked, None)
            assert index.asked_until_ms(asked) == (NEVER_MS if there else last_ms.get(asked, -1))


def copied(index: AlertIndex) -> AlertIndex:
    """A copy, of which nothing comes back to the index."""
    branch = index.copy()
    before = {name: copy(ids) for name, ids in index.left.items()}
    for each in list(index.of(NAME)):
        index.copy().commit_deletion(each, NEVER_MS, 0)
    assert dict(index.left) == before
    return branch
