"""Subscriptions: by id, external id, organization, plan and customer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import TypeAlias

from app.definitions.active_counts import ActiveCounts
from app.definitions.indexes.index import CodeKey, Index, newest, push
from app.definitions.model import Customer, Subscription
from app.definitions.texts import differ_in_texts_only
from app.definitions.versions import Coming, Versions

Ids: TypeAlias = str | list[str]
"""Ids of the subscriptions under a name. Nearly always there is one, which takes no list."""


@dataclass
class SubscriptionIndex(Index):
    """Every subscription that ever was."""

    versions: MutableMapping[str, Versions[Subscription]] = field(default_factory=dict)
    by_external_id: MutableMapping[CodeKey, Ids] = field(default_factory=dict)
    """Subscription ids in creation order; `by_organization` has the same order."""
    by_organization: MutableMapping[str, list[str]] = field(default_factory=dict)
    by_plan: MutableMapping[str, dict[str, None]] = field(default_factory=dict)
    """A subscription on a child plan is among the parent's, too; so in `active_by_plan`."""
    by_customer: MutableMapping[CodeKey, Ids] = field(default_factory=dict)
    left: MutableMapping[CodeKey, Ids] = field(default_factory=dict)
    """Subscriptions of deleted customers, by organization and external customer id."""
    active_by_plan: MutableMapping[str, ActiveCounts] = field(default_factory=dict)
    active_by_organization: MutableMapping[str, ActiveCounts] = field(default_factory=dict)

    def of_external_id(self, key: CodeKey) -> list[Versions[Subscription]]:
        """Return all that ever had the external id, in creation order."""
        return list(map(self.versions.__getitem__, ids_of(self.by_external_id, key)))

    def newest_of(self, ids: Iterable[str]) -> Iterator[Subscription]:
        """Yield subscriptions as they are when each is asked for."""
        return (newest(self.versions[i]) for i in ids)

    def commit(self, subscription: Subscription, now_ms: int, offset: int) -> None:
        """Take over a new version of a subscription."""
        organization_id, identity = subscription.organization_id, subscription.id
        old = push(self.versions, identity, now_ms, offset, subscription)
        if old is None:
            key = (organization_id, subscription.external_id)
            _add(self.by_external_id, key, identity)
            self.by_organization.setdefault(organization_id, []).append(identity)
            customer = (organization_id, subscription.external_customer_id)
            _add(self.by_customer, customer, identity)
        else:
            self.active_by_organization[organization_id].remove(old)
            for plan_id in old.plan_ids:
                self.active_by_plan[plan_id].remove(old)
                if plan_id not in subscription.plan_ids:
                    self.by_plan[plan_id].pop(identity, None)
        _counts(self.active_by_organization, organization_id).add(subscription)
        for plan_id in subscription.plan_ids:
            _counts(self.active_by_plan, plan_id).add(subscription)
            self.by_plan.setdefault(plan_id, {})[identity] = None

    def commit_deletion(self, customer: Customer) -> None:
        """Move the subscriptions of a deleted customer to `left`."""
        key = (customer.organization_id, customer.external_id)
        gone = self.by_customer.pop(key, None)
        if gone is None:
            return
        if self.left.setdefault(key, gone) is not gone:
            for identity in ids_of({key: gone}, key):
                _add(self.left, key, identity)

    def promise(self, new: Subscription, promised: Promised) -> bool:
        """Promise a version of a subscription on the plan that it has; False: it cannot be."""
        versions = self.versions.get(new.id)
        old = versions.at() if versions is not None else None
        if versions is None or old is None or versions.is_promised(promised.coming):
            return False
        if old.plan_id != new.plan_id or differ_in_texts_only(old, new):
            return False
        versions.promise(promised.coming, new)
        counts = [
            _later(promised.active_by_plan, self.active_by_plan, plan_id)
            for plan_id in new.plan_ids
        ]
        of_all = promised.active_by_organization, self.active_by_organization
        for active in (*counts, _later(*of_all, new.organization_id)):
            active.remove(old)
            active.add(new)
        return True

    def commit_promised(self, promised: Promised) -> None:
        """Put all promised versions in force at once."""
        promised.coming.is_here = True
        self.active_by_plan.update(promised.active_by_plan)
        self.active_by_organization.update(promised.active_by_organization)


class Promised:
    """Versions of many subscriptions that a record brings into force at once."""

    def __init__(self, now_ms: int, offset: int):
        self.coming = Coming(now_ms, offset)
        self.active_by_plan: dict[str, ActiveCounts] = {}
        """Counts of active subscriptions by plan, promised versions included."""
        self.active_by_organization: dict[str, ActiveCounts] = {}


def ids_of(ids: Mapping[CodeKey, Ids], key: CodeKey) -> Sequence[str]:
    """Return the ids under a name, in creation order."""
    known = ids.get(key, ())
    return (known,) if isinstance(known, str) else known


def _add(ids: MutableMapping[CodeKey, Ids], key: CodeKey, identity: str) -> None:
    known = ids.get(key)
    if known is None:
        ids[key] = identity
    elif isinstance(known, str):
        ids[key] = [known, identity]
    else:
        known.append(identity)


def _counts(of: MutableMapping[str, ActiveCounts], identity: str) -> ActiveCounts:
    """Return the counts of one plan or organization; make them at its first subscription."""
    active = of.get(identity)
    if active is None:
        active = of[identity] = ActiveCounts()
    return active


def _later(
    promised: dict[str, ActiveCounts], now: Mapping[str, ActiveCounts], identity: str
) -> ActiveCounts:
    """Return the counts as they will be; they begin as a copy of those of now."""
    active = promised.get(identity)
    if active is None:
        active = promised[identity] = copy(now[identity])
    return active
