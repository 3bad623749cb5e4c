"""A naive calculator: every figure from the list of events, as metering-semantics words it.

Nothing of the product's accumulators is used: no states, no layers, no sums kept for later.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from app.billing_periods.day_count import inclusive_days
from app.billing_periods.timezones import local_date
from app.definitions.periods import Period
from app.numbers import plain, property_text
from app.wire.arrivals import Arrival
from app.wire.identity import digest_of
from app.wire.properties import read_properties
from tests.world.definitions import METRICS, PRESENTED, PRICES, PRORATED, SUBSCRIPTION


class Row(NamedTuple):
    """An event as a list entry."""

    timestamp_ms: int
    position: tuple[int, ...]
    code: str
    transaction_id: str
    value: Decimal
    text: str
    adds: bool
    group: str | None


class Shown(NamedTuple):
    """What a record shows of a cell."""

    units: str
    prorated_units: str | None
    total_aggregated_units: str
    events_count: int
    digest: str


NOTHING = Shown("0.0", None, "0.0", 0, f"{0:032x}")


class Cell(NamedTuple):
    """A cell's figures, and what decides whether it is published."""

    shown: Shown
    carries: bool
    in_period: int

    @property
    def used(self) -> bool:
        """Whether it is published for its own sake."""
        numbers = (self.shown.units, self.shown.prorated_units or "0.0")
        return any(n != "0.0" for n in numbers) or self.carries or self.in_period > 0


def winners(events: Iterable[Arrival], at_ms: int) -> list[Row]:
    """Of every transaction id the event of the smallest position, of those appended by then."""
    first: dict[str, Arrival] = {}
    for arrival in sorted(events, key=lambda a: a.position):
        if arrival.append_time_ms <= at_ms:
            first.setdefault(arrival.event.transaction_id, arrival)
    return [row(arrival) for arrival in first.values()]


def row(arrival: Arrival) -> Row:
    texts = {
        name: property_text(raw) for name, raw in read_properties(arrival.event.properties).items()
    }
    return Row(
        arrival.timestamp_ms,
        arrival.position,
        arrival.event.code,
        arrival.event.transaction_id,
        Decimal(texts["v"] or "0"),
        texts["u"] or "",
        texts["operation_type"] != "remove",
        (texts.get("g") or "").strip() or None,
    )


def cell(code: str, rows: Sequence[Row], period: Period) -> Cell:
    """Figures of one cell of a period; `rows` are of its code and group."""
    metric = METRICS[code]
    recurring = bool(metric.get("recurring"))
    inside = [r for r in rows if period.start_ms <= r.timestamp_ms < period.end_ms]
    before = [r for r in rows if r.timestamp_ms < period.start_ms] if recurring else []
    counted = sorted([*before, *inside], key=lambda r: (r.timestamp_ms, r.position))
    prorated: Fraction | None = None
    level: Fraction | None = None
    count = len(counted)
    carried = Fraction(0)
    match metric["aggregation_type"]:
        case "count_agg":
            units = Fraction(count)
        case "sum_agg":
            units = carried = total(counted)
            if code in PRORATED:
                prorated = prorated_sum(inside, before, period)
        case "max_agg":
            units = Fraction(max((r.value for r in counted), default=Decimal(0)))
        case "latest_agg":
            units = Fraction(counted[-1].value) if counted else Fraction(0)
        case "unique_count_agg":
            count = sum(active(operations) for operations in by_text(counted).values())
            units = carried = Fraction(count)
            if code in PRORATED:
                prorated = prorated_unique(counted, period)
        case "weighted_sum_agg":
            units = step_integral(inside, total(before), period)
            level = carried = total(counted)
            count = len(inside)
        case other:
            raise AssertionError(f"{other} has no naive calculation")
    digest = sum(
        digest_of(SUBSCRIPTION, r.transaction_id, r.timestamp_ms, code, digest_text(code, r))
        for r in counted
    )
    if prorated is not None and prorated < 0:
        # A share below 0 bills nothing.
        units = Fraction(0)
    shown = Shown(
        shown_number(units),
        None if prorated is None else shown_number(prorated),
        shown_number(units if level is None else level),
        count,
        f"{digest % (1 << 128):032x}",
    )
    in_period = len(inside) if recurring else count
    return Cell(shown, recurring and carried != 0, in_period)


