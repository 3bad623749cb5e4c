"""Laws of every aggregation: order, batches and packing never change a state or its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.numbers import EXACT, MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS
from tables.aggregation import Aggregation, State, Window, lose
from tables.count import Count
from tables.registry import AGGREGATIONS
from tables.sum import Sum
from tables.weighted_sum import WeightedSum
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.profiles import examples

WINDOW = Window(START_MS, START_MS + WEEK_MS, START_MS + WEEK_MS - 1, 7, "Europe/Paris")

FOLDING: dict[str, Callable[[], Aggregation[Any]]] = {
    name: each
    for name, each in AGGREGATIONS.items()
    if each.reads != "operation"  # test_unique_count has the laws of members.
} | {
    "prorated sum": lambda: Sum(recurring=True, prorated=True, timezone="Europe/Paris"),
}
each = pytest.mark.parametrize("name", FOLDING)
some = examples(60)


class Item(NamedTuple):
    """An event as an aggregation takes it."""

    value: Decimal
    timestamp_ms: int
    position: tuple[int, int, int, int]
    digest: int
    precise: Decimal | None


values = st.decimals(
    min_value=-(10**MAX_INTEGER_DIGITS) + 1,
    max_value=10**MAX_INTEGER_DIGITS - 1,
    places=MAX_FRACTION_DIGITS,
)
small_values = st.decimals(min_value=-9, max_value=9, places=1)
all_values = st.one_of(small_values, values)
spellings = st.sampled_from(
    [Decimal(text) for text in ("20", "20.0", "20.00", "2E+1", "0", "-0.0")]
)
amounts = st.sampled_from([Decimal(text) for text in ("2", "2.0", "2.00", "-2.00", "0")])
"""As the wire gives them: without an exponent, and with one zero."""
numbers = pytest.mark.parametrize(
    "numbers",
    [
        pytest.param(all_values, id="many numbers"),
        pytest.param(spellings, id="few in many spellings"),
    ],
)


@st.composite
def items(draw: st.DrawFn, numbers: st.SearchStrategy[Decimal] = all_values) -> list[Item]:
    """Events with distinct positions; times and values often equal."""
    count = draw(st.integers(0, 8))
    times = st.integers(START_MS - DAY_MS, START_MS + WEEK_MS - 1)
    few_times = st.sampled_from([START_MS, START_MS + DAY_MS])
    return [
        Item(
            draw(numbers),
            draw(st.one_of(few_times, times)),
            (START_MS, 0, offset, 0),
            draw(st.integers(0, (1 << 128) - 1)),
            draw(st.one_of(st.none(), small_values, amounts)),
        )
        for offset in range(count)
    ]


def folded(aggregation: Aggregation[Any], events: Sequence[Item]) -> Any:
    state = aggregation.initialize()
    for item in events:
        aggregation.apply(state, item.value, item.timestamp_ms, item.position)
        # What all types keep is counted by the fold; the laws of a whole fold are in `world`.
        Count().merge(state, State(1, item.digest, item.precise))
    return state


def comparable(state: State) -> list[Any]:
    """Fields by value: decimals of equal value may have different exponents."""
    return [getattr(state, field) for field in state.__struct_fields__]


def assert_same(aggregation: Aggregation[Any], one: State, other: State) -> None:
    """By value, and as they are packed: that is what verify compares."""
    assert comparable(one) == comparable(other)
    assert aggregation.pack(one) == aggregation.pack(other)


@numbers
@each
@some
@given(st.data())
def test_any_order(name: str, numbers: st.SearchStrategy[Decimal], data: st.DataObject) -> None:
    aggregation = FOLDING[name]()
    events = data.draw(items(numbers))
    shuffled = data.draw(st.permutations(events))
    assert_same(aggregation, folded(aggregation, events), folded(aggregation, shuffled))


@numbers
@each
@some
@given(st.data())
def test_merge_is_folding_both(
    name: str, numbers: st.SearchStrategy[Decimal], data: st.DataObject
) -> None:
    aggregation = FOLDING[name]()
    events = data.draw(items(numbers))
    cut = data.draw(st.integers(0, len(events)))
    left, right = folded(aggregation, events[:cut]), folded(aggregation, events[cut:])
    kept = comparable(right)
    aggregation.merge(left, right)
    assert_same(aggregation, left, folded(aggregation, events))
    assert comparable(right) == kept
    # In the other order, too: cuts are settled in one, shown in another.
    right = folded(aggregation, events[cut:])
    aggregation.merge(right, folded(aggregation, events[:cut]))
    assert_same(aggregation, right, left)


@each
@some
@given(st.data())
def test_packing_round_trip(name: str, data: st.DataObject) -> None:
    aggregation = FOLDING[name]()
    state = folded(aggregation, data.draw(items()))
    packed = msgspec.msgpack.encode(aggregation.pack(state))
    unpacked = aggregation.unpack(msgspec.msgpack.decode(packed))
    assert unpacked == state
    assert aggregation.pack(unpacked) == aggregation.pack(state)


@numbers
@each
@some
@given(st.data())
def test_a_removed_event_was_never_there(
    name: str, numbers: st.SearchStrategy[Decimal], data: st.DataObject
) -> None:
    """Or the state is as it was, and only a refold can tell."""
    aggregation = FOLDING[name]()
    events = data.draw(items(numbers))
    state = folded(aggregation, events)
    for item in data.draw(st.permutations(events)):
        before = aggregation.pack(state)
        rest = folded(aggregation, [each for each in events if each is not item])
        if aggregation.remove(state, item.value, item.timestamp_ms, item.position):
            events = [each for each in events if each is not item]
            assert lose(state, item.digest, item.precise)
            assert aggregation.pack(state) == aggregation.pack(rest)
        else:
            assert name not in ALWAYS_REMOVABLE
            assert aggregation.pack(state) == before
            return


ALWAYS_REMOVABLE = ("count_agg", "sum_agg", "prorated sum")


@each
@some
@given(st.data())
def test_result_leaves_the_states_alone(name: str, data: st.DataObject) -> None:
    aggregation = FOLDING[name]()
    state, before = folded(aggregation, data.draw(items())), folded(aggregation, [])
    kept = comparable(state)
    first = aggregation.result(state, before, WINDOW)
    assert aggregation.result(state, before, WINDOW) == first
    assert comparable(state) == kept


@some
@given(st.data())
def test_recurring_carry_is_folding_history(data: st.DataObject) -> None:
    """`before` holds history; the balance is that of one fold of everything."""
    events = data.draw(items())
    past = [item for item in events if item.timestamp_ms < START_MS]
    inside = [item for item in events if item.timestamp_ms >= START_MS]
    recurring = Sum(recurring=True)
    carried = recurring.result(folded(recurring, inside), folded(recurring, past), WINDOW)
    whole = recurring.result(folded(recurring, events), None, WINDOW)
    assert carried == whole
    level = WeightedSum()
    result = level.result(folded(level, inside), folded(level, past), WINDOW)
    assert result.level == whole.full_units
    assert result.events_count == len(inside)


@some
@given(st.data())
def test_weighted_sum_is_the_integral_of_a_step_function(data: st.DataObject) -> None:
    events = data.draw(items())
    initial = folded(WeightedSum(), [i for i in events if i.timestamp_ms < START_MS])
    inside = [i for i in events if i.timestamp_ms >= START_MS]
    area, level, since_ms = Fraction(0), Fraction(0), START_MS
    for item in events:
        level += Fraction(item.value) if item.timestamp_ms < START_MS else 0
    for item in sorted(inside, key=lambda i: i.timestamp_ms):
        area += level * (item.timestamp_ms - since_ms)
        level, since_ms = level + Fraction(item.value), item.timestamp_ms
    area += level * (WINDOW.end_ms - since_ms)
    exact = area / (WINDOW.duration_days * DAY_MS)
    figures = WeightedSum().result(folded(WeightedSum(), inside), initial, WINDOW)
    assert 0 <= Fraction(figures.value) - exact < Fraction(1, 10**20)
    assert Fraction(figures.level or 0) == level


@some
@given(st.data())
def test_prorated_sum_weighs_by_days_left(data: st.DataObject) -> None:
    """With UTC and whole weeks, an event on day k of 7 counts (7 - k) / 7."""
    events = [i for i in data.draw(items()) if i.timestamp_ms >= START_MS]
    aggregation = Sum(recurring=True, prorated=True, timezone="UTC")
    window = replace(WINDOW, timezone="UTC")
    exact = sum(
        (Fraction(i.value) * (7 - (i.timestamp_ms - START_MS) // DAY_MS) for i in events),
        Fraction(0),
    )
    figures = aggregation.result(folded(aggregation, events), aggregation.initialize(), window)
    assert 0 <= Fraction(figures.value) - exact / 7 < Fraction(1, 10**5)
    assert Fraction(figures.full_units) == sum((Fraction(i.value) for i in events), Fraction(0))


@each
def test_no_event_is_nothing(name: str) -> None:
    aggregation = FOLDING[name]()
    nothing, before = aggregation.initialize(), aggregation.initialize()
    figures = aggregation.result(nothing, before, WINDOW)
    assert not any((figures.value, figures.full_units, figures.events_count))


def test_a_sum_that_cannot_be_exact_raises() -> None:
    """Twice 200 digits apart: rather an error than a rounded sum."""
    state = Sum().initialize()
    Sum().apply(state, Decimal("1e200"), START_MS, (0, 0, 0, 0))
    with pytest.raises(EXACT_TRAPS):
        Sum().apply(state, Decimal("1e-1"), START_MS, (0, 0, 1, 0))


EXACT_TRAPS = tuple(signal for signal, trapped in EXACT.traps.items() if trapped)
