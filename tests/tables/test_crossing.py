"""Crossing: what the vectors of alerts leave out."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.definitions.model import AlertThreshold
from tables.crossing import MOST_STEPS, crossed
from tests.world.profiles import examples

EXAMPLE = [
    AlertThreshold("low", Decimal(10)),
    AlertThreshold("high", Decimal(50)),
    AlertThreshold("more", Decimal(25), recurring=True),
]


def reached(previous: str, current: str) -> list[Decimal]:
    return [t.value for t in crossed(EXAMPLE, Decimal(previous), Decimal(current))]


def test_a_value_that_falls_arms_its_thresholds_again() -> None:
    assert reached("0", "12") == [10]
    assert reached("12", "82") == [50, 75]
    assert reached("82", "100") == [100]
    assert reached("100", "70") == []
    assert reached("70", "80") == [75]


def test_of_very_many_steps_the_highest_are_listed() -> None:
    step = AlertThreshold(None, Decimal("1E-38"), recurring=True)
    steps = crossed([step], Decimal(0), Decimal("9" * 38))
    assert len(steps) == MOST_STEPS
    assert steps[-1].value == Decimal("9" * 38)
    assert steps == sorted(steps, key=lambda t: t.value)


quantities = st.decimals(-30, 60, places=1)


def alert_of(once: list[Decimal], step: Decimal | None) -> list[AlertThreshold]:
    thresholds = [AlertThreshold(None, value) for value in once]
    return thresholds if step is None else [*thresholds, AlertThreshold(None, step, recurring=True)]


alerts = st.builds(
    alert_of,
    st.lists(quantities, max_size=4, unique=True),
    st.none() | st.decimals(1, 20, places=1),
)


@given(alert=alerts, values=st.lists(quantities, min_size=3, max_size=3))
@examples(200)
def test_a_way_in_two_parts_crosses_what_the_whole_way_does(
    alert: list[AlertThreshold], values: list[Decimal]
) -> None:
    low, middle, high = sorted(values)
    parts = crossed(alert, low, middle) + crossed(alert, middle, high)
    assert sorted(parts, key=lambda t: t.value) == crossed(alert, low, high)


@given(alert=alerts, previous=quantities, current=quantities)
@examples(200)
def test_what_is_crossed_lies_on_the_way(
    alert: list[AlertThreshold], previous: Decimal, current: Decimal
) -> None:
    found = crossed(alert, previous, current)
    assert all(previous < threshold.value <= current for threshold in found)
    assert [t.value for t in found] == sorted(t.value for t in found)
