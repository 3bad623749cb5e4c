"""Usage of one period from values alone: what a view or a body is made of."""

from __future__ import annotations

from collections.abc import Iterable

from app.definitions.model import Plan
from app.meter.usage import AsOf, ChargeInForce, PeriodUsage, Publication, UsageRow
from tests.world.definitions import subscription_object


def period_usage(
    charges: Iterable[ChargeInForce],
    rows: Iterable[UsageRow],
    from_ms: int,
    end_ms: int,
    publication: Publication,
    timezone: str = "UTC",
) -> PeriodUsage:
    """Return usage of a subscription `sub` to a monthly plan."""
    return PeriodUsage(
        subscription=subscription_object(
            "s",
            organization_id="o",
            external_id="sub",
            external_customer_id="cust",
            plan_id="p",
        ),
        plan=Plan(
            id="p",
            organization_id="o",
            code="plan",
            name="Plan",
            interval="monthly",
            amount_cents=100,
            amount_currency="EUR",
            created_at_ms=0,
        ),
        charges=tuple(charges),
        rows=tuple(rows),
        from_ms=from_ms,
        end_ms=end_ms,
        to_ms=end_ms - 1000,
        timezone=timezone,
        duration_days=31,
        publication=publication,
        as_of=AsOf(from_ms + 1, 3, 42, 7),
    )
