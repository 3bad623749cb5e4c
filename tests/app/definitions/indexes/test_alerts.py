"""Alerts that were deleted: they are known as of then, and cost nobody anything now."""

from __future__ import annotations

from copy import copy
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions.alerts import TYPES
from app.definitions.indexes.alerts import AlertIndex
from app.definitions.indexes.forms import AlertForm
from app.definitions.indexes.index import CodeKey
from app.definitions.indexes.packed import with_numbers
from app.definitions.model import Alert, AlertThreshold
from app.definitions.timeline import NEVER_MS
from app.definitions.versions import Versions

MANY = 200
NAME = ("org", "sub-0")


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


def test_deleted_ones_are_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    index, looked = AlertIndex(), list[int]()
    packed = with_numbers(index.versions)
    numbered = packed.numbered

    def looking(number: int) -> Versions[Alert]:
        looked.append(number)
        return numbered(number)

    monkeypatch.setattr(packed, "numbered", looking)
    index.commit(alert("stays"), 1, 1)
    for number in range(MANY):
        index.commit(alert(f"a{number}"), 2, 2 * number)
        index.commit_deletion(alert(f"a{number}"), 3, 2 * number + 1)
    looked.clear()
    index.commit(alert("last"), 4, 2 * MANY)
    assert [each.id for each in index.of(NAME)] == ["stays", "last"]
    assert [each.id for each in index.of(NAME, 3)] == ["stays"]
    index.commit_deletion(alert("last"), 5, 2 * MANY + 1)
    assert index.asked_until_ms(NAME) == NEVER_MS
    assert list(index.asking(NAME, "metric", None, 3)) == [(1, NEVER_MS), (4, 5)]
    assert len(looked) < MANY / 4
    assert [each.id for each in index.of(NAME, 4)] == ["stays", "last"]


def test_each_rests_packed_and_comes_back_as_it_was() -> None:
    """Every worker has all of them: an alert took 0.9 kB."""
    values = "1", "1.50", "1E+2", "-0.0"
    thresholds = [AlertThreshold(None, Decimal(values[0]), recurring=True)]
    thresholds += [AlertThreshold(f"c{value}", Decimal(value)) for value in values[1:]]
    made = replace(alert(str(uuid4())), thresholds=tuple(thresholds), name="näme")
    changed = replace(alert(made.id), metric_id="other", alert_type=TYPES[-1])
    entries = [(5, 7, made), (6, 8, changed), (6, 9, None)]
    form, index = AlertForm(), AlertIndex()
    assert repr(form.unpacked(form.packed(5, 7, made)).at()) == repr(made)
    assert repr(list(form.unpacked(form.packed_all(entries)).entries())) == repr(entries)
    for one, at_ms, offset in ((made, 5, 7), (changed, 6, 8)):
        index.commit(one, at_ms, offset)
        assert with_numbers(index.versions).packed_row(0) is not None
    index.commit_deletion(changed, 6, 9)
    assert with_numbers(index.versions).packed_row(0) is not None
    assert list(index.versions[made.id].entries()) == entries


def as_all_tell(index: AlertIndex, name: CodeKey, at_ms: int | None) -> list[Alert]:
    """The alerts in force, of all that ever were."""
    every = (index.versions[each].at(at_ms) for each in index.by_name.ids(name))
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
