"""Projection: what the running period comes to if it goes on as it did so far. Pure."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec

from app.billing_periods.day_count import inclusive_days
from app.billing_periods.timezones import local_date, local_midnight_ms
from app.meter.usage import ChargeInForce, PeriodUsage, PresentedRow, UsageRow
from app.numbers import ZERO, round_at

_DIGITS = 2


def passed_share(usage: PeriodUsage, at_ms: int) -> Fraction:
    """Return the days of the period that began by an instant, as a share of all its days."""
    timezone = usage.timezone
    first_ms = local_midnight_ms(local_date(usage.from_ms, timezone), timezone)
    passed = inclusive_days(first_ms, max(at_ms, first_ms), timezone)
    return min(Fraction(passed, inclusive_days(first_ms, usage.to_ms, timezone)), Fraction(1))


def projected_row(in_force: ChargeInForce, row: UsageRow, passed: Fraction) -> UsageRow:
    """Return a row with what it comes to by the end: a balance stays, others grow by the day.

    Beside filters the default bucket is not projected, as in Lago.
    """

    def by_the_end(units: Decimal) -> Decimal:
        if in_force.charge.filters and row.filter_id is None:
            return ZERO
        if in_force.metric.recurring:
            return units
        return max(round_at(Fraction(units) / passed, _DIGITS), ZERO)

    parts = row.presented
    if parts is not None:
        parts = tuple(PresentedRow(p.presentation_by, by_the_end(p.units)) for p in parts)
    return msgspec.structs.replace(
        row, projected_units=by_the_end(row.units), projected_presented=parts
    )
