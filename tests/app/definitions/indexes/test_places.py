"""Numbers are found by the hash that they were added with, however many there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions.indexes.places import Places

numbers = st.integers(0, (1 << 32) - 1)
hashes = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 5)


@given(st.lists(st.tuples(hashes, numbers | st.integers(0, 5)), max_size=300))
def test_all_numbers_of_a_hash_are_found_and_no_others(added: list[tuple[int, int]]) -> None:
    places = Places()
    for hashed, number in added:
        places.add(hashed, number)
    for hashed in {hashed for hashed, _ in added} | {6, -7}:
        alike = [n for other, n in added if (other ^ hashed) & 0xFFFFFFFF == 0]
        assert list(places.find(hashed)) == alike


def test_a_bucket_never_grows_much() -> None:
    places = Places()
    for number in range(20_000):
        places.add(hash(f"name {number}"), number)
    assert max(map(len, places._buckets)) < 8 * 24 * 5
    assert all(number in places.find(hash(f"name {number}")) for number in range(20_000))


def test_a_number_is_taken_out_and_no_other() -> None:
    places, kept = Places(), dict[int, int]()
    for number in range(2_000):
        places.add(number % 7, number)
        kept[number] = number % 7
    for number in range(0, 2_000, 3):
        places.remove(kept.pop(number), number)
    for hashed in range(7):
        assert list(places.find(hashed)) == [n for n, of in kept.items() if of == hashed]


def test_two_entries_are_not_taken_for_one_across_them() -> None:
    """The number of the first and the hash of the second are those of the third."""
    places = Places()
    for hashed, number in ((1, 5), (6, 2), (5, 6)):
        places.add(hashed, number)
    places.remove(5, 6)
    assert [list(places.find(hashed)) for hashed in (1, 6, 5)] == [[5], [2], []]


def test_what_is_not_there_cannot_be_taken_out() -> None:
    places = Places()
    places.add(1, 5)
    with pytest.raises(ValueError, match="not found"):
        places.remove(1, 6)
