"""Cascades: a change of a plan carried to its child plans, by the record that makes it.

Children follow that have a subscription which has not ended. Rules: metering-semantics §7.6.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from app.bounds.turns import Steps, weighed
from app.definitions.charges import Selection, free_code, last_number, selection_of
from app.definitions.command import Command
from app.definitions.copies import copied_charge, copied_filter
from app.definitions.decision import Decision
from app.definitions.model import Charge, ChargeFilter, Plan
from app.definitions.outcome import Impact
from app.definitions.plan_terms import affected_codes, changed
from app.definitions.state import Definitions

_ALWAYS_FOLLOW: Final = ("pricing_group_keys", "grouped_by", "presentation_group_keys")
_replace = msgspec.structs.replace

Changing: TypeAlias = Decision | Steps[Decision]


class Given(NamedTuple):
    """Ids of the charges of which a command gives what children follow, changed or not."""

    properties: frozenset[str] = frozenset()
    """Keys of properties that are a child's own follow these."""
    wallets: frozenset[str] = frozenset()
    """Children accept target wallets as these do."""


NOTHING: Final = Given()


def changing(
    definitions: Definitions,
    command: Command,
    old: Plan,
    new: Plan,
    shown: Plan | Charge,
    now_ms: int,
    given: Given = NOTHING,
) -> Changing:
    """Return the decision that makes a plan another whole, and its children if the command says."""
    if command.payload.get("cascade_updates") is True and (any(given) or new != old):
        return _cascaded(definitions, old, new, shown, now_ms, given)
    return changed(definitions, old, new, shown)


def _cascaded(
    definitions: Definitions,
    old: Plan,
    new: Plan,
    shown: Plan | Charge,
    now_ms: int,
    given: Given,
) -> Steps[Decision]:
    plans, codes = [new], set[str]()
    in_use = definitions.has_subscribers(old.id)
    if in_use:
        codes |= affected_codes(definitions, old, new)

    def weight(child: Plan) -> int:
        # Each takes as long as it and its parent have charges.
        return len(new.charges) + child.items

    for children in weighed(definitions.children_of(old.id), weight):
        for child in children:
            if _lives(definitions, child, now_ms):
                follower = _following(child, old, new, now_ms, given)
                if follower != child:
                    plans.append(follower)
                    codes |= affected_codes(definitions, child, follower)
        yield
    impact = None
    if codes:
        names = frozenset(codes)
        impact = Impact(new.organization_id, codes=names, plan_id=new.id, with_children=True)
    return Decision(shown, impact, tuple(plans))


def _lives(definitions: Definitions, child: Plan, now_ms: int) -> bool:
    subscriptions = definitions.subscriptions_of_plan(child.id)
    return any(each.status_at(now_ms) in ("active", "pending") for each in subscriptions)


def _following(child: Plan, old: Plan, new: Plan, now_ms: int, given: Given) -> Plan:
    """Return a child plan after a change of its parent."""
    before = {charge.id: charge for charge in old.charges}
    after = {charge.id: charge for charge in new.charges}
    charges: list[Charge] = []
    for charge in child.charges:
        was, now = before.get(charge.parent_id or ""), after.get(charge.parent_id or "")
        if was is None or now is None:
            # What the parent never had, or lost before, is the child's own.
            charges += [] if was is not None else [charge]
        elif was == now and not any(now.id in ids for ids in given):
            charges.append(charge)
        else:
            charges.append(_followed(child.id, charge, was, now, given))
    parents = {charge.parent_id for charge in child.charges}
    for added in new.charges:
        if added.id not in before and added.id not in parents:
            copy = copied_charge(child.id, added, now_ms)
            code = free_code(added.code, {charge.code for charge in charges})
            number = max(last_number(child.charges), last_number(charges)) + 1
            charges.append(_replace(copy, code=code, number=number))
    amount_cents = child.amount_cents
    if amount_cents == old.amount_cents:
        amount_cents = new.amount_cents
    return _replace(child, amount_cents=amount_cents, charges=tuple(charges))


def _followed(plan_id: str, charge: Charge, was: Charge, now: Charge, given: Given) -> Charge:
    """Return a charge of a child plan after a change of the charge that it is a copy of."""
    properties = charge.properties
    if now.id in given.properties or was.properties != now.properties:
        properties = _properties(properties, was.properties, now.properties)
    before, after = _by_values(was.filters), _by_values(now.filters)
    own = _by_values(charge.filters)
    filters = [
        _followed_filter(each, before.get(values), after.get(values))
        for values, each in own.items()
        if values in after or values not in before
    ]
    filters += [
        copied_filter(plan_id, now, each)
        for values, each in after.items()
        if values not in before and values not in own
    ]
    wallets = (now if now.id in given.wallets else charge).accepts_target_wallet
    return _replace(
        charge, properties=properties, filters=tuple(filters), accepts_target_wallet=wallets
    )


def _followed_filter(
    own: ChargeFilter, was: ChargeFilter | None, now: ChargeFilter | None
) -> ChargeFilter:
    if was is None or now is None or was.properties == now.properties:
        return own
    return _replace(own, properties=_properties(own.properties, was.properties, now.properties))


def _properties(
    own: Mapping[str, Any], was: Mapping[str, Any], now: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return properties that follow as a whole where they were alike, else by their keys only."""
    if own == was:
        return now
    kept = {key: value for key, value in own.items() if key not in _ALWAYS_FOLLOW}
    return kept | {key: now[key] for key in _ALWAYS_FOLLOW if key in now}


def _by_values(filters: Iterable[ChargeFilter]) -> dict[tuple[Selection, int], ChargeFilter]:
    """Return filters by what they select; of several with the same values each has a number."""
    seen = Counter[Selection]()
    found: dict[tuple[Selection, int], ChargeFilter] = {}
    for each in filters:
        selection = selection_of(each)
        seen[selection] += 1
        found[selection, seen[selection]] = each
    return found
