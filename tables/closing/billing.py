"""Billing: what a record says is left to bill, beside what was billed in advance."""

from __future__ import annotations

from app.definitions.model import Charge, Metric
from app.definitions.timeline import Period
from app.numbers import ZERO, plain
from app.wire.usage_records import ARREARS, BillingText
from tables.changelogged.instants import InstantTable

NOTHING_LEFT = '"none"'
RENEWAL = '"renewal"'


def ends_unpublished(charge: Charge, metric: Metric, period: Period) -> bool:
    """Return True if nothing of a charge is left to bill when its period ends.

    A recurring charge paid in advance is billed again for what comes, and nothing comes. By the
    rules of version 1 it is billed at the end as any other.
    """
    if period.fold_version == 1 or not (metric.recurring and charge.is_billed_at_once(metric)):
        return False
    return period.closing_reason == "termination" or period.upgraded


def billing_of(instants: InstantTable, charge: Charge, metric: Metric, cell_id: str) -> BillingText:
    """Return what the record of a cell says of its billing."""
    if not charge.is_billed_at_once(metric):
        return ARREARS
    chain = instants.chain(cell_id)
    billed = plain(ZERO if chain is None else chain.billed)
    billing = RENEWAL if metric.recurring else NOTHING_LEFT
    return BillingText(billing=billing, billed_in_advance=f'"{billed}"')


def is_taken_again(instants: InstantTable, cell_id: str, cut_ms: int) -> bool:
    """Return True if an event of a cell was billed after a cut, which then was taken by that time.

    A state that is folded anew takes its cuts again, over what all records say of billing.
    """
    chain = instants.chain(cell_id)
    return chain is not None and chain.decided_ms > cut_ms
