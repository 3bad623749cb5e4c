"""Records by parts: a sequence that makes no more of them than it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.kafka.parts import Fetched, Parts


class Counted(list[Any]):
    """A part that counts the records that it was asked for."""

    asked = 0

    def __getitem__(self, at: Any) -> Any:
        self.asked += 1
        return super().__getitem__(at)

    def __iter__(self) -> Iterator[Any]:
        self.asked += len(self)
        return super().__iter__()


def parts() -> tuple[Parts, list[Counted]]:
    """Return records with the offsets 3 to 5, and 9 to 10."""
    found = [
        Counted(Fetched(offset, 0, 0, None, b"", ()) for offset in offsets)
        for offsets in ((3, 4, 5), (), (9, 10))
    ]
    return Parts(found), found


def test_they_are_one_sequence() -> None:
    records, _ = parts()
    assert len(records) == 5
    assert [each.offset for each in records] == [3, 4, 5, 9, 10]
    assert [records[at].offset for at in range(-5, 5)] == 2 * [3, 4, 5, 9, 10]
    assert [each.offset for each in records[1:4]] == [4, 5, 9]
    with pytest.raises(IndexError):
        records[5]


def test_few_are_made_for_whoever_asks_for_few() -> None:
    records, found = parts()
    assert (records[0].offset, records[-1].offset) == (3, 10)
    # Faust looks whether a message is one of its own.
    with pytest.raises(TypeError):
        records["__faust"]  # type: ignore[call-overload]
    assert sum(part.asked for part in found) == 2


@pytest.mark.parametrize(
    ("offset", "left"), [(0, [3, 4, 5, 9, 10]), (4, [4, 5, 9, 10]), (6, [9, 10]), (11, [])]
)
def test_they_go_on_from_an_offset(offset: int, left: list[int]) -> None:
    records, _ = parts()
    found = [each for part, place in records.parts_from(offset) for each in part[place:]]
    assert [each.offset for each in found] == left


def test_what_is_cleared_is_empty() -> None:
    records, _ = parts()
    records.clear()
    assert (len(records), list(records)) == (0, [])
