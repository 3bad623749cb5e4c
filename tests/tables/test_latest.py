"""latest_agg among events of one millisecond: position decides, never the order of arrival."""

from __future__ import annotations

import itertools
from decimal import Decimal

import pytest

from tables.latest import Latest, LatestState

EVENTS = [
    (1_000, (10, 0, 5, 0), Decimal(1)),
    (1_000, (10, 0, 5, 1), Decimal(2)),
    (1_000, (10, 1, 0, 0), Decimal(3)),
    (999, (11, 0, 6, 0), Decimal(4)),
]


@pytest.mark.parametrize("order", list(itertools.permutations(EVENTS)))
def test_the_highest_position_of_the_newest_millisecond(
    order: tuple[tuple[int, tuple[int, int, int, int], Decimal], ...],
) -> None:
    latest = Latest()
    folded = latest.initialize()
    merged = latest.initialize()
    for timestamp_ms, position, value in order:
        latest.apply(folded, value, timestamp_ms, position)
        alone = latest.initialize()
        latest.apply(alone, value, timestamp_ms, position)
        latest.merge(merged, alone)
    assert isinstance(folded, LatestState)
    assert folded.value == merged.value == Decimal(3)
