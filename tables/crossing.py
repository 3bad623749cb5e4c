"""Crossing: which thresholds of an alert a rising value reaches.

A one-time threshold is reached once on the way up. A recurring one is a step: it is reached again
at each multiple above the greatest one-time threshold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from app.definitions.model import AlertThreshold
from app.numbers import EXACT, ZERO

MOST_STEPS: Final = 100
"""Number of steps of a recurring threshold that are listed: the highest ones."""


def crossed(
    thresholds: Sequence[AlertThreshold], previous: Decimal, current: Decimal
) -> list[AlertThreshold]:
    """Return what a value crosses on its way from `previous` to `current`, ascending.

    Of a recurring threshold at most `MOST_STEPS` are returned, each with the value reached.
    """
    once = sorted((t for t in thresholds if not t.recurring), key=lambda t: t.value)
    reached = [threshold for threshold in once if previous < threshold.value <= current]
    base = once[-1].value if once else ZERO
    for threshold in thresholds:
        if threshold.recurring:
            reached += _steps(threshold, base, previous, current)
    return reached


def _steps(
    step: AlertThreshold, base: Decimal, previous: Decimal, current: Decimal
) -> Iterator[AlertThreshold]:
    last = _steps_to(current, base, step.value)
    first = max(_steps_to(previous, base, step.value), last - MOST_STEPS, 0) + 1
    for count in range(first, last + 1):
        value = EXACT.add(base, EXACT.multiply(Decimal(count), step.value))
        yield msgspec.structs.replace(step, value=value)


def _steps_to(value: Decimal, base: Decimal, step: Decimal) -> int:
    """Return how many whole steps lie between the base and a value; below the base at most 0."""
    return int(EXACT.divide_int(EXACT.subtract(value, base), step))
