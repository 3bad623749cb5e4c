"""Shelved rows: as a dict would have them, and out of memory once a chunk is full."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from app.definitions.indexes.rows import CHUNK_BYTES
from app.runtime.shelf import Shelf
from tables.changelogged.shelved_rows import ShelvedRows
from tests.world.profiles import examples

KEYS = [number.to_bytes(2, "big") for number in range(60)]
LONG = b"long" * 2_000
"""No chunk takes it."""


@examples(200)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([b"", b"a", b"bc", LONG]))))
def test_rows_are_as_a_dict_would_have_them(steps: list[tuple[bytes, bytes]]) -> None:
    rows, known = ShelvedRows(), dict[bytes, bytes]()
    for key, rest in steps:
        assert rows.put(key, key + rest) == known.get(key)
        known[key] = key + rest
        assert len(rows) == len(known)
        assert {each: rows.get(each) for each in KEYS} == {each: known.get(each) for each in KEYS}


def test_a_row_takes_a_few_bytes_of_memory(tmp_path: Path) -> None:
    count, row = 40_000, bytes(100)
    tracemalloc.start()
    rows = ShelvedRows(Shelf(tmp_path).keep)
    for number in range(count):
        key = number.to_bytes(16, "big")
        rows.put(key, key + row)
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    # A chunk that is not full is in memory.
    assert taken - CHUNK_BYTES < 20 * count
    assert rows.get(bytes(16)) == bytes(16) + row
