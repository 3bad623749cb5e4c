"""Operations on members of unique counts: the kernel and its twin take the same ones alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel import twin
from tables.unique_count import LoneOperation, MemberOperation, TiedOperation
from tests.world.profiles import examples

SET = b"set"
KINDS = LoneOperation, TiedOperation, MemberOperation
TIMES = st.sampled_from([-(1 << 70), 0, 1 << 70])
POSITIONS = st.sampled_from([(1, 2, 3, 4), (1, 2, 3, 5), (1, 2, 2, 6)])
TEXTS = st.sampled_from(["", "a", "é"])
PARTS = st.tuples(st.integers(0, 1), st.integers(0, 1), TIMES, POSITIONS, st.booleans())
OPERATIONS = st.one_of([PARTS.map(kind._make) for kind in KINDS])
FOUND = st.tuples(TEXTS, st.booleans(), TIMES, POSITIONS)
CACHES = st.dictionaries(
    TEXTS.map(lambda text: (SET, text)), st.lists(OPERATIONS, max_size=2).map(tuple)
)


def taken(kernel: Any, cache: dict[Any, Any], whole: bool, found: Any) -> Any:
    """Return what it answers, keeps and notes as changed."""
    cache, dirty, asked = dict(cache), {(SET, "é"): ()}, list[Any]()

    def absent(name: tuple[bytes, str]) -> tuple[MemberOperation, ...]:
        asked.append(name)
        if not name[1]:
            raise LookupError(str(name))
        return ()

    words = (SET, 1, 0, *KINDS, found)
    answer: object
    try:
        answer = kernel.take_operations(cache, dirty, None if whole else absent, *words)
    except LookupError as error:
        answer = str(error)
    members = [*cache.values(), [one for _, one in answer[1]] if isinstance(answer, tuple) else []]
    kinds = [
        (type(one), vars(one) if type(one) is TiedOperation else 0)
        for member in members
        for one in member
    ]
    return repr((answer, cache, dirty, asked, kinds))


@examples(400)
@given(cache=CACHES, whole=st.booleans(), some=st.lists(FOUND, max_size=4), packs=st.booleans())
def test_both_take_the_same(
    kernel: Any, cache: dict[Any, Any], whole: bool, some: list[Any], packs: bool
) -> None:
    found = tuple(some) if packs else some
    assert taken(kernel, cache, whole, found) == taken(twin, cache, whole, found)


def test_what_it_keeps_equals_what_anyone_makes(kernel: Any) -> None:
    """Also by its hash: who reduces a member finds equal operations by that."""
    cache: dict[Any, Any] = {}
    found = [("a", True, 5, (1, 2, 3, 4))]
    assert kernel.take_operations(cache, {}, None, SET, 1, 0, *KINDS, found) == (1, [])
    made = MemberOperation(1, 0, 5, (1, 2, 3, 4), adds=True)
    assert cache == {(SET, "a"): (made,)}
    assert {made, *cache[SET, "a"]} == {made}


@pytest.mark.parametrize("found", [[None], [("a", True, 5)], 5, [(["a"], True, 5, ())]])
def test_the_kernel_refuses_what_is_no_operation(kernel: Any, found: Any) -> None:
    cache: dict[Any, Any] = {}
    with pytest.raises(TypeError):
        kernel.take_operations(cache, {}, None, SET, 1, 0, *KINDS, found)
    with pytest.raises(TypeError):
        kernel.take_operations({(SET, "a"): 5}, {}, None, SET, 1, 0, *KINDS, found)
    for place in range(len(KINDS)):
        kinds = [int if place == i else kind for i, kind in enumerate(KINDS)]
        with pytest.raises(TypeError):
            kernel.take_operations(cache, {}, None, SET, 1, 0, *kinds, [])
    assert cache == {}
