"""Operations on members of unique counts: the kernel and its twin take the same ones alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel import twin
from tables.changelogged.members import head_of, pack_member, row_of
from tables.unique_count import ALONE, UNKNOWN, MemberOperation
from tests.world.profiles import examples

SIZES = (0, 0x7F, 0x80, 0xFF, 0x100, 0xFFFF, 0x1_0000, 0xFFFF_FFFF, 0x1_0000_0000, (1 << 64) - 1)
NUMBERS = st.sampled_from(SIZES)
PERIODS = st.sampled_from([-1, 0, 1_767_225_600_000])
POSITIONS = st.one_of(
    st.sampled_from([(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 2, 6)]), st.tuples(*[NUMBERS] * 4)
)
TEXTS = st.sampled_from(["", "a", "é"])
KNOWN = st.one_of(st.sampled_from([ALONE, UNKNOWN]), NUMBERS)
OPERATIONS = st.tuples(PERIODS, PERIODS, NUMBERS, POSITIONS, st.booleans(), KNOWN).map(
    MemberOperation._make
)
FOUND = st.tuples(TEXTS, st.booleans(), NUMBERS, POSITIONS)
ROWS = st.dictionaries(TEXTS, st.lists(OPERATIONS, max_size=2).map(tuple).map(row_of))


def taken(
    kernel: Any, rows: dict[str, bytes], whole: bool, head: bytes, found: Any
) -> tuple[object, ...]:
    """Return what it answers, keeps and notes as changed."""
    rows, dirty, asked = dict(rows), {"é": b""}, list[str]()

    def absent(text: str) -> bytes:
        asked.append(text)
        if not text:
            raise LookupError(text)
        return b""

    answer: object
    try:
        answer = kernel.take_operations(rows, dirty, None if whole else absent, head, found)
    except LookupError as error:
        answer = str(error)
    return answer, rows, dirty, asked


@examples(600)
@given(
    rows=ROWS,
    whole=st.booleans(),
    place=st.tuples(PERIODS, PERIODS),
    some=st.lists(FOUND, max_size=4),
    packs=st.booleans(),
)
def test_both_take_the_same(
    kernel: Any,
    rows: dict[str, bytes],
    whole: bool,
    place: tuple[int, int],
    some: list[Any],
    packs: bool,
) -> None:
    found, head = tuple(some) if packs else some, head_of(*place)
    assert taken(kernel, rows, whole, head, found) == taken(twin, rows, whole, head, found)


@examples(100)
@given(operation=OPERATIONS)
def test_what_it_keeps_is_what_anyone_packs(kernel: Any, operation: MemberOperation) -> None:
    rows: dict[str, bytes] = {}
    period_ms, cut_ms, timestamp_ms, position, adds, _ = operation
    found = [("a", adds, timestamp_ms, position)]
    head = head_of(period_ms, cut_ms)
    assert kernel.take_operations(rows, {}, None, head, found) == (int(adds), [])
    assert rows == {"a": pack_member((operation,))}


@pytest.mark.parametrize("found", [[None], [("a", True, 5)], 5, [(["a"], True, 5, (1, 2, 3, 4))]])
def test_the_kernel_refuses_what_is_no_operation(kernel: Any, found: Any) -> None:
    rows: dict[str, Any] = {}
    with pytest.raises(TypeError):
        kernel.take_operations(rows, {}, None, head_of(1, 0), found)
    one = [("a", True, 5, (1, 2, 3, 4))]
    with pytest.raises(TypeError):
        kernel.take_operations({"a": 5}, {}, None, head_of(1, 0), one)
    with pytest.raises(TypeError):
        kernel.take_operations({}, {}, None, bytes(21), one)
    for position in ((1, 2, 3), 5):
        with pytest.raises(TypeError):
            kernel.take_operations({}, {}, None, head_of(1, 0), [("a", True, 5, position)])
    assert rows == {}
