"""What single events have to tell: what each bills in advance, and which thresholds are crossed.

It knows the charge paid in advance and the alert of `tests.world.live.world`, and nothing of
tables/. Each id has entered once, where its position is smallest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

IN_ADVANCE = "traffic"
WATCHED = "peak"
ONCE = Decimal(50)
EVERY = Decimal(25)
"""Thresholds of the alert: one, and steps above it."""
GRID_MS = 1_000

Place = tuple[int, int, int]
"""Partition, offset and index."""


class Billed(NamedTuple):
    """What one event bills."""

    place: Place
    units: Decimal
    """What it bills."""
    current: Decimal
    peak: Decimal


class Triggered(NamedTuple):
    """One message of an alert."""

    subscription: str
    cut_ms: int
    previous: Decimal
    current: Decimal
    crossed: tuple[Decimal, ...]


class Events:
    """Events as they come in, in any order."""

    def __init__(self, spans_ms: Sequence[tuple[int, int]], watched: Sequence[str]):
        """Take the months, the running one last, and who has the alert."""
        self._spans_ms, self._watched = spans_ms, set(watched)
        self._valued: dict[tuple[str, bool, int], list[tuple[Any, Decimal]]] = {}
        self._seen: dict[str, list[tuple[Any, Decimal | None]]] = {}

    def enter(self, event: Any) -> None:
        """Take an event."""
        code, properties = event.code, event.properties
        months = [
            number
            for number, (from_ms, until_ms) in enumerate(self._spans_ms)
            if from_ms <= event.timestamp_ms < until_ms
        ]
        if code == IN_ADVANCE:
            filtered = properties.get("region") == "eu"
            for month in months:
                cell = self._valued.setdefault((event.subscription, filtered, month), [])
                cell.append((event.position, Decimal(properties["gb"])))
        if code == WATCHED and event.subscription in self._watched:
            counts = len(self._spans_ms) - 1 in months
            value = Decimal(properties["cores"]) if counts else None
            self._seen.setdefault(event.subscription, []).append((event.position, value))

    def billed(self) -> set[Billed]:
        """What every event bills: only what takes its cell above what was billed before."""
        found: set[Billed] = set()
        for values in self._valued.values():
            current = peak = None
            for position, value in sorted(values):
                if current is None or peak is None:
                    current = peak = value
                    units = max(Decimal(0), value)
                else:
                    current += value
                    units = max(Decimal(0), current - peak)
                    if units:
                        peak = max(current, units)
                found.add(Billed(position[1:], units, current, peak))
        return found

    def triggered(self) -> set[Triggered]:
        """Every message: where the greatest value at a second crosses what it did not before."""
        return {each for name, seen in self._seen.items() for each in _crossings(name, seen)}


def _crossings(name: str, seen: Sequence[tuple[Any, Decimal | None]]) -> Iterator[Triggered]:
    cuts: dict[int, list[Decimal]] = {}
    for position, value in sorted(seen, key=lambda each: each[0]):
        cut_ms = -(-position[0] // GRID_MS) * GRID_MS
        cuts.setdefault(cut_ms, []).extend([] if value is None else [value])
    reached = Decimal(0)
    for cut_ms, values in cuts.items():
        now = max([reached, *values])
        steps = [ONCE, *(ONCE + EVERY * k for k in range(1, int(now / EVERY) + 1))]
        crossed = tuple(step for step in steps if reached < step <= now)
        if crossed:
            yield Triggered(name, cut_ms, reached, now, crossed)
        reached = now
