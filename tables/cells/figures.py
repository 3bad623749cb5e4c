"""What cells come to at a moment."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec.structs import replace

from app.numbers import ZERO


class CellFigures(msgspec.Struct, frozen=True, gc=False):
    """The shown figures of a cell at a cut, rounded and clamped."""

    units: Decimal
    prorated_units: Decimal | None
    total_aggregated_units: Decimal
    precise_total_amount_cents: Decimal | None
    events_count: int
    digest: int
    carries: bool
    """A level or balance other than 0 goes on."""
    period_events: int
    """Events dated in the period itself."""
    aggregate: Decimal
    """The aggregate after rounding and before clamping; of a prorated charge the prorated one."""

    @property
    def counts(self) -> bool:
        """Whether a cell that does not recur is published."""
        return bool(self.units or self.prorated_units or self.events_count)

    @property
    def shows(self) -> bool:
        """Whether a recurring cell is published whatever the period before it showed."""
        return bool(self.units or self.prorated_units or self.carries or self.period_events)

    def billed(self, *, in_advance: bool) -> CellFigures:
        """Return the figures as records show them: a share below 0 bills nothing at all.

        `in_advance`: they are of a renewal, which bills no share but the whole.
        """
        if in_advance or self.prorated_units is None or self.aggregate >= 0:
            return self
        return replace(self, units=ZERO, prorated_units=ZERO, total_aggregated_units=ZERO)


def clamped(value: Decimal) -> Decimal:
    """Return the value, 0 where it is less."""
    return value if value > 0 else ZERO
