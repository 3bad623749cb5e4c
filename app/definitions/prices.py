"""Prices: an earlier version of a plan that differs in amounts and properties alone, kept as these.

They are what changes often. Every worker has all versions of all plans, and looks at the older ones
seldom.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar, cast

import msgspec

from app.definitions.by_identity import ByIdentity
from app.definitions.command import verbatim
from app.definitions.copies import CopiedCharges
from app.definitions.kept_parts import spelled
from app.definitions.model import Charge, ChargeFilter, Plan
from app.definitions.versions import Differing, Kept, Versions

_PRICES: Final = ("amount_cents", "min_amount_cents", "properties")
_PRICED: Final = ("charges", "filters")
_MOST_IN_A_ROW: Final = 32
"""Versions that are made one of the other: then one is kept whole."""
_MOST_AT_HAND: Final = 64
"""Versions that are kept for the next look: mostly it is at one of these, or the one after it."""

Priced = TypeVar("Priced", Plan, Charge, ChargeFilter)
_decoded: Final = msgspec.json.Decoder(dict[str, Any], float_hook=verbatim).decode


class OtherPrices(Differing[Plan], frozen=True, gc=False, eq=False):
    """The plan of the version before at other prices."""

    before: Plan | OtherPrices
    prices: bytes | CopiedCharges
    """As JSON; or charges of a child plan, which are copies of those of its parent's version."""

    def whole(self) -> Plan:
        """Return the plan; parts that did not change are those of the version before."""
        return _AT_HAND.of(self)

    def _make(self) -> Plan:
        before = self.before
        plan = before.whole() if isinstance(before, OtherPrices) else before
        if isinstance(self.prices, CopiedCharges):
            return msgspec.structs.replace(plan, charges=self.prices)
        return _with_prices(plan, _decoded(self.prices))

    def in_a_row(self) -> int:
        """Return how many versions are made one of the other up to this one."""
        count, before = 1, self.before
        while isinstance(before, OtherPrices):
            count, before = count + 1, before.before
        return count


_AT_HAND: Final = ByIdentity(OtherPrices._make, _MOST_AT_HAND)


class PlanVersions(Versions[Plan]):
    """Versions of a plan. The newest and the one before it are whole, for these are asked for."""

    __slots__ = ()

    def _append(self, append_time_ms: int, offset: int, obj: Kept[Plan]) -> None:
        super()._append(append_time_ms, offset, obj)
        if self._several is not None and len(self._several.objects) > 3:
            kept = self._several.objects
            kept[-3] = _as_prices(kept[-3], cast("Plan | OtherPrices | None", kept[-4]))


def _as_prices(plan: Kept[Plan], before: Plan | OtherPrices | None) -> Kept[Plan]:
    """Return a version as other prices of the one before, or as it is."""
    if before is None or not isinstance(plan, Plan):
        return plan
    if isinstance(before, Plan):
        old = before
    elif before.in_a_row() < _MOST_IN_A_ROW:
        old = before.whole()
    else:
        return plan
    prices = _other_prices(_with_originals(plan), _with_originals(old))
    if prices is None:
        return plan
    if not isinstance(plan.charges, CopiedCharges):
        return OtherPrices(before, spelled(prices))
    return plan if "amount_cents" in prices else OtherPrices(before, plan.charges)


def _with_originals(plan: Plan) -> Plan:
    """Return a plan, a child with the charges that its own are copies of."""
    if not isinstance(plan.charges, CopiedCharges):
        return plan
    return msgspec.structs.replace(plan, charges=tuple(plan.charges.alike()))


def _other_prices(new: Priced, old: Priced) -> dict[str, Any] | None:
    """Return the prices that differ, by field and by place; None: something else does, too."""
    found: dict[str, Any] = {}
    for field in new.__struct_fields__:
        now, before = getattr(new, field), getattr(old, field)
        if now is before:
            continue
        if field in _PRICES:
            found[field] = now
        elif field in _PRICED and type(now) is type(before) is tuple and len(now) == len(before):
            parts = {
                str(at): _other_prices(part, old_part)
                for at, (part, old_part) in enumerate(zip(now, before, strict=True))
                if part is not old_part
            }
            if None in parts.values():
                return None
            found[field] = parts
        else:
            return None
    return found


def _with_prices(old: Priced, prices: dict[str, Any]) -> Priced:
    """Return a plan, charge or filter at other prices."""
    changed: dict[str, Any] = {}
    for field, now in prices.items():
        changed[field] = now
        if field in _PRICED:
            parts = list(getattr(old, field))
            for at, each in now.items():
                parts[int(at)] = _with_prices(parts[int(at)], each)
            changed[field] = tuple(parts)
    return msgspec.structs.replace(old, **changed)
