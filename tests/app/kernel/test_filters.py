"""Which ids may be in a segment, and which are: kernel and twin tell the same, and miss none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel import twin
from tables.event_index.filters import FilterBuilder, Keys
from tables.event_index.rows import ROW, sort_rows
from tests.world.profiles import examples

IDS = st.binary(min_size=12, max_size=12) | st.integers(0, 40).map(lambda n: b"%012d" % n)


@examples(200)
@given(
    held=st.lists(IDS, min_size=1, max_size=60), others=st.lists(IDS, max_size=60), data=st.data()
)
def test_both_tell_the_same_and_miss_none(
    kernel: Any, held: list[bytes], others: list[bytes], data: st.DataObject
) -> None:
    rows = sort_rows(np.frombuffer(b"".join(event_id + bytes(28) for event_id in held), ROW))
    builder = FilterBuilder(len(rows))
    words = np.concatenate([builder.add(Keys(rows)), builder.finish()])
    stride = data.draw(st.sampled_from([12, 40]))
    packed = bytearray(b"".join(name + bytes(stride - 12) for name in [*held, *others]))
    places = kernel.maybe_among(packed, stride, words)
    assert places == twin.maybe_among(packed, stride, words)
    assert set(places) >= set(range(len(held)))


@pytest.mark.parametrize("which", ["kernel", "twin"])
@pytest.mark.parametrize(("packed", "stride"), [(bytes(12), 0), (bytes(11), 11), (bytes(13), 12)])
def test_torn_ids_are_refused(kernel: Any, which: str, packed: bytes, stride: int) -> None:
    module = kernel if which == "kernel" else twin
    with pytest.raises(ValueError, match="12 bytes"):
        module.maybe_among(packed, stride, np.zeros(1, np.uint64))


def test_the_kernel_refuses_a_filter_without_words(kernel: Any) -> None:
    with pytest.raises(ValueError, match="12 bytes"):
        kernel.maybe_among(bytes(12), 12, np.zeros(0, np.uint64))


@examples(200)
@given(held=st.lists(IDS, max_size=130), others=st.lists(IDS, max_size=9))
def test_a_row_is_found_by_its_id(kernel: Any, held: list[bytes], others: list[bytes]) -> None:
    rows = {event_id: event_id + event_id * 2 + b"more" for event_id in sorted(held)}
    packed = b"".join(rows.values())
    for event_id in [*held, *others]:
        for module in (kernel, twin):
            assert module.row_among(packed, event_id) == rows.get(event_id)


@pytest.mark.parametrize("which", ["kernel", "twin"])
@pytest.mark.parametrize(("rows", "event_id"), [(bytes(39), bytes(12)), (bytes(40), bytes(11))])
def test_torn_rows_are_refused(kernel: Any, which: str, rows: bytes, event_id: bytes) -> None:
    module = kernel if which == "kernel" else twin
    with pytest.raises(ValueError, match="40 bytes"):
        module.row_among(rows, event_id)
