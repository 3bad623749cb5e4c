"""Keyed rows: found by what they begin with, whatever was taken out before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tables.changelogged.keyed_rows import KeyedRows
from tests.world.profiles import examples

KEYS = [number.to_bytes(2, "big") for number in range(60)]


def keyed(pairs: dict[bytes, bytes]) -> KeyedRows:
    """Return rows, each of a key with what follows it."""
    rows = KeyedRows()
    for key, rest in pairs.items():
        rows.put(key, key + rest)
    return rows


@examples(200)
@given(st.lists(st.tuples(st.sampled_from(KEYS), st.one_of(st.none(), st.binary(max_size=3)))))
def test_rows_are_as_a_dict_would_have_them(steps: list[tuple[bytes, bytes | None]]) -> None:
    """None: the row is taken out."""
    rows, known = KeyedRows(), dict[bytes, bytes]()
    for key, rest in steps:
        if rest is None:
            assert rows.pop(key) == known.pop(key, None)
        else:
            rows.put(key, key + rest)
            known[key] = key + rest
        assert len(rows) == len(known)
        assert {each: rows.get(each) for each in KEYS} == {each: known.get(each) for each in KEYS}


def test_a_row_takes_the_place_of_one_that_went() -> None:
    rows = keyed({b"a": b"", b"b": b"", b"c": b""})
    number = rows.find(b"b")
    assert rows.pop(b"b") == b"b"
    assert rows.put(b"d", b"d!") == number
    assert (rows.find(b"b"), rows[number], len(rows)) == (-1, b"d!", 3)
