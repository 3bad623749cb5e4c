"""What an operation costs follows what it touches: counted at a size, and at ten times the size."""

from __future__ import annotations

from typing import Any

import pytest

from bench.growth.rows import ROWS, Row
from bench.growth.spent import steps_of


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in ROWS])
def test_an_operation_costs_the_same_beside_ten_times_as_much(row: Row) -> None:
    small, large = (row.play(size) for size in row.sizes[:2])
    assert large.steps <= row.most * small.steps
    assert large.touched == pytest.approx(small.touched)


def test_steps_are_counted_whatever_takes_them() -> None:
    def looped(times: int) -> Any:
        return [number + 1 for number in range(times)]

    once, often = (steps_of(lambda n=n: looped(n)) for n in (10, 1_010))  # type: ignore[misc]
    assert often - once == pytest.approx(1_000 * 6, rel=0.4)
