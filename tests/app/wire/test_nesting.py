"""Depth of JSON, and cutting it."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.nesting import deeper_than, flattened, split_array

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


@given(json_values, st.integers(0, 5))
def test_flattening_empties_what_is_deeper(value: Any, levels: int) -> None:
    def cut(inner: Any, left: int) -> Any:
        if not isinstance(inner, dict | list):
            return inner
        if left == 0:
            return []
        if isinstance(inner, dict):
            return {key: cut(each, left - 1) for key, each in inner.items()}
        return [cut(each, left - 1) for each in inner]

    assert json.loads(flattened(json.dumps(value).encode(), levels)) == cut(value, levels)


@given(st.lists(json_values, max_size=5), st.booleans())
def test_arrays_are_cut_into_their_elements(values: list[Any], wide: bool) -> None:
    text = json.dumps(values, indent=1 if wide else None, ensure_ascii=False).encode()
    assert [json.loads(element) for element in split_array(text)] == values


@pytest.mark.parametrize("levels", [0, 3, 18])
@pytest.mark.parametrize("depth", [49, 50, 51, 52, 101, 3000])
def test_however_deep(levels: int, depth: int) -> None:
    deep = b'{"a":[1,' * depth + b'"]"' + b"]}" * depth
    shallow = flattened(deep, levels)
    assert deeper_than(shallow, levels)
    assert not deeper_than(shallow, levels + 1)
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(flattened(deep.replace(b'"]"', b'"]" "]"'), levels))


@pytest.mark.parametrize("text", [b"[[1,]]", b"[[1}]", b"[[[[", b'[["a]]', b"[[01]]"])
def test_what_is_cut_away_must_be_json(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(flattened(text, 1))
