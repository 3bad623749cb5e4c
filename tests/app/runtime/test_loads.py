"""Loads are means over minutes, of partitions that are here."""

from __future__ import annotations

import pytest

from app.runtime.loads import MEAN_S, Loads


def told_after(*minutes: tuple[float, int], every_s: float = 1.0) -> dict[int, int]:
    """What is told of a partition after so many minutes of so many events a second each."""
    loads, now_s, folded = Loads(), 1_000.0, 0
    loads.note(7, folded, now_s)
    for length, per_s in minutes:
        for _ in range(int(length * 60 / every_s)):
            now_s += every_s
            folded += int(per_s * every_s)
            loads.note(7, folded, now_s)
    return loads.per_minute()


@pytest.mark.parametrize("minutes", [1, 5, 60])
@pytest.mark.parametrize("every_s", [1.0, 10.0])
def test_a_steady_load_is_told_as_it_is(minutes: int, every_s: float) -> None:
    assert told_after((minutes, 100), every_s=every_s) == {7: 6_000}


def test_nothing_is_told_in_the_first_minute() -> None:
    assert told_after((0.9, 100)) == {}


def test_a_burst_is_not_taken_for_the_load() -> None:
    assert told_after((60, 100), (0.25, 1_000))[7] < 1.5 * 6_000


def test_what_is_long_over_is_forgotten() -> None:
    assert told_after((60, 1_000), (60, 100)) == {7: 6_000}
    assert told_after((60, 1_000), (60, 0)) == {7: 0}


@pytest.mark.parametrize(
    ("folded", "passed_s"),
    [
        pytest.param(10, 5.0, id="restored anew"),
        pytest.param(10**9, MEAN_S + 1, id="it was elsewhere"),
    ],
)
def test_a_partition_that_comes_back_is_measured_anew(folded: int, passed_s: float) -> None:
    loads = Loads()
    for second in range(0, 121, 5):
        loads.note(7, 100 * second, float(second))
    assert loads.per_minute() == {7: 6_000}
    loads.note(7, folded, 120.0 + passed_s)
    assert loads.per_minute() == {}
