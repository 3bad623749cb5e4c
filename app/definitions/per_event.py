"""Which figures of single events the price of a bucket asks for."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.definitions.fields import decimal, integer, is_blank
from app.definitions.model import Charge, ChargeFilter, Metric
from app.numbers import ZERO

MODELS = ("percentage", "graduated")
"""Models of charges that may ask for any."""


class AskedLists(NamedTuple):
    """What is asked for."""

    values: bool = False
    prorated_values: bool = False
    running_total: bool = False
    free_events: int = 0
    """Above 0: the running total is that of so many first events."""
    free_total: Decimal = ZERO
    """Else the running total ends with the first sum above it; at 0 it never ends."""

    @property
    def nothing(self) -> bool:
        """Whether no list is asked for."""
        return not (self.values or self.prorated_values or self.running_total)


_NOTHING = AskedLists()
_PROPERTIES = (
    "free_units_per_events",
    "free_units_per_total_aggregation",
    "per_transaction_min_amount",
    "per_transaction_max_amount",
)


def asking_properties(charge: Charge) -> tuple[object, ...]:
    """Return what of a charge decides which figures of single events it asks for."""
    if charge.charge_model not in MODELS:
        return ()
    listed = (charge.properties, *(bucket.properties for bucket in charge.filters))
    read = [tuple(properties.get(name) for name in _PROPERTIES) for properties in listed]
    return charge.charge_model, charge.pay_in_advance, *read


def asked_of(charge: Charge, metric: Metric, bucket: ChargeFilter | None) -> AskedLists:
    """Return what the properties in force in a bucket ask for; `bucket` None: the default one."""
    allowed = AGGREGATION_TYPES[metric.aggregation_type]
    if charge.pay_in_advance and allowed.in_advance and not metric.recurring:
        # Each event was billed when it came.
        return _NOTHING
    properties = charge.properties if bucket is None else bucket.properties
    if charge.charge_model == "graduated" and charge.prorated:
        return AskedLists(values=True, prorated_values=True)
    if charge.charge_model != "percentage":
        return _NOTHING
    events = integer(properties.get("free_units_per_events")) or 0
    total = decimal(properties.get("free_units_per_total_aggregation")) or ZERO
    limits = ("per_transaction_min_amount", "per_transaction_max_amount")
    return AskedLists(
        values=not all(is_blank(properties.get(name)) for name in limits),
        running_total=events > 0 or total > 0,
        free_events=max(events, 0),
        free_total=max(total, ZERO),
    )
