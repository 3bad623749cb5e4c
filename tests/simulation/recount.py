"""A batch recount of simple worlds: plain loops over the raw events, nothing of the product.

Weekly calendar periods in UTC, no duplicates with other bodies, no late definitions: what remains
is arithmetic, written out here once more. It checks the offline fold, which checks the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
BALANCES = ("balance", "seats", "level")
"""Recurring: they carry on whatever was before."""


class Use(NamedTuple):
    """One event: when it happened, and what it brings."""

    code: str
    transaction_id: str
    at_ms: int
    value: str
    user: str
    adds: bool
    group: str | None


class Figure(NamedTuple):
    """What is shown of one metric and group."""

    units: Fraction
    events: int


def recount(
    uses: Sequence[Use], week_ms: int, epoch_ms: int = 0
) -> dict[tuple[str, str | None], Figure]:
    """Figures of the week that starts at `week_ms`, by (code, group); each id counts once.

    `uses` in the order in which they were appended.
    """
    seen: set[str] = set()
    first: list[Use] = []
    for use in uses:
        if use.transaction_id not in seen:
            seen.add(use.transaction_id)
            first.append(use)
    rows: dict[tuple[str, str | None], list[Use]] = {}
    for use in sorted(first, key=lambda use: use.at_ms):
        recurs = use.code in BALANCES
        if use.at_ms < week_ms + WEEK_MS and (recurs or use.at_ms >= week_ms):
            group = use.group if use.code in ("sum", "unique") else None
            rows.setdefault((use.code, group), []).append(use)
    found = {}
    for (code, group), members in rows.items():
        figure = _figure(code, members, week_ms)
        if figure.units or figure.events:
            found[code, group] = figure
    return found


def _figure(code: str, uses: Sequence[Use], week_ms: int) -> Figure:
    values = [Fraction(use.value) for use in uses]
    inside = [use for use in uses if use.at_ms >= week_ms]
    count = len(uses)
    if code == "count":
        return Figure(Fraction(count), count)
    if code == "balance" and _share(uses, week_ms) < 0:
        return Figure(Fraction(0), count)
    if code in ("sum", "balance"):
        return Figure(max(Fraction(0), sum(values, Fraction(0))), count)
    if code == "max":
        return Figure(max(Fraction(0), *values), count)
    if code == "latest":
        return Figure(max(Fraction(0), values[-1]), count)
    if code in ("unique", "seats"):
        return _unique(uses)
    level = sum((Fraction(use.value) for use in uses if use.at_ms < week_ms), Fraction(0))
    return _weighted(level, inside, week_ms)


def _share(uses: Sequence[Use], week_ms: int) -> Fraction:
    """What a prorated balance bills: each value by the days that are left of the week."""
    ago = [(max(use.at_ms, week_ms) - week_ms) // DAY_MS for use in uses]
    days = sum((Fraction(u.value) * (7 - d) for u, d in zip(uses, ago, strict=True)), Fraction(0))
    # Rounded up at five decimals.
    return Fraction(-((-days / 7 * 10**5) // 1), 10**5)


def _unique(uses: Sequence[Use]) -> Figure:
    there: set[str] = set()
    for use in uses:
        if use.adds:
            there.add(use.user)
        else:
            there.discard(use.user)
    return Figure(Fraction(len(there)), len(there))


def _weighted(level: Fraction, inside: Sequence[Use], week_ms: int) -> Figure:
    area, since_ms = Fraction(0), week_ms
    for use in inside:
        area += level * (use.at_ms - since_ms)
        level += Fraction(use.value)
        since_ms = use.at_ms
    area += level * (week_ms + WEEK_MS - since_ms)
    digits = 10**20
    rounded = Fraction(-((-area / WEEK_MS * digits) // 1), digits)
    return Figure(max(Fraction(0), rounded), len(inside))
