"""Alerts that were deleted: they are known as of then, and cost nobody anything now."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from decimal import Decimal
from functools import partial
from itertools import product
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions.alerts import TYPES
from app.definitions.indexes.alerts import AlertIndex, PromisedEnds
from app.definitions.indexes.forms import AlertForm
from app.definitions.indexes.index import CodeKey
from app.definitions.indexes.packed import PackedVersions, with_numbers
from app.definitions.model import Alert, AlertThreshold
from app.definitions.periods import NEVER_MS
from app.definitions.versions import Coming, Versions
from tables.cells.grids import decided_until, grid_cut, same_cut_until
from tables.cells.watch import stretches_of

MANY = 200
NAME = ("org", "sub-0")
METRICS = "metric", "other"


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


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of the alerts that are looked at."""
    numbers, numbered = list[int](), PackedVersions.numbered

    def looking(packed: PackedVersions[str, Alert], number: int) -> Versions[Alert]:
        numbers.append(number)
        return numbered(packed, number)

    monkeypatch.setattr(PackedVersions, "numbered", looking)
    return numbers


def test_deleted_ones_are_not_looked_at_again(looked: list[int]) -> None:
    index = AlertIndex()
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


def test_who_has_a_code_is_found_though_all_were_deleted_at_once(looked: list[int]) -> None:
    index = AlertIndex()
    for number in range(MANY):
        index.commit(alert(f"a{number}"), 1, number)
    ends = PromisedEnds(Coming(2, MANY))
    for each in list(index.of(NAME)):
        index.promise_deletion(each, ends)
    ends.coming.is_here = True
    index.commit_promised(ends)
    index.commit(replace(alert("new"), code="a7"), 3, MANY + 1)
    looked.clear()
    assert index.holder(NAME, "a6") is None
    found = index.holder(NAME, "a7")
    assert found is not None
    assert found.id == "new"
    assert [each.id for each in index.alike(found)] == ["new"]
    assert len(looked) < MANY / 4


def test_those_deleted_since_the_last_cut_are_not_looked_at(looked: list[int]) -> None:
    """All who ask until the next cut watch as the first of them does."""
    index = AlertIndex()
    index.commit(alert("stays"), 1, 1)
    for number in range(MANY):
        index.commit(alert(f"a{number}"), 2 + number, 2 * number)
        index.commit_deletion(alert(f"a{number}"), 3 + number, 2 * number + 1)
    looked.clear()
    grids = ((0, MANY + 3),)
    asked = index.asking(NAME, "metric", None, 1, alike_until=partial(same_cut_until, grids=grids))
    assert list(asked) == [(1, NEVER_MS), (2, 3)]
    assert [each.id for each in index.of(NAME, 1)] == ["stays"]
    assert set(looked) == {0}


def test_those_on_other_metrics_are_not_looked_at(looked: list[int]) -> None:
    """A route asks for one metric, and a subscription may have an alert on each of a thousand."""
    index = AlertIndex()
    for number in range(MANY):
        index.commit(replace(alert(f"a{number}"), metric_id=f"m{number % 100}"), number, number)
    moved = replace(alert("a7"), metric_id="m8")
    index.commit(moved, MANY, MANY)
    index.commit_deletion(replace(alert("a108"), metric_id="m8"), MANY + 1, MANY + 1)
    looked.clear()
    assert list(index.asking(NAME, "m8", None, MANY + 1)) == [(MANY, NEVER_MS), (8, NEVER_MS)]
    # Whose name it is tells the first one.
    assert set(looked) <= {0, 7, 8}
    promised = PromisedEnds(Coming(MANY + 2, MANY + 2))
    for each in list(index.of(NAME)):
        index.promise_deletion(each, promised)
    promised.coming.is_here = True
    index.commit_promised(promised)
    index.commit(replace(alert("anew"), metric_id="m8"), MANY + 3, MANY + 3)
    looked.clear()
    assert list(index.asking(NAME, "m8", None, MANY + 2)) == [(MANY + 3, NEVER_MS)]
    assert set(looked) <= {0, MANY}


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


