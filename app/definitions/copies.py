"""Copies: charges of child plans, which are those of the parent with ids of their own.

The ids follow from the id of the child plan and from those of what is copied. Every worker has all
child plans, and looks at the charges of few: a copy is made when somebody looks at it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import is_
from typing import Final, overload
from uuid import NAMESPACE_URL, uuid5

import msgspec

from app.definitions.by_identity import ByIdentity
from app.definitions.kept_parts import are_spelled_alike
from app.definitions.model import Charge, ChargeFilter, Plan
from app.uuids import Uuids

_IDS: Final = Uuids(uuid5(NAMESPACE_URL, "meterstream:child-plans"))
_MOST_AT_HAND: Final = 32
"""Versions of plans whose charges are kept for the next look: it comes at once or never."""
_VERSION_AT: Final = 14
"""Where the version of an id stands: 5 in those of copies."""


class CopiedCharges(Sequence[Charge]):
    """The charges of a version of a child plan: copies, and some that are its own.

    Each look finds equal charges, but the same objects only for a while.
    """

    __slots__ = ("_created_at_ms", "_originals", "_own", "_plan_id")

    def __init__(
        self,
        plan_id: str,
        created_at_ms: int,
        originals: Sequence[Charge],
        own: Mapping[int, Charge],
    ):
        self._plan_id = plan_id
        self._created_at_ms = created_at_ms
        self._originals = originals
        self._own = own
        """By place, the charges that are no plain copies."""

    def alike(self) -> Iterator[Charge]:
        """Yield the charges with ids and times of any plan: nothing is made for it."""
        return (self._own.get(at, each) for at, each in enumerate(self._originals))

    def named(self, ids: Collection[str]) -> Iterator[Charge]:
        """Yield as `alike` those that have one of some ids; of filters nothing is made."""
        is_copied = any(each[_VERSION_AT : _VERSION_AT + 1] == "5" for each in ids)
        for at, original in enumerate(self._originals):
            own = self._own.get(at)
            if own is not None:
                if own.id in ids:
                    yield own
            elif is_copied and _copied_id(self._plan_id, original.id) in ids:
                yield original

    def _made(self) -> tuple[Charge, ...]:
        return _AT_HAND.of(self)

    def _make(self) -> tuple[Charge, ...]:
        return tuple(
            self._own.get(at) or copied_charge(self._plan_id, each, self._created_at_ms)
            for at, each in enumerate(self._originals)
        )

    @overload
    def __getitem__(self, at: int) -> Charge: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Charge]: ...

    def __getitem__(self, at: int | slice) -> Charge | Sequence[Charge]:
        return self._made()[at]

    def __iter__(self) -> Iterator[Charge]:
        return iter(self._made())

    def __len__(self) -> int:
        return len(self._originals)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, CopiedCharges | tuple):
            return NotImplemented
        return self._made() == tuple(other)

    __hash__ = None  # type: ignore[assignment]


_AT_HAND: Final = ByIdentity(CopiedCharges._make, _MOST_AT_HAND)
_NONE_OF_ITS_OWN: Final[Mapping[int, Charge]] = {}


def with_copies(plan: Plan, parent: Plan) -> Plan:
    """Return the same child plan, which keeps of its charges only those that are no copies."""
    if isinstance(plan.charges, CopiedCharges):
        return plan
    known = {each.id: each for each in parent.charges}
    originals: Sequence[Charge] = tuple(
        known.get(each.parent_id or "", each) for each in plan.charges
    )
    if len(originals) == len(parent.charges) and all(map(is_, originals, parent.charges)):
        originals = parent.charges
    own = {
        at: charge
        for at, (charge, original) in enumerate(zip(plan.charges, originals, strict=True))
        if not are_spelled_alike(copied_charge(plan.id, original, plan.created_at_ms), charge)
    }
    charges = CopiedCharges(plan.id, plan.created_at_ms, originals, own or _NONE_OF_ITS_OWN)
    return msgspec.structs.replace(plan, charges=charges)


def alike(charges: Sequence[Charge]) -> Iterable[Charge]:
    """Return charges, those of a child plan with ids and times of any plan."""
    return charges.alike() if isinstance(charges, CopiedCharges) else charges


def named(charges: Sequence[Charge], ids: Collection[str]) -> Iterable[Charge]:
    """Return as `alike` those that have one of some ids."""
    if isinstance(charges, CopiedCharges):
        return charges.named(ids)
    return (charge for charge in charges if charge.id in ids)


def copied_charge(plan_id: str, charge: Charge, now_ms: int) -> Charge:
    """Return the copy of a charge for a child plan."""
    return msgspec.structs.replace(
        charge,
        id=_copied_id(plan_id, charge.id),
        parent_id=charge.id,
        created_at_ms=now_ms,
        filters=tuple([copied_filter(plan_id, charge, each) for each in charge.filters]),
    )


def copied_filter(plan_id: str, charge: Charge, charge_filter: ChargeFilter) -> ChargeFilter:
    """Return the copy of a filter of a charge for a child plan."""
    identity = _copied_id(plan_id, f"{charge.id}\0{charge_filter.id}")
    return msgspec.structs.replace(charge_filter, id=identity)


def _copied_id(plan_id: str, original: str) -> str:
    return _IDS.of(f"{plan_id}\0{original}".encode())
