"""What each event of a cell bills, event by event."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.billing_periods.instants import parse_iso8601_ms
from tables.aggregation import Window
from tables.instants.chain import (
    Chain,
    Figure,
    bill,
    in_advance_units,
    prorated,
    take_in,
    take_out,
)
from tests.world.profiles import examples

NO_ROUNDING = (None, None)


def ms(text: str) -> int:
    at_ms = parse_iso8601_ms(text)
    assert at_ms is not None
    return at_ms


JUNE = Window(
    ms("2024-06-01T00:00:00Z"),
    ms("2024-07-01T00:00:00Z"),
    ms("2024-06-30T23:59:59.999Z"),
    30,
    "UTC",
)


def run(*parts: str | int, counts_values: bool = False) -> tuple[Chain, list[Figure]]:
    """Take events in, one after another."""
    chain, figures = Chain(), []
    for part in parts:
        chain, figure = take_in(chain, Decimal(part), counts_values=counts_values)
        chain = bill(chain, figure)
        figures.append(figure)
    return chain, figures


@pytest.mark.parametrize(
    ("parts", "units", "applied", "current", "peak"),
    [
        pytest.param([1, 1, 1], [1, 1, 1], [1, 1, 1], 3, 3, id="count"),
        pytest.param([10, -6, 10], [10, 0, 4], [10, 0, 4], 14, 14, id="up, down, up"),
        pytest.param([10, -6, 3], [10, 0, 0], [10, 0, 3], 7, 10, id="not above the peak"),
        pytest.param([-5, 3], [0, 3], [0, 3], -2, 3, id="a negative first event"),
        pytest.param([-5, -2, 4], [0, 0, 2], [0, 0, 2], -3, 2, id="negative, and lower yet"),
        pytest.param([0, 2], [0, 2], [0, 2], 2, 2, id="nothing first"),
    ],
)
def test_an_event_bills_what_rises_above_the_peak(
    parts: list[int], units: list[int], applied: list[int], current: int, peak: int
) -> None:
    chain, figures = run(*parts)
    assert [figure.units for figure in figures] == units
    assert [figure.applied_units for figure in figures] == applied
    assert chain == Chain(Decimal(current), Decimal(peak), Decimal(sum(units)))


def test_a_removal_that_comes_first_bills_nothing_and_moves_nothing() -> None:
    chain, figures = run(-1, 1, counts_values=True)
    assert [figure.units for figure in figures] == [0, 1]
    assert chain == Chain(Decimal(1), Decimal(1), Decimal(1))


def test_a_canceled_event_leaves_the_chain_and_no_other_figure_changes() -> None:
    chain, figures = run(10, -6, 10)
    chain = take_out(chain, figures[0])
    assert chain == Chain(Decimal(4), Decimal(4), Decimal(4))
    assert take_in(chain, Decimal(1))[1].units == 1


def test_seats_are_billed_for_the_days_that_are_left() -> None:
    chain, billed = Chain(), []
    for day in range(11, 16):
        chain, figure = take_in(chain, Decimal(1), counts_values=True)
        figure = prorated(figure, ms(f"2024-06-{day}T10:00:00Z"), JUNE)
        chain = bill(chain, figure)
        billed.append(str(figure.billed))
    assert billed == ["0.66667", "0.63334", "0.60000", "0.56667", "0.53334"]
    assert chain.billed == Decimal("3.00002")
    assert take_out(chain, figure).billed == Decimal("2.46668")


@examples(200)
@given(st.lists(st.integers(-20, 20)))
def test_what_is_billed_is_the_highest_that_the_sum_came_to(parts: list[int]) -> None:
    parts[:1] = [abs(part) for part in parts[:1]]
    chain, figures = run(*parts)
    sums = [sum(parts[: i + 1]) for i in range(len(parts))]
    assert sum(figure.units for figure in figures) == max([0, *sums])
    assert all(figure.units >= 0 for figure in figures)
    assert chain.current == (sums[-1] if sums else None)


@examples(200)
@given(st.lists(st.integers(-20, 20), min_size=1), st.data())
def test_taking_out_gives_back_what_was_taken_in(parts: list[int], data: st.DataObject) -> None:
    chain, figures = run(*parts)
    place = data.draw(st.integers(0, len(parts) - 1))
    out = take_out(chain, figures[place])
    assert chain.current is not None
    assert out.current == chain.current - figures[place].part
    assert out.billed == chain.billed - figures[place].billed


@pytest.mark.parametrize(
    ("total", "parts", "shown"),
    [
        pytest.param(2, [1, 1, 1, -1, -1], 4, id="what is carried, and the peak"),
        pytest.param(-3, [5, -8], 5, id="what was billed stays"),
        pytest.param(-9, [], 0, id="never below 0"),
    ],
)
def test_usage_shows_what_was_billed_and_what_is_carried(
    total: int, parts: list[int], shown: int
) -> None:
    chain, _ = run(*parts)
    assert in_advance_units(Decimal(total), chain, JUNE, NO_ROUNDING, prorates=False) == shown


def test_usage_of_a_whole_period_shows_what_is_carried_in_full() -> None:
    chain = Chain(Decimal(2), Decimal(2), Decimal("0.5"))
    shown = in_advance_units(Decimal(5), chain, JUNE, NO_ROUNDING, prorates=True)
    assert shown == Decimal("3.5")


def test_usage_of_a_part_of_a_period_shows_its_days() -> None:
    chain = Chain(Decimal(2), Decimal(2), Decimal("0.5"))
    half = replace(JUNE, from_ms=ms("2024-06-16T00:00:00Z"))
    shown = in_advance_units(Decimal(5), chain, half, NO_ROUNDING, prorates=True)
    assert shown == Decimal("2.0")
    rounded = in_advance_units(Decimal(4), chain, half, ("ceil", 0), prorates=True)
    assert rounded == Decimal(2)
