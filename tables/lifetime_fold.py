"""A charge as it folds once more for alerts: over the whole life of a subscription.

Nothing of it is priced. An event falls into the same bucket and group as in the charge itself. All
periods fold under the definitions of the running one. A property of a unique count that is active
in one period is so in the next.
"""

from __future__ import annotations

from msgspec.structs import replace

from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.definitions.input_limits import NO_LIMITS, InputLimits
from app.definitions.model import Charge, Metric
from tables.charge import ChargeFold
from tables.registry import AGGREGATIONS

_MARK = ":lifetime"


def lifetime_id(charge_id: str) -> str:
    """Return the name of a charge's fold over a life, in place of its id."""
    return charge_id + _MARK


def adds_over_life(charge: Charge, metric: Metric) -> bool:
    """Return whether a figure over a life makes sense: no share and no average hangs on it."""
    return not (charge.prorated or AGGREGATION_TYPES[metric.aggregation_type].over_time)


class LifetimeFold(ChargeFold):
    """How a charge folds the life of a subscription."""

    __slots__ = ("_recurring",)

    prices = False
    over_life = True

    def __init__(
        self, charge: Charge, metric: Metric, timezone: str, limits: InputLimits = NO_LIMITS
    ):
        marked = replace(charge, id=lifetime_id(charge.id), pay_in_advance=False)
        # One set of members for all periods, as a recurring metric has it.
        unique = AGGREGATIONS[metric.aggregation_type].reads == "operation"
        carrying = replace(metric, recurring=metric.recurring or unique)
        super().__init__(marked, carrying, timezone, limits)
        self._recurring = metric.recurring

    @property
    def reaches_back(self) -> bool:
        """Whether what is dated before the subscription counts: of a recurring metric alone."""
        return self._recurring

    @property
    def limits_history(self) -> bool:
        """Whether the limit of groups is that of the charge for all history."""
        return self._recurring
