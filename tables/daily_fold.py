"""A charge as it folds once more for its daily records: each event from the end of its day on.

Nothing of it is priced. An event falls into the same bucket and group as in the charge itself.
"""

from __future__ import annotations

from msgspec.structs import replace

from app.definitions.input_limits import NO_LIMITS, InputLimits
from app.definitions.model import Charge, Metric
from tables.breakdown_fold import BreakdownFold, breakdown_id
from tables.charge import ChargeFold

_MARK = ":daily"


def daily_id(charge_id: str) -> str:
    """Return the name of a charge's fold by days, in place of its id."""
    return charge_id + _MARK


def charge_told(name: str) -> str:
    """Return the id of the charge that a fold tells the days of, or any other name as it is."""
    return name.removesuffix(_MARK)


def daily_breakdown_id(charge_id: str) -> str:
    """Return the name of the same fold by presentation keys."""
    return breakdown_id(daily_id(charge_id))


class DailyFold(ChargeFold):
    """How a charge folds events by the cuts of their days."""

    __slots__ = ()

    prices = False
    by_day = True

    @property
    def forgets(self) -> bool:
        """Whether nobody reads its cells of a final period that shows no day any more."""
        return True

    def __init__(
        self, charge: Charge, metric: Metric, timezone: str, limits: InputLimits = NO_LIMITS
    ):
        super().__init__(_marked(charge), metric, timezone, limits)


class DailyBreakdownFold(BreakdownFold):
    """How a charge with presentation keys folds events by the cuts of their days."""

    __slots__ = ()

    by_day = True

    def __init__(
        self, charge: Charge, metric: Metric, timezone: str, limits: InputLimits = NO_LIMITS
    ):
        super().__init__(_marked(charge), metric, timezone, limits)


def _marked(charge: Charge) -> Charge:
    return replace(charge, id=daily_id(charge.id), pay_in_advance=False)
