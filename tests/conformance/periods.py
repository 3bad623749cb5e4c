"""Conformance vectors of billing periods: each check lists what differs, nothing when all agrees.

Formats: the README beside the vectors. An expectation that no rule here answers is a difference
too, so that a vector never passes unread.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from app.billing_periods.day_count import inclusive_days
from app.billing_periods.grid import PeriodGrid
from tests.conformance.lago_invoice_dates import (
    Boundaries,
    BoundariesRequest,
    LastInvoice,
    Replacement,
    boundaries,
    invoices_from_runs,
    is_billing_day,
)
from tests.world.clock import ms

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Vector = Mapping[str, Any]


def check_period_vector(vector: Vector) -> list[str]:
    """A vector of periods.json: the ranges of one billing run or usage query."""
    return _differences(vector["expect"], _printed(boundaries(_request(vector))))


def check_billing_day_vector(vector: Vector) -> list[str]:
    """A vector of billing_days.json: on which runs a subscription is invoiced."""
    grid = PeriodGrid(
        vector["interval"],
        vector.get("billing_time") or "calendar",
        ms(vector["subscription_at"]),
        _timezone(vector),
    )
    monthly = _flag(vector, "bill_charges_monthly") or _flag(vector, "bill_fixed_charges_monthly")
    runs_at_ms = [ms(at) for at in vector.get("runs_at") or ()]
    idle_at_ms = [ms(at) for at in vector.get("idle_at") or ()]
    billed = invoices_from_runs(grid, runs_at_ms, billed_monthly=monthly)
    idle = invoices_from_runs(grid, idle_at_ms, billed_monthly=monthly, billed=billed)
    actual = {"invoices_after_runs": len(billed), "invoices_from_idle": len(idle)}
    found = _differences(vector["expect"], actual)
    if "runs_on_a_billing_day" in vector:
        on_a_billing_day = [
            at for at in vector["runs_at"] if is_billing_day(grid, ms(at), billed_monthly=monthly)
        ]
        wanted = {"runs_on_a_billing_day": vector["runs_on_a_billing_day"]}
        found += _differences(wanted, {"runs_on_a_billing_day": on_a_billing_day})
    return found


def check_day_count_vector(vector: Vector) -> list[str]:
    """A vector of day_counts.json: the day count of proration."""
    days = inclusive_days(ms(vector["from"]), ms(vector["to"]), _timezone(vector))
    return _differences(vector["expect"], {"days": days})


def check_period_mode_vector(vector: Vector) -> list[str]:
    """An aggregation vector of mode `period`: the usage range current usage shows."""
    subscription = vector["subscription"]
    printed = _printed(
        boundaries(
            _request(
                {
                    "terminated_at": subscription.get("ended_at"),
                    **subscription,
                    "subscription_at": subscription.get(
                        "subscription_at", subscription["started_at"]
                    ),
                    "billing_at": subscription["resolve_at"],
                    "current_usage": True,
                }
            )
        )
    )
    actual = {
        "from": printed["charges_from_datetime"],
        "to": printed["charges_to_datetime"],
        "duration_days": printed["charges_duration_in_days"],
    }
    return _differences(vector["expect"], actual)


def _request(vector: Vector) -> BoundariesRequest:
    return BoundariesRequest(
        interval=vector["interval"],
        billing_time=vector.get("billing_time") or "calendar",
        timezone=_timezone(vector),
        subscription_at_ms=ms(vector["subscription_at"]),
        started_at_ms=_ms_or_none(vector.get("started_at")),
        billing_at_ms=ms(vector["billing_at"]),
        current_usage=_flag(vector, "current_usage"),
        terminated_at_ms=_ms_or_none(vector.get("terminated_at")),
        pay_in_advance=_flag(vector, "pay_in_advance"),
        bill_charges_monthly=_flag(vector, "bill_charges_monthly"),
        bill_fixed_charges_monthly=_flag(vector, "bill_fixed_charges_monthly"),
        replacement=_replacement(vector.get("next_subscription")),
        last_invoice=_last_invoice(vector.get("last_invoice")),
    )


def _replacement(following: Vector | None) -> Replacement | None:
    if following is None:
        return None
    return Replacement(downgrade=_flag(following, "downgrade"))


def _last_invoice(invoice: Vector | None) -> LastInvoice | None:
    if invoice is None:
        return None
    return LastInvoice(invoice["timezone"], _ms_or_none(invoice.get("charges_to_datetime")))


def _timezone(vector: Vector) -> str:
    return vector.get("timezone") or "UTC"


def _flag(vector: Vector, name: str) -> bool:
    return bool(vector.get(name))


def _ms_or_none(text: str | None) -> int | None:
    return None if text is None else ms(text)


def _printed(actual: Boundaries) -> dict[str, Any]:
    """As JSON shows them: instants to the whole second, durations as they are."""
    return {
        name: value if value is None or name.endswith("_in_days") else _second(value)
        for name, value in asdict(actual).items()
    }


def _second(at_ms: int) -> str:
    at = _EPOCH + timedelta(seconds=at_ms // 1000)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _differences(wanted: Vector, actual: Vector) -> list[str]:
    return [
        f"{name}: expected {value}, got {actual.get(name, 'nothing that is computed here')}"
        for name, value in wanted.items()
        if name not in actual or actual[name] != value
    ]
