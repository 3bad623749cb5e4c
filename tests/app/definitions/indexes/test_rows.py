"""Rows are as in a list, whatever is put in the place of what, and the dead ones go."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.indexes import rows as rows_module
from app.definitions.indexes.rows import CompactRows


@pytest.fixture(autouse=True, scope="module")
def chunks_are_small() -> Iterator[None]:
    """Let chunks have a thousand bytes, and rows up to three hundred."""
    with pytest.MonkeyPatch.context() as patch:
        small_chunks(patch)
        yield


def small_chunks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(rows_module, "CHUNK_BYTES", 1_000)
    patch.setattr(rows_module, "_LONGEST", 300)
    patch.setattr(rows_module, "_FULL", 1_000 - 304)
    patch.setattr(rows_module, "_LOOKED_AT", 40)
    patch.setattr(rows_module, "_MOVED", 3)


lengths = st.integers(1, 40) | st.sampled_from([126, 127, 128, 129, 255, 256, 299, 300, 301])
played = st.lists(
    st.tuples(st.integers(0, 30), st.none() | lengths, st.integers(0, 255)), max_size=200
)
"""Number of the row, one that there is not: the next; its length, None: it is elsewhere."""


@given(played)
def test_rows_are_as_in_a_list(things: list[tuple[int, int | None, int]]) -> None:
    rows, plain = CompactRows(), list[bytes | None]()
    for number, length, byte in things:
        row = None if length is None else bytes([byte]) * length
        kept = row if row is not None and len(row) <= 300 else None
        if number < len(plain):
            plain[number] = kept
            assert rows.replace(number, row) is (kept is not None)
        else:
            plain.append(kept)
            assert rows.append(row) is (kept is not None)
        assert [rows.get(number) for number in range(len(plain))] == plain


def test_a_row_that_was_read_is_another_once_it_changed() -> None:
    rows = CompactRows()
    rows.append(b"one")
    assert rows.get(0) == b"one"
    rows.replace(0, b"other")
    assert rows.get(0) == b"other"


def changed(rows: CompactRows, count: int, times: int) -> Iterator[None]:
    """Put so many rows, and change one after the other, any of them."""
    plain, random = [b"%05d" % number for number in range(count)], Random(1)
    for row in plain:
        assert rows.append(row)
    for time in range(times):
        number = random.randrange(count)
        plain[number] = b"%d at %d" % (number, time)
        assert rows.replace(number, plain[number])
        yield
    assert [rows.get(number) for number in range(count)] == plain


def test_what_was_changed_takes_no_room_for_long() -> None:
    rows = CompactRows()
    for _ in changed(rows, count=1_000, times=20_000):
        pass
    assert sum(len(chunk[0:1_000]) for chunk in rows._chunks) < 2.5 * 16 * 1_000
    assert len(rows._chunks) < 2.5 * 16 * 1_000 / 700, "numbers of chunks are given anew"


def test_no_change_moves_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    put, puts = CompactRows._put, list[int]()

    def counted(rows: CompactRows, row: bytes | bytearray) -> int:
        puts[-1] += 1
        return put(rows, row)

    rows, begun = CompactRows(), 0
    monkeypatch.setattr(CompactRows, "_put", counted)
    puts.append(0)
    for _ in changed(rows, count=1_000, times=5_000):
        begun = begun or len(puts)
        puts.append(0)
    assert max(puts[begun:]) == 4, "the changed row, and three that move"


def test_rows_are_refused_once_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "_MOST_CHUNKS", 2)
    rows, row = CompactRows(), b"r" * 99
    taken = [rows.append(row) for _ in range(20)]
    assert taken == [True] * 14 + [False] * 6
    assert [rows.get(number) for number in range(20)] == [row] * 14 + [None] * 6
    assert not rows.replace(0, row)
    assert rows.get(0) is None
    for number in range(7):
        rows.replace(number, None)
    assert rows.replace(19, row), "the first chunk is free again"
    assert rows.get(19) == row
