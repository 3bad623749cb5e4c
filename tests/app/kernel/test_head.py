"""The head of an event index, in the kernel and in its twin: the same rows, the same answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel import twin
from tests.world.profiles import examples

IDS = st.integers(0, 30).map(lambda number: b"%012d" % number) | st.binary(min_size=12, max_size=12)
ROWS = st.lists(st.tuples(IDS, st.integers(0, 255)), max_size=90).map(
    lambda rows: b"".join(name + bytes([value]) * 28 for name, value in rows)
)


@examples(200)
@given(
    batches=st.lists(ROWS, max_size=5), asked=st.lists(IDS, max_size=40), cut=st.integers(-2, 99)
)
def test_both_know_the_same(
    kernel: Any, batches: list[bytes], asked: list[bytes], cut: int
) -> None:
    heads = kernel.Head(), twin.Head()
    for batch in batches:
        ours, expected = (head.known(batch) for head in heads)
        assert ours == expected
        for head in heads:
            head.append(bytearray(batch))
        ours, expected = (head.find(b"".join(asked)) for head in heads)
        assert ours == expected
    assert len(heads[0]) == len(heads[1])
    assert heads[0].first(cut) == heads[1].first(cut)
    whole = b"".join(batches)
    assert heads[0].first(len(heads[0])) == whole


@pytest.mark.parametrize("kind", ["kernel", "twin"])
def test_the_newest_row_of_an_id_is_told(kernel: Any, kind: str) -> None:
    head = (kernel if kind == "kernel" else twin).Head()
    one, other = b"a" * 12, b"b" * 12
    rows = [one + bytes(28), other + bytes(28), one + b"x" * 28]
    for row in rows:
        head.append(row)
    assert head.find(other + one + b"c" * 12) == [(0, rows[1]), (1, rows[2])]
    assert head.known(b"c" * 40 + rows[0] + b"c" * 40) == [1, 2]
    with pytest.raises(ValueError, match="40 bytes"):
        head.append(b"short")
    with pytest.raises(ValueError, match="12 bytes"):
        head.find(b"short")


def test_ids_of_one_slot_cannot_be_chosen(kernel: Any) -> None:
    """Whoever knows the code alone does not know which ids meet."""
    crowded = b"".join(b"same" + b"%08d" % n + bytes(28) for n in range(20_000))
    head = kernel.Head()
    head.append(crowded)
    assert len(head.known(crowded)) == 20_000
