"""The chain of a cell paid in advance: what each of its events bills, in order of position.

`current` is what the decided events come to, `peak` what they have billed. An event bills only what
takes the sum above the peak, so that units that were paid once are not paid again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from app.billing_periods.day_count import inclusive_days
from app.numbers import EXACT, ZERO, prorate, round_units
from tables.aggregation import Window


class Chain(NamedTuple):
    """Where the events that were decided for a cell have led; None before the first."""

    current: Decimal | None = None
    peak: Decimal | None = None
    billed: Decimal = ZERO
    """Σ of what the newest figures of its events bill: prorated units, or units."""


class Figure(NamedTuple):
    """What one event adds to its cell, as decided."""

    part: Decimal
    """What it adds to `current`."""
    units: Decimal
    """What it bills, before proration."""
    applied_units: Decimal
    """What Lago's fee shows."""
    prorated_units: Decimal | None = None

    @property
    def billed(self) -> Decimal:
        """What a consumer bills."""
        return self.units if self.prorated_units is None else self.prorated_units


NO_FIGURE = Figure(ZERO, ZERO, ZERO)
"""Figure of an event that does not count."""


def take_in(chain: Chain, part: Decimal, *, counts_values: bool = False) -> tuple[Chain, Figure]:
    """Add an event to a chain; return the chain and the figure without proration.

    `counts_values`: a removal that comes first is of nothing that this chain has seen.
    """
    if chain.current is None or chain.peak is None:
        if counts_values:
            part = max(ZERO, part)
        units = max(ZERO, part)
        return chain._replace(current=part, peak=part), Figure(part, units, units)
    current = _add(chain.current, part)
    units = _subtract(current, chain.peak)
    if units > 0:
        # The second term is the greater one only after a negative first event.
        return chain._replace(current=current, peak=max(current, units)), Figure(part, units, units)
    return chain._replace(current=current), Figure(part, ZERO, max(ZERO, part))


def take_out(chain: Chain, figure: Figure) -> Chain:
    """Take an event out of a chain, for a correction. No figure of another event changes."""
    if chain.current is None or chain.peak is None:
        return chain
    return Chain(
        _subtract(chain.current, figure.part),
        _subtract(chain.peak, figure.units),
        _subtract(chain.billed, figure.billed),
    )


def prorated(figure: Figure, timestamp_ms: int, window: Window) -> Figure:
    """Weigh what a figure bills by the days from its event to the end of the period."""
    days = inclusive_days(timestamp_ms, window.last_ms, window.timezone)
    units = prorate(_multiply(figure.units, Decimal(days)), window.duration_days)
    return figure._replace(prorated_units=units)


def bill(chain: Chain, figure: Figure) -> Chain:
    """Add what a figure bills to what its chain has billed."""
    return chain._replace(billed=_add(chain.billed, figure.billed))


def in_advance_units(
    total: Decimal,
    chain: Chain,
    window: Window,
    rounding: tuple[str | None, int | None],
    *,
    prorates: bool,
) -> Decimal:
    """Return the units that usage shows of a cell paid in advance (metering-semantics §4.15).

    `total`: its aggregate, neither prorated, rounded nor clamped.
    """
    current, peak = chain.current or ZERO, chain.peak or ZERO
    if not prorates:
        units = _add(_subtract(total, current), peak)
        return max(ZERO, round_units(units, *rounding))
    unbilled = _subtract(total, max(current, ZERO))
    days = inclusive_days(window.from_ms, window.last_ms, window.timezone, upgraded=window.upgraded)
    if days < window.duration_days:
        unbilled = prorate(_multiply(unbilled, Decimal(days)), window.duration_days)
    return max(ZERO, round_units(_add(unbilled, chain.billed), *rounding))


_add, _subtract, _multiply = EXACT.add, EXACT.subtract, EXACT.multiply