def asked_of_all(
    index: AlertIndex, name: CodeKey, metric_id: str, until_ms: int | None, *, of_life: bool
) -> Iterator[tuple[int, int]]:
    """Since and until when any that ever was is on a metric, by its versions."""
    for identity in index.by_name.ids(name):
        versions, since_ms = index.versions[identity], NEVER_MS
        for at_ms in versions.changes:
            if until_ms is not None and at_ms > until_ms:
                break
            one = versions.at(at_ms)
            if one is not None and one.metric_id == metric_id and one.is_of_life >= of_life:
                since_ms = min(since_ms, at_ms)
            elif since_ms < NEVER_MS:
                yield since_ms, at_ms
                since_ms = NEVER_MS
        if since_ms < NEVER_MS:
            yield since_ms, NEVER_MS


def same_is_watched(index: AlertIndex, now_ms: int) -> None:
    """The same is watched after each cut, as of each moment, as by all alerts that ever were."""
    grids = (0, 4), (now_ms // 2, 3)
    alike_until = partial(same_cut_until, grids=grids)
    untils_ms = None, *range(-1, now_ms + 2, 5)
    subs = NAME, (NAME[0], "sub-1")
    for name, metric_id, until_ms, of_life in product(subs, METRICS, untils_ms, (False, True)):
        every = list(asked_of_all(index, name, metric_id, until_ms, of_life=of_life))
        for cut_ms in range(-1, now_ms + 2, 4):
            told_ms = decided_until(cut_ms, grids)
            about = name, metric_id, until_ms, told_ms
            asked = index.asking(*about, of_life=of_life, alike_until=alike_until)
            ours, theirs = (stretches_of(each, grids) for each in (asked, every))
            undecided = (t for t in range(cut_ms, now_ms + 9) if grid_cut(t, grids) > cut_ms)
            for at_ms in undecided:
                found = [[a < at_ms <= b for a, b in each] for each in (ours, theirs)]
                assert any(found[0]) == any(found[1])
            told = index.asking(*about, of_life=of_life)
            there = [gone_ms == NEVER_MS for _, gone_ms in every]
            assert any(gone_ms == NEVER_MS for _, gone_ms in told) == any(there)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(0, 2)), max_size=24))
def test_they_are_what_all_that_ever_were_tell(
    changes: list[tuple[int, int, int]],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Some of them are many.
        patch.setattr("app.definitions.indexes.alerts._FEW", len(changes) % 4)
        they_are_what_all_tell(changes)


def they_are_what_all_tell(changes: list[tuple[int, int, int]]) -> None:
    index, now_ms, last_ms = AlertIndex(), 0, dict[CodeKey, int]()
    for number, (of, deletes, after_ms) in enumerate(changes):
        now_ms += after_ms
        name = (NAME[0], f"sub-{of}")
        there = as_all_tell(index, name, None)
        if deletes == 4 and there:
            one = there[number // 2 % len(there)]
            changed = replace(one, metric_id=METRICS[number % 2], code=f"c{number}")
            index.commit(changed, now_ms, number)
        elif deletes and there:
            index = copied(index) if deletes == 1 else index
            index.commit_deletion(there[(deletes * number) % len(there)], now_ms, number)
            last_ms[name] = now_ms
        else:
            made = replace(alert(f"a{number}", f"sub-{of}"), alert_type=TYPES[number % 2])
            if all(each.code != f"a{number % 5}" for each in there):
                made = replace(made, code=f"a{number % 5}")
            index.commit(made, now_ms, number)
            last_ms.setdefault(name, -1)
        for asked in (NAME, (NAME[0], "sub-1")):
            for at_ms in (None, *range(-1, now_ms + 2)):
                assert list(index.of(asked, at_ms)) == as_all_tell(index, asked, at_ms)
            there = as_all_tell(index, asked, None)
            assert index.asked_until_ms(asked) == (NEVER_MS if there else last_ms.get(asked, -1))
            # Codes are given up, and taken again by others.
            for code in [each for n in range(number + 1) for each in (f"a{n % 5}", f"c{n}")]:
                holders = [each for each in there if each.code == code]
                assert index.holder(asked, code) == (holders[0] if holders else None)
            for one in there:
                alike = [e for e in there if subject(e) == subject(one)]
                assert list(index.alike(one)) == alike
    same_is_watched(index, now_ms)


def subject(alert: Alert) -> tuple[str, str]:
    return alert.alert_type, alert.metric_id


def copied(index: AlertIndex) -> AlertIndex:
    """A copy, of which nothing comes back to the index."""
    branch = index.copy()
    before = {name: copy(ids) for name, ids in index.left.items()}
    for each in list(index.of(NAME)):
        index.copy().commit_deletion(each, NEVER_MS, 0)
    assert dict(index.left) == before
    return branch
