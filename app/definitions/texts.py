"""What of a definition is only shown: nothing that is counted or published hangs on it.

Of versions that differ in such texts only the newest is kept, however often they are changed. The
name of a metric is none of them: it stands in usage records.
"""

from __future__ import annotations

from functools import singledispatch
from typing import TypeVar

import msgspec

from app.definitions.model import Charge, Customer, Metric, Organization, Plan, Subscription

Defined = TypeVar("Defined", Metric, Plan, Customer, Organization, Subscription)

_replace = msgspec.structs.replace


def differ_in_texts_only(old: Defined, new: Defined) -> bool:
    """Return whether nobody who looks back at the older version would miss it."""
    return without_texts(old) == without_texts(new)


@singledispatch
def without_texts(defined: object) -> object:
    """Return the same object as far as it counts."""
    raise TypeError(f"{type(defined)} is no definition with texts")


@without_texts.register
def _(metric: Metric) -> object:
    return _replace(metric, description=None)


@without_texts.register
def _(plan: Plan) -> object:
    return _replace(
        plan,
        name="",
        description=None,
        invoice_display_name=None,
        metadata=None,
        charges=tuple(map(_counted, plan.charges)),
    )


def _counted(charge: Charge) -> Charge:
    filters = tuple(_replace(each, invoice_display_name=None) for each in charge.filters)
    return _replace(charge, invoice_display_name=None, filters=filters)


@without_texts.register
def _(customer: Customer) -> object:
    return _replace(customer, attributes={}, updated_at_ms=0)


@without_texts.register
def _(organization: Organization) -> object:
    return _replace(organization, attributes={}, updated_at_ms=0)


@without_texts.register
def _(subscription: Subscription) -> object:
    return _replace(subscription, name=None)
