"""Comparing numbers as a vector asks: exactly, rounded, or within a tolerance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from app.numbers import EXACT, plain, round_units


class Difference(NamedTuple):
    """One field that is not as expected; values as text."""

    field: str
    expected: str
    got: str


class Comparison:
    """`compare` of a vector: `round` (half away from zero) or `within`, both of units alone."""

    def __init__(self, described: Mapping[str, Any]):
        self._digits: int | None = described.get("round")
        self._tolerance = Decimal(str(described.get("within", 0)))
        self._unknown = sorted(described.keys() - {"round", "within"})

    def number(
        self, name: str, wanted: object, numbers: Mapping[str, Decimal], place: str
    ) -> Iterator[Difference]:
        """The difference of one expected number, if there is one."""
        if self._unknown:
            yield Difference(place, "a known comparison", ", ".join(self._unknown))
            return
        if name not in numbers:
            yield Difference(place, str(wanted), "nothing that is computed here")
            return
        expected = _decimal(wanted)
        if expected is None or not self._equal(name, expected, numbers[name]):
            yield Difference(place, str(wanted), plain(numbers[name]))

    def _equal(self, name: str, expected: Decimal, got: Decimal) -> bool:
        if name == "events_count":
            # That of a prorated unique count is its value, cut off.
            return expected == int(got)
        if self._digits is not None:
            expected = round_units(expected, "round", self._digits)
            got = round_units(got, "round", self._digits)
        return abs(EXACT.subtract(got, expected)) <= self._tolerance


def numbers_of(numbers: Mapping[str, Decimal]) -> str:
    """Numbers in one line."""
    return ", ".join(f"{name} {plain(number)}" for name, number in numbers.items())


def _decimal(wanted: object) -> Decimal | None:
    if isinstance(wanted, bool) or not isinstance(wanted, str | int | Decimal):
        return None
    try:
        number = Decimal(wanted)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
