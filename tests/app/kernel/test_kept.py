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
from tables.values import Reading, Value, number_of
from tests.app.kernel.runs import ALWAYS, learn, plain
from tests.world.profiles import examples

NUMBERS = sorted(name for name, each in AGGREGATIONS.items() if each.reads == "number")
ANY_NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,13})(\.[0-9]{1,8})?", fullmatch=True)
LITERALS = ANY_NUMBERS | st.sampled_from(
    [
        *("1", "-2.50", "0", "0.0", "-0.0", "7.125", '"3.10"', "99999999999.5", "0.00000050"),
        *("1000000000000000000000000000000000000.00", "true"),
    ]
)
TIMES = st.integers(-2, 2) | st.integers(1_767_225_600_000, 1_767_225_600_003)
ANY_TIMES = TIMES | st.sampled_from([10**14, 10**14 + 1, -(10**14), -(10**14) - 1])


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


def twice_of(literals: str) -> Value | None:
    """Return twice a number, as an expression might say."""
    value = number_of(literals)
    return None if value is None else Value(2 * value.number, "", True, f"2 * {literals}")


def kept(
    kernel: Any,
    aggregation: Any,
    batches: list[list[tuple[str, int]]],
    *,
    is_computed: bool = False,
) -> str:
    """Return what becomes of a cell. `is_computed`: each number counts twice."""
    cell = Cell(cast(Any, None), None, (), aggregation.initialize())
    way = KEPT.index(aggregation.kept)
    parts = (aggregation.ordered, ZERO, EXACT.add, aggregation.apply, way, EXACT.fma)
    reading = Reading("v", 8, {}, number_of, *parts)
    if is_computed:
        reading = reading._replace(field=("v",), number_of=twice_of)
    for batch in batches:
        run = [plain_number(number, *one) for number, one in enumerate(batch)]
        answer = kernel.take_run(cell, "s", "c", run, *ALWAYS, reading, [])
        assert answer is ("true" not in [literal for literal, _ in batch])
    return repr(cell.state)


@examples(150)
@given(batches=st.lists(st.lists(st.tuples(LITERALS, TIMES), max_size=6), max_size=3))
@pytest.mark.parametrize("is_computed", [False, True])
@pytest.mark.parametrize("prorated", [False, True])
@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_kept_as_they_are_applied(
    kernel: Any, name: str, prorated: bool, is_computed: bool, batches: list[list[tuple[str, int]]]
) -> None:
    learn(kernel)
    aggregation = AGGREGATIONS[name](prorated=prorated)
    ours, theirs = (
        kept(one, aggregation, batches, is_computed=is_computed) for one in (kernel, twin)
    )
    assert ours == theirs


@examples(150)
@given(events=st.lists(st.tuples(LITERALS, ANY_TIMES), max_size=9))
def test_moments_of_any_time_are_kept_so(kernel: Any, events: list[tuple[str, int]]) -> None:
    learn(kernel)
    aggregation = AGGREGATIONS["weighted_sum_agg"]()
    assert kept(kernel, aggregation, [events]) == kept(twin, aggregation, [events])


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_of_the_longest_numbers_are_whole(kernel: Any, sign: int) -> None:
    """Each number is aligned to the most decimals, and the greatest time multiplies it."""
    learn(kernel)
    aggregation = AGGREGATIONS["weighted_sum_agg"]()
    longest = [("999999999999", sign * 10**14), ("-999999.999999", sign * 10**14)] * 500
    for events in (longest, [(literal.removeprefix("-"), time) for literal, time in longest]):
        assert kept(kernel, aggregation, [events]) == kept(twin, aggregation, [events])


def test_sums_maxima_and_moments_are_kept_so() -> None:
    assert {name: AGGREGATIONS[name]().kept for name in NUMBERS} == {
        **dict.fromkeys(NUMBERS, ""),
        "sum_agg": "sum",
        "max_agg": "greatest",
        "weighted_sum_agg": "moments",
    }
    assert AGGREGATIONS["sum_agg"](prorated=True).kept == ""