def presented(code: str, rows: Sequence[Row], period: Period) -> list[dict[str, Any]] | None:
    """Rows of one cell, by the texts of its presentation keys; None without any."""
    keys = tuple(key for key in PRESENTED.get(code, ()) if (code, key) != ("sum", "g"))
    if not keys:
        return None
    recurring = bool(METRICS[code].get("recurring"))
    parts: dict[tuple[str | None, ...], list[Row]] = {}
    for r in rows:
        texts = {"u": r.text, "g": r.group, "operation_type": "add" if r.adds else "remove"}
        if r.timestamp_ms < period.end_ms and (recurring or r.timestamp_ms >= period.start_ms):
            parts.setdefault(tuple(texts[key] for key in keys), []).append(r)
    if METRICS[code]["aggregation_type"] == "latest_agg" and parts:
        newest = max(parts, key=lambda texts: max(map(_moment, parts[texts])))
        parts = {newest: parts[newest]}
    shown = []
    for part in sorted(parts, key=lambda texts: [(text is not None, text or "") for text in texts]):
        units = _part_units(code, sorted(parts[part], key=_moment), period)
        if units or any(r.timestamp_ms >= period.start_ms for r in parts[part]):
            by = dict(zip(keys, part, strict=True))
            shown.append({"presentation_by": by, "units": printed(units)})
    return shown


def single_events(code: str, rows: Sequence[Row], period: Period) -> dict[str, Any] | None:
    """The lists that the price of `PRICES` asks for; None where it asks for none."""
    if code not in PRICES:
        return None
    model, asked = PRICES[code]
    metric, recurring = METRICS[code], bool(METRICS[code].get("recurring"))
    counted = sorted((r for r in rows if r.timestamp_ms < period.end_ms), key=_moment)
    inside = [r for r in counted if r.timestamp_ms >= period.start_ms]
    counted = counted if recurring else inside
    before = total(r for r in counted if r.timestamp_ms < period.start_ms)
    kind = metric["aggregation_type"]
    values: list[Fraction] | None = [Fraction(1)] * len(inside)
    shares: list[Fraction] | None = None
    if model == "graduated" and kind == "sum_agg":
        days = inclusive_days(
            period.start_ms, period.last_ms, period.timezone, upgraded=period.upgraded
        )
        parts = [(before, days)] if before else []
        parts += [(Fraction(r.value), days_left(r, period)) for r in inside]
        values = [value for value, _ in parts]
        shares = [rounded_up(value * n / period.duration_days, 20) for value, n in parts]
    elif model == "graduated":
        moves = sorted(
            move for operations in by_text(counted).values() for move in _moves(operations, period)
        )
        values = [Fraction(move[2]) for move in moves]
        shares = [rounded_up(Fraction(move[3], period.duration_days), 5) for move in moves]
    elif kind == "sum_agg":
        values = [Fraction(r.value) for r in inside]
    elif kind == "max_agg":
        greatest = max((r.value for r in inside), default=Decimal(0))
        first = next((i for i, r in enumerate(inside) if r.value == greatest), None)
        values = [Fraction(greatest if i == first else 0) for i in range(len(inside))]
    elif kind == "weighted_sum_agg":
        values = []
    running: list[Fraction] | None = None
    if "free_units_per_events" in asked:
        first_ones = [Fraction(r.value) for r in counted[: asked["free_units_per_events"]]]
        running = [sum(first_ones[: i + 1], Fraction(0)) for i in range(len(first_ones))]
    elif "free_units_per_total_aggregation" in asked:
        units = sum(active(operations) for operations in by_text(counted).values())
        running = [Fraction(i + 1) for i in range(units)]
    if model == "percentage" and "per_transaction_min_amount" not in asked:
        values = None
    lists = {"values": values, "prorated_values": shares, "running_total": running}
    return {"count": max(len(each or ()) for each in lists.values())} | {
        name: None if each is None else [printed(number) for number in each]
        for name, each in lists.items()
    }


_Move = tuple[bool, tuple[int, tuple[int, ...]], int, int]
"""Whether it is of the period, when it was, 1 or -1, and for how many days."""


def _moves(operations: Sequence[Row], period: Period) -> list[_Move]:
    """Operations of one text that change whether it is active, as the period lists them."""

    def day(at_ms: int) -> int:
        return local_date(at_ms, period.timezone).toordinal()

    moves: list[_Move] = []
    changes = effective(operations, period)
    for i, one in enumerate(changes):
        own = one.timestamp_ms >= period.start_ms
        end_ms = period.last_ms if i + 1 == len(changes) else changes[i + 1].timestamp_ms
        if one.adds and end_ms >= period.start_ms:
            days = day(end_ms) + 1 - day(max(one.timestamp_ms, period.start_ms))
            moves.append((own, _moment(one), 1, days))
        elif own and not one.adds:
            moves.append((own, _moment(one), -1, 0))
    return moves


def _moment(row: Row) -> tuple[int, tuple[int, ...]]:
    return row.timestamp_ms, row.position


