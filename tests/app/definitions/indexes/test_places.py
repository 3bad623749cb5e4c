"""Numbers are found by the hash that they were added with, however many there are."""

from __future__ import annotations

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
