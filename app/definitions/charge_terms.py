"""Terms of a charge that do not go together: checked at the door, before a plan is appended.

What lies in the log already stays valid, so none of this is asked when a record is applied.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from app.definitions.aggregation_types import NOT_FOR_SALE
from app.definitions.model import Charge, Plan
from app.definitions.outcome import Rejected, invalid
from app.definitions.state import Definitions

_REFUSED: Final = {
    "invoiceable": "must_be_true_unless_pay_in_advance",
    "charge_model": "invalid_aggregation_type_or_charge_model",
    "min_amount_cents": "not_compatible_with_pay_in_advance",
    "regroup_paid_fees": "only_compatible_with_pay_in_advance_and_non_invoiceable",
}


def refused_terms(definitions: Definitions, changes: Iterable[object]) -> Rejected | None:
    """Return what refuses charges of the plans among some changes; None: nothing.

    A charge whose terms do not change keeps what it had before there was this check.
    """
    for change in changes:
        if isinstance(change, Plan):
            before = definitions.plan_by_id(change.id)
            had = {charge.id: _terms(charge) for charge in before.charges} if before else {}
            for charge in change.charges:
                if had.get(charge.id) == _terms(charge):
                    continue
                fields = _at_fault(definitions, charge)
                if fields:
                    return invalid({field: [_REFUSED[field]] for field in fields})
    return None


def _terms(charge: Charge) -> tuple[object, ...]:
    return charge.pay_in_advance, *(getattr(charge, field) for field in _REFUSED)


def _at_fault(definitions: Definitions, charge: Charge) -> list[str]:
    in_advance, metric = charge.pay_in_advance, definitions.metric_by_id(charge.metric_id)
    faults = {
        "invoiceable": not charge.invoiceable and not in_advance,
        "charge_model": charge.charge_model == "custom"
        and (metric is None or metric.aggregation_type != NOT_FOR_SALE),
        "min_amount_cents": charge.min_amount_cents > 0 and in_advance,
        "regroup_paid_fees": charge.regroup_paid_fees is not None
        and not (in_advance and not charge.invoiceable),
    }
    return [field for field, is_at_fault in faults.items() if is_at_fault]
