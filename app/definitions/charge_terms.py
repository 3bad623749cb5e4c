"""Terms of a charge that do not go together: checked at the door, before a plan is appended.

What lies in the log already stays valid, so none of this is asked when a record is applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from app.definitions.aggregation_types import NOT_FOR_SALE
from app.definitions.fields import is_blank
from app.definitions.model import Charge, Plan
from app.definitions.outcome import Rejected, invalid
from app.definitions.state import Definitions
from app.numbers import is_white_space

_REFUSED: Final = {
    "invoiceable": "must_be_true_unless_pay_in_advance",
    "charge_model": "invalid_aggregation_type_or_charge_model",
    "min_amount_cents": "not_compatible_with_pay_in_advance",
    "regroup_paid_fees": "only_compatible_with_pay_in_advance_and_non_invoiceable",
}
_PRESENTATION: Final = "presentation_group_keys"
INVALID_TYPE: Final = "invalid_type"
MOST_PRESENTATION_KEYS: Final = 2


def refused_terms(definitions: Definitions, changes: Iterable[object]) -> Rejected | None:
    """Return what refuses charges of the plans among some changes; None: nothing.

    A charge whose terms do not change keeps what it had before there was this check.
    """
    for change in changes:
        if isinstance(change, Plan):
            had = _terms_by_charge(definitions, change.id)
            parent = _terms_by_charge(definitions, change.parent_id)
            for charge in change.charges:
                terms = _terms(charge)
                if had.get(charge.id) == terms or parent.get(charge.parent_id) == terms:
                    continue
                faults = _faults(definitions, charge)
                if faults:
                    return invalid(faults)
    return None


def _terms_by_charge(
    definitions: Definitions, plan_id: str | None
) -> dict[str | None, tuple[object, ...]]:
    plan = None if plan_id is None else definitions.plan_by_id(plan_id)
    return {charge.id: _terms(charge) for charge in plan.charges} if plan is not None else {}


def _terms(charge: Charge) -> tuple[object, ...]:
    terms = (getattr(charge, field) for field in _REFUSED)
    return charge.pay_in_advance, charge.properties.get(_PRESENTATION), *terms


def _faults(definitions: Definitions, charge: Charge) -> dict[str, list[str]]:
    faults = {field: [_REFUSED[field]] for field in _at_fault(definitions, charge)}
    presentation = _presentation_faults(charge.properties.get(_PRESENTATION))
    return faults | ({_PRESENTATION: presentation} if presentation else {})


def _presentation_faults(keys: object) -> list[str]:
    """Return what is wrong with keys that usage is presented by; nothing with none of them."""
    if is_blank(keys):
        return []
    if not isinstance(keys, list):
        return [INVALID_TYPE]
    values = [key.get("value") for key in keys if isinstance(key, Mapping)]
    texts = [value for value in values if isinstance(value, str) and not is_white_space(value)]
    faults = {
        INVALID_TYPE: len(texts) < len(keys) or not all(map(_is_presentation_key, keys)),
        "too_many_keys": len(keys) > MOST_PRESENTATION_KEYS,
        "value_is_duplicated": len(set(texts)) < len(texts),
    }
    return [fault for fault, is_there in faults.items() if is_there]


def _is_presentation_key(key: Mapping[str, object]) -> bool:
    """Return whether a key has just a value and, if any, its one option."""
    options = key.get("options", {"display_in_invoice": True})
    return (
        key.keys() <= {"value", "options"}
        and isinstance(options, Mapping)
        and options.keys() == {"display_in_invoice"}
        and isinstance(options["display_in_invoice"], bool)
    )


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
