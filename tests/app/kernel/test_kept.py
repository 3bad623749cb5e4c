"""A kernel that keeps numbers in a state itself keeps them as `apply` does, event by event."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.kernel import twin
from app.numbers import EXACT, ZERO
from app.wire.arrivals import Arrival
from tables.aggregation import KEPT
from tables.cells.cell import Cell
from tables.registry import AGGREGATIONS
from tables.values import Reading, number_of
from tests.app.kernel.runs import ALWAYS, learn, plain
from tests.world.profiles import examples

NUMBERS = sorted(name for name, each in AGGREGATIONS.items() if each.reads == "number")
LITERALS = st.sampled_from(
    [
        *("1", "-2.50", "0", "0.0", "-0.0", "7.125", '"3.10"', "99999999999.5", "0.00000050"),
        *("1000000000000000000000000000000000000.00", "true"),
    ]
)
TIMES = st.integers(-2, 2) | st.integers(1_767_225_600_000, 1_767_225_600_003)


def plain_number(number: int, literal: str, timestamp_ms: int) -> Arrival:
    """Return a plain event with a number, if it is one."""
    arrival = plain(number)
    event = arrival.event
    values = b'{"v":%s}' % literal.encode()
    return Arrival(
        type(event)(
            event.organization_id,
            event.external_subscription_id,
            event.transaction_id,
            event.code,
            timestamp_ms,
            ZERO if number % 2 else Decimal("1.5"),
            values,
            event.body,
        ),
        *("o", arrival.append_time_ms, 1, number, 0),
    )


@examples(150)
@given(batches=st.lists(st.lists(st.tuples(LITERALS, TIMES), max_size=6), max_size=3))
@pytest.mark.parametrize("prorated", [False, True])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_kept_as_they_are_applied(
    kernel: Any, name: str, prorated: bool, batches: list[list[tuple[str, int]]]
) -> None:
    learn(kernel)
    aggregation = AGGREGATIONS[name](prorated=prorated)
    kept = KEPT.index(aggregation.kept)
    cells, answers = [], []
    for each in (kernel, twin):
        cell = Cell(cast(Any, None), None, (), aggregation.initialize())
        parts = (aggregation.ordered, ZERO, EXACT.add, aggregation.apply, kept, EXACT.fma)
        reading = Reading("v", 8, {}, number_of, *parts)
        for batch in batches:
            run = [plain_number(number, *one) for number, one in enumerate(batch)]
            answers.append(each.take_run(cell, "s", "c", run, *ALWAYS, reading, []))
            assert answers[-1] is ("true" not in [literal for literal, _ in batch])
        cells.append(cell)
    assert repr(cells[0].state) == repr(cells[1].state)


def test_sums_maxima_and_moments_are_kept_so() -> None:
    assert {name: AGGREGATIONS[name]().kept for name in NUMBERS} == {
        **dict.fromkeys(NUMBERS, ""),
        "sum_agg": "sum",
        "max_agg": "greatest",
        "weighted_sum_agg": "moments",
    }
    assert AGGREGATIONS["sum_agg"](prorated=True).kept == ""