def _part_units(code: str, rows: Sequence[Row], period: Period) -> Fraction:
    inside = [r for r in rows if r.timestamp_ms >= period.start_ms]
    match METRICS[code]["aggregation_type"]:
        case "sum_agg":
            return total(inside if code in PRORATED else rows)
        case "max_agg":
            return Fraction(max((r.value for r in rows), default=Decimal(0)))
        case "latest_agg":
            return Fraction(rows[-1].value)
        case "unique_count_agg":
            return Fraction(sum(active(operations) for operations in by_text(rows).values()))
        case "weighted_sum_agg":
            before = [r for r in rows if r.timestamp_ms < period.start_ms]
            return step_integral(inside, total(before), period)
        case other:
            raise AssertionError(f"{other} has no naive parts")


def shown_number(number: Fraction) -> str:
    """Clamped and printed."""
    return "0.0" if number <= 0 else printed(number)


def printed(number: Fraction) -> str:
    """Print a number; every one here has a finite decimal expansion."""
    scaled = number * 10**40
    assert scaled.denominator == 1
    return plain(Decimal(scaled.numerator).scaleb(-40))


def digest_text(code: str, event: Row) -> str:
    kind = METRICS[code]["aggregation_type"]
    if kind == "count_agg":
        return ""
    if kind == "unique_count_agg":
        return f"{'add' if event.adds else 'remove'}:{event.text}"
    return plain(event.value)


def total(rows: Iterable[Row]) -> Fraction:
    return sum((Fraction(r.value) for r in rows), Fraction(0))


def prorated_sum(inside: Sequence[Row], before: Sequence[Row], period: Period) -> Fraction:
    days = inclusive_days(
        period.start_ms, period.last_ms, period.timezone, upgraded=period.upgraded
    )
    unit_days = total(before) * days
    for r in inside:
        unit_days += Fraction(r.value) * days_left(r, period)
    return rounded_up(unit_days / period.duration_days, 5)


def by_text(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for r in rows:
        found.setdefault(r.text, []).append(r)
    return found


def active(operations: Iterable[Row]) -> int:
    """The state machine of one property, which starts inactive."""
    state = 0
    for operation in operations:
        if operation.adds and state == 0:
            state = 1
        elif not operation.adds and state == 1:
            state = 0
    return state


def prorated_unique(rows: Sequence[Row], period: Period) -> Fraction:
    days = sum(spell_days(operations, period) for operations in by_text(rows).values())
    return rounded_up(Fraction(days, period.duration_days), 5)


def days_left(row: Row, period: Period) -> int:
    """Dates from a row's own to the last one, both counted."""
    last = local_date(period.last_ms, period.timezone)
    return (last - local_date(row.timestamp_ms, period.timezone)).days + 1


def effective(operations: Sequence[Row], period: Period) -> list[Row]:
    """Operations of one text that change whether it is active."""

    def day(at_ms: int) -> int:
        return local_date(at_ms, period.timezone).toordinal()

    kept = [
        one
        for i, one in enumerate(operations)
        if one.adds
        or not any(
            later.adds and day(later.timestamp_ms) == day(one.timestamp_ms)
            for later in operations[i + 1 :]
        )
    ]
    changes: list[Row] = []
    for one in kept:
        if one.adds != bool(changes and changes[-1].adds):
            changes.append(one)
    return changes


def spell_days(operations: Sequence[Row], period: Period) -> int:
    def day(at_ms: int) -> int:
        return local_date(at_ms, period.timezone).toordinal()

    changes = effective(operations, period)
    days = 0
    for i, one in enumerate(changes):
        if not one.adds:
            continue
        start_ms = max(one.timestamp_ms, period.start_ms)
        end_ms = period.last_ms
        if i + 1 < len(changes):
            end_ms = changes[i + 1].timestamp_ms
        if end_ms >= period.start_ms:
            days += day(end_ms) + 1 - day(start_ms)
    return days


def step_integral(inside: Sequence[Row], initial: Fraction, period: Period) -> Fraction:
    """The level as a step function, weighted by the time it holds."""
    end_ms = ceil(Fraction(period.end_ms, 1000)) * 1000
    area, level, since_ms = Fraction(0), initial, period.start_ms
    for r in sorted(inside, key=lambda r: r.timestamp_ms):
        area += level * (r.timestamp_ms - since_ms)
        level += Fraction(r.value)
        since_ms = r.timestamp_ms
    area += level * (end_ms - since_ms)
    return rounded_up(area / (period.duration_days * 86_400_000), 20)


def rounded_up(number: Fraction, digits: int) -> Fraction:
    return Fraction(ceil(number * 10**digits), 10**digits)
