"""What an operation changes where its property has many of later cuts."""

from __future__ import annotations

from typing import Any

import pytest

from tables.unique_count import MemberOperation, UniqueCount
from tests.world.clock import START_MS


class Looked(tuple[MemberOperation, ...]):
    """Operations that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        Looked.looks += len(found) if isinstance(place, slice) else 1
        return found


def operation(number: int, cut_ms: int) -> MemberOperation:
    """One of the first day, every other one a removal."""
    position = (START_MS + number, 0, number, 0)
    return MemberOperation(START_MS, cut_ms, START_MS + number, position, adds=number % 2 == 0)


def looks_at(count: int, *, prorated: bool) -> int:
    """How often any is looked at where so many have cuts of their own, later than of another."""
    member = Looked(operation(number, START_MS + number) for number in range(1, count + 1))
    Looked.looks = 0
    changes = UniqueCount(prorated=prorated).change(member, operation(0, START_MS))
    assert changes[START_MS, START_MS][0] == 1
    return Looked.looks


@pytest.mark.parametrize("prorated", [False, True])
def test_later_cuts_are_gone_through_once(*, prorated: bool) -> None:
    """Ten operations took a tenth of a second where each met hundreds of cuts."""
    assert looks_at(200, prorated=prorated) < 3 * looks_at(100, prorated=prorated)
