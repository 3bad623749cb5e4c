"""Depth of JSON, and cutting it."""

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.nesting import deeper_than, split_array
from app.wire.decode import decode_record

texts = st.text(alphabet='[]{}",\\a é', max_size=6)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0


@given(json_values, st.integers(0, 5))
def test_depth(value: Any, levels: int) -> None:
    assert deeper_than(json.dumps(value).encode(), levels) == (depth(value) > levels)


@given(st.lists(json_values, max_size=5), st.booleans())
def test_arrays_are_cut_into_their_elements(values: list[Any], wide: bool) -> None:
    text = json.dumps(values, indent=1 if wide else None, ensure_ascii=False).encode()
    assert [json.loads(element) for element in split_array(text, 5)] == values


@pytest.mark.parametrize("most", [1, 2, 3, 4])
def test_no_more_elements_are_cut_than_asked_for(most: int) -> None:
    assert split_array(b"[1, [2], 3]", most) == [b"1", b"[2]", b"3"][:most]


@pytest.mark.parametrize(
    "text", [b"", b"1", b"[", b"[[]", b"[1] 2", b"[],[]", b"{}", b'["]"'], ids=repr
)
def test_what_is_not_one_array(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        split_array(text, 10)


@pytest.mark.parametrize("depth", [1, 2, 300, 3_000])
def test_however_deep(depth: int) -> None:
    deep = b'{"a":[1,' * depth + b'"]\\""' + b"]}" * depth
    assert deeper_than(deep, 2 * depth - 1)
    assert not deeper_than(deep, 2 * depth)
    assert split_array(b"[" + deep + b" ,1]", 9) == [deep, b"1"]


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 999_999,
        b"[" * 499_999 + b"]" * 499_999,
        b'{"a":' * 160_000 + b"1" + b"}" * 160_000,
        b"[" + b"[]," * 333_000 + b"1]",
        b"[" * 400 + b'"[",' * 240_000 + b"1" + b"]" * 400,
        b"[" * 400 + b'"\\"",' * 160_000 + b"1" + b"]" * 400,
        b"[" + b",".join([b"[" * 2_000 + b"]" * 2_000] * 240) + b"]",
    ],
    ids=["open", "arrays", "objects", "wide", "strings", "escapes", "several"],
)
def test_no_work_of_the_interpreter_for_each_bracket(text: bytes) -> None:
    """A record of one megabyte must not hold up its partition, however it nests."""
    lines = 0

    def count(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        nonlocal lines
        lines += 1
        return count

    sys.settrace(count)
    try:
        decode_record(text)
    finally:
        sys.settrace(None)
    assert lines < 30_000
