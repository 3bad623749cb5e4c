"""Subscriptions: by id, external id, organization, plan and customer."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bounds.turns import Steps
from app.definitions.active_counts import ActiveCounts
from app.definitions.indexes.forms import SubscriptionForm
from app.definitions.indexes.groups import Groups
from app.definitions.indexes.index import CodeKey, Index, newest, push
from app.definitions.indexes.names import SubscriptionNames
from app.definitions.indexes.packed import PackedVersions, with_numbers
from app.definitions.indexes.rows import Keep
from app.definitions.model import Customer, Subscription
from app.definitions.periods import NEVER_MS
from app.definitions.texts import differ_in_texts_only
from app.definitions.versions import Coming, Versions

_AT_ONCE: Final = 256
"""How many are listed in one step; nearly all of them without a look."""
_PASSED_OVER: Final = 4_096
"""How many are passed over in one step without a look."""
_FEW: Final = 8
"""How many under one external id are all looked at, whoever is asked for."""
_LASTING: Final = ("", "active", "terminated", "canceled")
"""Statuses that last until a record changes them, by the number that stands for each."""


@dataclass(init=False)
class SubscriptionIndex(Index):
    """Every subscription that ever was."""

    versions: MutableMapping[str, Versions[Subscription]]
    by_external_id: SubscriptionNames
    lasting: MutableMapping[CodeKey, list[str]]
    """Ids of whoever has an external id with many and does not end yet, or ended last."""
    plans_of: MutableMapping[CodeKey, set[str]]
    """Ids of all plans that subscriptions of an external id with many had."""
    customers_of: MutableMapping[CodeKey, set[str]]
    """External ids of all customers that had an external id with many."""
    over_ms: MutableMapping[CodeKey, array[int]]
    """When each of an external id with many was over and changed last, in creation order."""
    by_customer: SubscriptionNames
    """Subscriptions of deleted customers are among them."""
    left: MutableMapping[CodeKey, int]
    """Offset of the last deletion of a customer: its name leads no more to those before."""
    by_organization: Groups[str, Subscription]
    """In creation order."""
    by_plan: Groups[str, Subscription]
    """A subscription on a child plan is among the parent's, too; so in `active_by_plan`."""
    active_by_plan: MutableMapping[str, ActiveCounts]
    active_by_organization: MutableMapping[str, ActiveCounts]

    def __init__(self, keep: Keep = bytes) -> None:
        form = SubscriptionForm()
        packed = PackedVersions(form, attrgetter("id"), keep)
        external_name = attrgetter("organization_id", "external_id")
        customer_name = attrgetter("organization_id", "external_customer_id")
        self.versions = packed
        self.by_external_id = SubscriptionNames(packed, external_name, form.external_name, form)
        self.by_customer = SubscriptionNames(packed, customer_name, form.customer_name, form)
        self.left, self.lasting, self.plans_of = {}, {}, {}
        self.customers_of, self.over_ms = {}, {}
        self.by_organization, self.by_plan = Groups(packed), Groups(packed)
        self.active_by_plan, self.active_by_organization = {}, {}

    def of_external_id(self, key: CodeKey) -> Sequence[Versions[Subscription]]:
        """Return all that ever had the external id, in creation order."""
        return self.by_external_id.found(key, self.versions)

    def first_of_external_id(self, key: CodeKey) -> Versions[Subscription] | None:
        """Return the first that ever had the external id; None: none had."""
        first = next(self.by_external_id.ids(key), None)
        return None if first is None else self.versions[first]

    def lasting_of(self, key: CodeKey) -> Sequence[Versions[Subscription]]:
        """Return who has the external id and has not ended, and who ended last, in creation order.

        Of few it returns all. Who ended before the last one has ended for good, before the last
        one began.
        """
        lasting = self.lasting.get(key)
        if lasting is None:
            return self.of_external_id(key)
        return [self.versions[identity] for identity in lasting]

    def over_by(self, key: CodeKey, at_ms: int) -> int:
        """Return how many of the first with an external id ended and changed last until a time.

        Of few it tells none. Nothing of theirs lies after that time.
        """
        over_ms = self.over_ms.get(key)
        if over_ms is None:
            return 0
        latest_ms = np.maximum.accumulate(np.frombuffer(over_ms, np.int64))
        return int(np.searchsorted(latest_ms, at_ms, "right"))

    def later_of(self, key: CodeKey, first: int) -> Sequence[Versions[Subscription]]:
        """Return all that ever had the external id, in creation order, without the first ones."""
        return self.by_external_id.later(key, self.versions, first)

    def plan_ids_of(self, key: CodeKey) -> Collection[str]:
        """Return the ids of all plans that one of the external id ever had."""
        known = self.plans_of.get(key)
        if known is not None:
            return known
        life = self.by_external_id.life(key)
        if life is not None:
            return (life.plan_id,)
        found = (versions.all() for versions in self.of_external_id(key))
        return {one.plan_id for each in found for one in each}

    def of_customer(self, key: CodeKey) -> Iterator[Subscription]:
        """Yield those of a customer that is not deleted, as they are when each is asked for."""
        left = self.left.get(key, -1)
        for identity in self.by_customer.ids(key):
            versions = self.versions[identity]
            if versions.offsets[0] > left:
                yield newest(versions)

    def numbers_of_customer(self, key: CodeKey) -> NDArray[np.uint32]:
        """Return the numbers of those that `of_customer` yields, newest first. Not of a branch."""
        packed, numbers = with_numbers(self.versions), self.by_customer.numbers(key)
        left = self.left.get(key)
        if left is None:
            return numbers

        def before(number: np.uint32) -> int:
            return -packed.numbered(int(number)).offsets[0]

        return numbers[: bisect_left(numbers, -left, key=before)]

    def of_customer_name(self, key: CodeKey) -> Iterator[Subscription]:
        """Return all that ever were of a customer's name, newest first, as they are now."""
        ids = self.by_customer.ids(key, newest_first=True)
        return (newest(self.versions[identity]) for identity in ids)

    def of_status(
        self, numbers: NDArray[np.uint32], statuses: Collection[str], at_ms: int, log_ms: int
    ) -> Iterator[NDArray[np.uint32]]:
        """Yield those of some numbers that have a status, in their order, some at a time.

        At a moment not before `log_ms`, which the log has passed. Who had a status by then that no
        time changes is not looked at again. Not of a branch.
        """
        known = with_numbers(self.versions)
        wanted = np.array([status in statuses for status in _LASTING])
        for first in range(0, len(numbers), _AT_ONCE):
            some = numbers[first : first + _AT_ONCE]
            noted = np.frombuffer(known.noted, np.uint8)[some]
            listed = wanted[noted]
            for place in np.flatnonzero(noted == 0).tolist():
                number = int(some[place])
                one = self.numbered(number)
                status = one.status_at(at_ms)
                listed[place] = status in statuses
                is_lasting = status != "pending" and (status != "active" or one.end_ms is None)
                # A clock may go back, the log does not.
                is_lasting = is_lasting and one.status_at(log_ms) == status
                # Of what is promised another version may come without a word.
                if is_lasting and known.packed_row(number) is not None:
                    known.noted[number] = _LASTING.index(status)
            yield some[listed]

    def customers_count(self, plan_id: str, at_ms: int, log_ms: int) -> Steps[int]:
        """Count customers with an active subscription on a plan, at a moment as of `of_status`.

        Nearly all customers have one, and are not looked at. Not of a branch.
        """
        active, on_plan = self.active_by_plan.get(plan_id), self.by_plan.numbers(plan_id)
        count = 0 if active is None else active.at(at_ms)
        firsts = [on_plan[:0]]
        for first in range(0, len(on_plan), _PASSED_OVER):
            again = self.by_customer.again(on_plan[first : first + _PASSED_OVER])
            for some in self.of_status(again, ("active",), at_ms, log_ms):
                count -= len(some)
                firsts.append(self.by_customer.firsts_of(some))
                yield
            yield
        # Customers with several that are active, one at least not the first.
        several = np.unique(np.concatenate(firsts))
        counted = several[np.isin(several, on_plan)]
        for some in self.of_status(counted, ("active",), at_ms, log_ms):
            count -= len(some)
            yield
        return count + len(several)

    def numbered(self, number: int) -> Subscription:
        """Return the subscription that has a number."""
        one = with_numbers(self.versions).newest(number)
        if one is None:
            raise LookupError("no subscription is deleted")
        return one

    def commit(self, subscription: Subscription, now_ms: int, offset: int) -> None:
        """Take over a new version of a subscription."""
        organization_id, identity = subscription.organization_id, subscription.id
        name = organization_id, subscription.external_id
        old = push(self.versions, identity, now_ms, offset, subscription)
        number, many = None, name in self.lasting
        if old is None:
            number = self.by_plan.number_of(identity)
            many = self.by_external_id.add(subscription, number) > _FEW
            self.by_customer.add(subscription, number)
            self.by_organization.add(organization_id, identity, number)
        else:
            self.active_by_organization[organization_id].remove(old)
            for plan_id in old.plan_ids:
                self.active_by_plan[plan_id].remove(old)
                if plan_id not in subscription.plan_ids:
                    self.by_plan.discard(plan_id, identity)
        _counts(self.active_by_organization, organization_id).add(subscription, now_ms)
        for plan_id in subscription.plan_ids:
            _counts(self.active_by_plan, plan_id).add(subscription, now_ms)
            if old is None:
                self.by_plan.add(plan_id, identity, number)
            elif plan_id not in old.plan_ids:
                self.by_plan.add(plan_id, identity, self.by_plan.number_of(identity))
        if many:
            self._note_lasting(name, subscription, now_ms)
            self._note_over(name, subscription, is_new=old is None)

    def _note_lasting(self, name: CodeKey, changed: Subscription, now_ms: int) -> None:
        """Note who of an external id with many has not ended, and who ended last."""
        lasting = self.lasting.get(name)
        if lasting is None:
            lasting = list(self.by_external_id.ids(name))
            self.plans_of[name] = set(self.plan_ids_of(name))
            every = map(newest, self.of_external_id(name))
            self.customers_of[name] = {each.external_customer_id for each in every}
        elif changed.id not in lasting:
            lasting = [*lasting, changed.id]
        self.plans_of[name].add(changed.plan_id)
        self.customers_of[name].add(changed.external_customer_id)
        kept, has_ended = list[str](), False
        for identity in reversed(lasting):
            status = newest(self.versions[identity]).status_at(now_ms)
            if status == "canceled" or (status == "terminated" and has_ended):
                continue
            has_ended = has_ended or status == "terminated"
            kept.append(identity)
        self.lasting[name] = kept[::-1]

    def _note_over(self, name: CodeKey, changed: Subscription, *, is_new: bool) -> None:
        """Note when one of an external id with many is over, as far as is known."""
        known = self.over_ms.get(name)
        if known is None:
            over_ms = array("q", map(_over_ms, self.of_external_id(name)))
        else:
            over_ms = known[:]
            at_ms = _over_ms(self.versions[changed.id])
            if is_new:
                over_ms.append(at_ms)
            else:
                over_ms[self.by_external_id.place_of(name, changed.id)] = at_ms
        # Who looks at those of before goes on with them.
        self.over_ms[name] = over_ms

    def commit_deletion(self, customer: Customer, offset: int) -> None:
        """Let the name of a deleted customer lead to none of its subscriptions."""
        self.left[customer.organization_id, customer.external_id] = offset

    def promise(self, new: Subscription, coming: Coming) -> bool:
        """Promise a version of a subscription on the plan that it has; False: it cannot be."""
        versions = self.versions.get(new.id)
        old = versions.at() if versions is not None else None
        if versions is None or old is None or versions.is_promised(coming):
            return False
        if old.plan_id != new.plan_id or differ_in_texts_only(old, new):
            return False
        versions.promise(coming, new)
        self.versions[new.id] = versions
        counts = [self.active_by_plan[plan_id] for plan_id in new.plan_ids]
        for active in (*counts, self.active_by_organization[new.organization_id]):
            later = active.promised(coming)
            later.remove(old)
            later.add(new, coming.append_time_ms)
        return True


def _over_ms(versions: Versions[Subscription]) -> int:
    """Return when a subscription ended and changed last; NEVER_MS: it has not ended."""
    one = newest(versions)
    end_ms = one.canceled_at_ms if one.canceled_at_ms is not None else one.usage_end_ms
    return NEVER_MS if end_ms is None else max(end_ms, versions.changes[-1])


def _counts(of: MutableMapping[str, ActiveCounts], identity: str) -> ActiveCounts:
    """Return the counts of one plan or organization; make them at its first subscription."""
    active = of.get(identity)
    if active is None:
        active = of[identity] = ActiveCounts()
    return active
