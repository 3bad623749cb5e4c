"""Any bytes to every target, and everything that was ever found."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, check, corrections, inputs_of, queries
from tests.world.profiles import count

SEEDS = {name: [each.read_bytes() for each in inputs_of(name)] for name in TARGETS}
few = settings(
    max_examples=count(60),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


@st.composite
def spoiled(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """An input of the corpus in which some bytes are others, are gone or come twice."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until = draw(st.integers(at, min(len(data), at + 8)))
        data = data[:at] + draw(st.binary(max_size=8) | st.just(data[at:until] * 2)) + data[until:]
    return data


@pytest.mark.parametrize(
    ("name", "file"),
    [
        pytest.param(name, file, id=f"{name}-{file.name}")
        for name in TARGETS
        for file in inputs_of(name)
    ],
)
def test_what_is_in_the_corpus(name: str, file: Any) -> None:
    check(TARGETS[name], file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
@few
@given(data=st.data())
def test_any_bytes(name: str, data: st.DataObject) -> None:
    check(TARGETS[name], data.draw(st.binary(max_size=400) | spoiled(SEEDS[name])))


@few
@given(st.lists(st.binary(min_size=3, max_size=3), max_size=20).map(b"".join))
def test_corrections_keep_to_the_rule(data: bytes) -> None:
    check(corrections, data)


@few
@given(st.text())
def test_any_text_is_a_query_string(text: str) -> None:
    check(queries, text.encode("utf-8", "surrogatepass"))
