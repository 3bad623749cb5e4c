"""How much of the definitions one organization may have: the amounts, as settings give them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from app.bounds import limits

Counted = Literal["plan_changes", "subscription_changes", "corrections", "elapsed"]


class Quotas(NamedTuple):
    """What one organization may have; None: no quota."""

    metrics: int = limits.METRICS
    plans: int = limits.PLANS
    customers: int = limits.CUSTOMERS
    subscriptions: int = limits.SUBSCRIPTIONS
    elapsed: int = limits.ELAPSED
    elapsed_a_day: int = limits.ELAPSED_A_DAY
    plan_changes_a_minute: int | None = None
    subscription_changes_a_minute: int | None = None
    corrections_a_minute: int | None = None

    def most(self, counted: Counted) -> int | None:
        """Return the largest amount that one window allows; None: no quota."""
        return {
            "plan_changes": self.plan_changes_a_minute,
            "subscription_changes": self.subscription_changes_a_minute,
            "corrections": self.corrections_a_minute,
            "elapsed": self.elapsed_a_day,
        }[counted]
