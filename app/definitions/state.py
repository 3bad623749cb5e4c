"""The definitions log applied: every object with its history, a pure function of the records."""

from __future__ import annotations

import logging
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain
from typing import TypeAlias, TypeVar, cast

from app.definitions import (
    customers,
    grants,
    metrics,
    plans,
    set_asides,
    settings_records,
    subscriptions,
)
from app.definitions.active_counts import ActiveCounts
from app.definitions.commands import Command, UnreadableCommand
from app.definitions.decision import Change, Decision, Deletion, MalformedPayload
from app.definitions.grants import Grants
from app.definitions.judging import Belief
from app.definitions.model import (
    Customer,
    Grant,
    HistoryRecord,
    Lift,
    Metric,
    Plan,
    SetAside,
    SettingsRecord,
    Subscription,
)
from app.definitions.outcome import Applied, Rejected, Touch, cannot_be_applied
from app.definitions.overlay import Overlay
from app.definitions.set_asides import SetAsides
from app.definitions.texts import differ_in_texts_only
from app.definitions.timeline import NEVER_MS
from app.definitions.versions import Coming, Versions
from app.limits import TRUST_AFTER_MS
from app.turns import STEP_ITEMS, Steps, drained

__all__ = ["Applied", "Definitions", "Rejected", "Touch"]

log = logging.getLogger(__name__)

T = TypeVar("T")
Coded = TypeVar("Coded", Metric, Plan)
Defined = TypeVar("Defined", Metric, Plan, Customer, Subscription)
K = TypeVar("K")
Key: TypeAlias = tuple[str, str]
"""(organization id, code or external id)."""


class Definitions:
    """All definitions of all organizations, now and at any earlier append time.

    `offset` is the next offset to apply, `append_time_ms` the greatest record timestamp so far
    (ticks count), -1 at first.
    """

    def __init__(self) -> None:
        self.offset = 0
        self.append_time_ms = -1
        self.decided_offset = -1
        """Of the record that is being applied; -1: none is."""
        self.settings: Versions[SettingsRecord] = Versions()
        self.set_asides = SetAsides()
        self.grants = Grants()
        self.history_records: list[HistoryRecord] = []
        self._history_times_ms: list[int] = []
        self._history_of: dict[str, list[HistoryRecord]] = {}
        self.metric_versions: dict[str, Versions[Metric]] = {}
        self.plan_versions: dict[str, Versions[Plan]] = {}
        self.customer_versions: dict[Key, Versions[Customer]] = {}
        self.subscription_versions: dict[str, Versions[Subscription]] = {}
        self._record_times_ms = array("q")
        self._record_offsets = array("q")
        self._metric_codes: dict[Key, Versions[str]] = {}
        self._plan_codes: dict[Key, Versions[str]] = {}
        self._metrics_by_code: dict[Key, dict[str, None]] = {}
        self._code_deleted_at_ms: dict[Key, int] = {}
        self._live_metrics: dict[str, dict[str, None]] = {}
        self._live_plans: dict[str, dict[str, None]] = {}
        self._live_customers: dict[str, dict[str, None]] = {}
        self._plans_by_metric: dict[str, dict[str, None]] = {}
        self._subscriptions: dict[Key, list[Versions[Subscription]]] = {}
        self._subscriptions_by_plan: dict[str, dict[str, None]] = {}
        self._subscriptions_by_organization: dict[str, list[Versions[Subscription]]] = {}
        self._active_by_plan: dict[str, ActiveCounts] = {}
        self._subscriptions_by_customer: dict[Key, dict[str, None]] = {}
        self._subscriptions_left: dict[Key, dict[str, None]] = {}
        """Those of customers that were deleted."""

    # Applying

    def apply(
        self, value: bytes | None, timestamp_ms: int, offset: int
    ) -> Applied | Rejected | None:
        """Apply the next record; None for a tick (no value) or an offset applied already.

        A record that is no command, or that the definitions at this point forbid, is Rejected, and
        so is one that cannot be decided: nothing is changed before everything is decided.
        """
        return drained(self.applying(value, timestamp_ms, offset))

    def applying(
        self, value: bytes | None, timestamp_ms: int, offset: int
    ) -> Steps[Applied | Rejected | None]:
        """`apply` by small steps, for one record may end everything that a plan has.

        Whoever looks between two steps sees nothing of the record: the last step brings all of it
        into force. No other record may be applied meanwhile.
        """
        if offset < self.offset:
            return None
        now_ms = max(self.append_time_ms, timestamp_ms)
        if value is None:
            self._pass(now_ms, offset)
            return None
        try:
            command = Command.decode(value)
        except UnreadableCommand:
            self._pass(now_ms, offset)
            return Rejected(422, "invalid_record")
        self.decided_offset = offset
        decision = yield from self._deciding(command, now_ms)
        prepared = _Prepared(Coming(now_ms, offset))
        if isinstance(decision, Decision):
            yield from self._preparing(decision.changes, prepared)
        # All that follows is one step.
        self._pass(now_ms, offset)
        self._record_times_ms.append(now_ms)
        self._record_offsets.append(offset)
        if isinstance(decision, Rejected):
            return decision
        prepared.coming.is_here = True
        self._active_by_plan.update(prepared.tallies)
        for change in prepared.others:
            self._commit(change, now_ms, offset)
        return Applied(command.type, decision.object, decision.touch)

    def _pass(self, now_ms: int, offset: int) -> None:
        self.offset, self.append_time_ms, self.decided_offset = offset + 1, now_ms, -1

    def _preparing(self, changes: Sequence[Change], prepared: _Prepared) -> Steps[None]:
        """Promise what can be promised; the rest is committed at once: it is never much."""
        if len(changes) <= STEP_ITEMS:
            prepared.others.extend(changes)
            return
        for count, change in enumerate(changes, 1):
            if not (isinstance(change, Subscription) and self._promise(change, prepared)):
                prepared.others.append(change)
            if count % STEP_ITEMS == 0:
                yield

    def _promise(self, new: Subscription, prepared: _Prepared) -> bool:
        """Promise a version of a subscription on the plan that it has; False: it cannot be."""
        versions = self.subscription_versions.get(new.id)
        old = versions.at() if versions is not None else None
        if versions is None or old is None or versions.is_promised(prepared.coming):
            return False
        if old.plan_id != new.plan_id or differ_in_texts_only(old, new):
            return False
        versions.promise(prepared.coming, new)
        tally = prepared.tallies.get(new.plan_id)
        if tally is None:
            tally = prepared.tallies[new.plan_id] = copy(self._active_by_plan[new.plan_id])
        tally.remove(old)
        tally.add(new)
        return True

    def branch(self) -> Definitions:
        """A copy that may go on otherwise; nothing is set aside in it."""
        branch = copy(self)
        for name, each in vars(self).items():
            if isinstance(each, Versions | list | array):
                setattr(branch, name, copy(each))
            elif isinstance(each, Mapping):
                setattr(branch, name, Overlay(each, copy))

        def own(known: list[Versions[Subscription]]) -> list[Versions[Subscription]]:
            return [branch.subscription_versions[next(each.all()).id] for each in known]

        branch._subscriptions = cast(
            "dict[Key, list[Versions[Subscription]]]", Overlay(self._subscriptions, own)
        )
        return branch

    def check(self, command: Command, at_ms: int) -> Rejected | None:
        """What would be wrong with the command if it were applied next, at this append time."""
        decision = self.decide(command, at_ms)
        return decision if isinstance(decision, Rejected) else None

    def decide(self, command: Command, at_ms: int) -> Decision | Rejected:
        """What the command would come to if it were applied next, at this append time."""
        return drained(self.deciding(command, at_ms))

    def deciding(self, command: Command, at_ms: int) -> Steps[Decision | Rejected]:
        """`decide` by small steps; records may be applied between them."""
        return self._deciding(command, max(at_ms, self.append_time_ms))

    def _deciding(self, command: Command, now_ms: int) -> Steps[Decision | Rejected]:
        decide = _DECIDE.get(command.type)
        if decide is None:
            return Rejected(422, "invalid_record")
        try:
            decision = decide(self, command, now_ms)
            return (yield from decision) if isinstance(decision, Generator) else decision
        except MalformedPayload:
            return Rejected(422, "invalid_record")
        except MemoryError:
            # No fault of the record's: another worker, or this one at its next start, has enough.
            raise
        except Exception:
            log.exception("A definition of type %s cannot be decided", command.type)
            return cannot_be_applied()

    # Looking up

    def record_offsets(self, since: int, most: int) -> list[int]:
        """Offsets of the first records from an offset on that are no ticks."""
        first = bisect_left(self._record_offsets, since)
        return list(self._record_offsets[first : first + most])

    @property
    def records_applied(self) -> int:
        """How many commands of the log were looked at, ticks aside."""
        return len(self._record_offsets)

    def last_offset_at(self, at_ms: int) -> int:
        """Offset of the last command (no tick) with append_time <= at_ms, -1 if there is none."""
        i = bisect_right(self._record_times_ms, at_ms)
        return self._record_offsets[i - 1] if i else -1

    def first_time_from(self, offset: int) -> int:
        """Append time of the first command at or after an offset, the newest if there is none."""
        i = bisect_left(self._record_offsets, offset)
        return self._record_times_ms[i] if i < len(self._record_times_ms) else self.append_time_ms

    def history_of(self, organization_id: str, until_ms: int) -> Sequence[HistoryRecord]:
        """History records of an organization that were appended until then, in order."""
        records = self._history_of.get(organization_id, ())
        return [r for r in records if r.append_time_ms <= until_ms] if records else ()

    def history_after(self, after_ms: int) -> Sequence[HistoryRecord]:
        """The next history records of all organizations: those with one append time."""
        first = bisect_right(self._history_times_ms, after_ms)
        if first == len(self.history_records):
            return ()
        last = bisect_right(self._history_times_ms, self._history_times_ms[first])
        return self.history_records[first:last]

    def codes_named(self, record: HistoryRecord) -> frozenset[str]:
        """Every code that the metrics a history record is about have or had."""
        named = set(record.metric_ids)
        if record.charge_ids:
            for plan_versions in self.plan_versions.values():
                for plan in plan_versions.all():
                    named.update(c.metric_id for c in plan.charges if c.id in record.charge_ids)
        found = (self.metric_versions.get(metric_id) for metric_id in named)
        return frozenset(
            m.code for versions in found if versions is not None for m in versions.all()
        )

    def settings_at(self, at_ms: int | None = None) -> SettingsRecord:
        """The settings in force; the defaults while there is no record."""
        return self.settings.at(at_ms) or SettingsRecord()

    def known_since_ms(self, organization_id: str, external_id: str, code: str) -> int:
        """Since when events of a code of an external subscription may count; NEVER_MS: they cannot.

        Before, neither any charge nor the implicit plan asks about them. What is deleted or
        canceled since stays known.
        """
        code_ms = self.code_since_ms(organization_id, code)
        if code_ms >= NEVER_MS:
            return NEVER_MS
        since_ms = self.named_since_ms(organization_id, external_id)
        for at_ms, record in zip(self.settings.changes, self.settings.all(), strict=True):
            if at_ms >= since_ms:
                break
            if record.implicit_plan:
                since_ms = at_ms
        return max(code_ms, since_ms)

    def code_since_ms(self, organization_id: str, code: str) -> int:
        """When a metric first had the code; NEVER_MS: none ever had."""
        codes = self._metric_codes.get((organization_id, code))
        return NEVER_MS if codes is None else codes.changes[0]

    def named_since_ms(self, organization_id: str, external_id: str) -> int:
        """When a subscription first had the external id; NEVER_MS: none ever had."""
        named = self._subscriptions.get((organization_id, external_id))
        return NEVER_MS if named is None else named[0].changes[0]

    def limited_after_ms(self, until_ms: int | None = None) -> int:
        """Raw records appended later keep to the limits of `app.limits`; NEVER_MS: none does.

        By the definitions appended until `until_ms` (None: all).
        """
        for at_ms, record in zip(self.settings.changes, self.settings.all(), strict=True):
            if until_ms is not None and at_ms > until_ms:
                break
            if record.input_limits:
                return at_ms
        return NEVER_MS

    def beliefs(self) -> list[Belief]:
        """How much is believed of what raw records say, as it changed."""
        found: list[Belief] = []
        for at_ms, record in zip(self.settings.changes, self.settings.all(), strict=True):
            belief = Belief(
                # The first record holds for what was appended before it as well.
                at_ms if at_ms < 0 else at_ms + TRUST_AFTER_MS,
                record.producer_trust,
                record.producers_may_correct,
                record.producers_may_admit,
            )
            if not belief.is_like(found[-1] if found else None):
                found.append(belief)
        return found

    def metric(self, organization_id: str, code: str, at_ms: int | None = None) -> Metric | None:
        """The metric that has the code at a moment."""
        return _held(self._metric_codes.get((organization_id, code)), self.metric_versions, at_ms)

    def metric_by_id(self, metric_id: str, at_ms: int | None = None) -> Metric | None:
        """The metric, None once deleted."""
        versions = self.metric_versions.get(metric_id)
        return versions.at(at_ms) if versions else None

    def metric_history(self, organization_id: str, code: str) -> list[Versions[Metric]]:
        """All metrics that ever had the code, in the order in which they took it."""
        ids = self._metrics_by_code.get((organization_id, code), ())
        return [self.metric_versions[metric_id] for metric_id in ids]

    def code_deleted_at_ms(self, organization_id: str, code: str) -> int:
        """When a metric of this code was last deleted, -1 if never."""
        return self._code_deleted_at_ms.get((organization_id, code), -1)

    def plan(self, organization_id: str, code: str, at_ms: int | None = None) -> Plan | None:
        """The plan that has the code at a moment."""
        return _held(self._plan_codes.get((organization_id, code)), self.plan_versions, at_ms)

    def plan_by_id(self, plan_id: str, at_ms: int | None = None) -> Plan | None:
        """The plan; once deleted as it last was, because periods under it have yet to close."""
        versions = self.plan_versions.get(plan_id)
        return versions.last_before_deletion(at_ms) if versions else None

    def plan_code(self, plan_id: str) -> str | None:
        """The code of a plan, deleted or not."""
        plan = self.plan_by_id(plan_id)
        return plan.code if plan else None

    def active_subscriptions_count(self, plan_id: str, at_ms: int) -> int:
        """How many subscriptions are active on the plan at a moment, by the newest definitions."""
        tally = self._active_by_plan.get(plan_id)
        return tally.at(at_ms) if tally else 0

    def customer(
        self, organization_id: str, external_id: str, at_ms: int | None = None
    ) -> Customer | None:
        """The customer, None once deleted."""
        versions = self.customer_versions.get((organization_id, external_id))
        return versions.at(at_ms) if versions else None

    def customer_of(self, subscription: Subscription) -> Versions[Customer]:
        """The customer of a subscription, up to its deletion.

        One made anew under the external id is another: its terms are none of this subscription's.
        """
        key = (subscription.organization_id, subscription.external_customer_id)
        created = self.subscription_versions[subscription.id].offsets[0]
        return self.customer_versions[key].until_deleted(created)

    def subscriptions(self, organization_id: str, external_id: str) -> list[Versions[Subscription]]:
        """All subscriptions that ever had the external id, canceled too, in creation order."""
        return list(self._subscriptions.get((organization_id, external_id), ()))

    def subscription_by_id(
        self, subscription_id: str, at_ms: int | None = None
    ) -> Subscription | None:
        """The subscription, whatever its status."""
        versions = self.subscription_versions.get(subscription_id)
        return versions.at(at_ms) if versions else None

    def current_subscription(
        self, organization_id: str, external_id: str, now_ms: int
    ) -> Subscription | None:
        """The active one of the external id, else the pending one that has yet to start."""
        pending = None
        for versions in reversed(self._subscriptions.get((organization_id, external_id), ())):
            subscription = versions.at()
            status = subscription.status_at(now_ms) if subscription else None
            if status == "active":
                return subscription
            if status == "pending":
                pending = pending or subscription
        return pending

    # Listing

    def all_subscription_keys(self) -> Iterable[Key]:
        """(organization id, external id) of every subscription that ever was."""
        return self._subscriptions.keys()

    def all_subscriptions(self, organization_id: str) -> Sequence[Versions[Subscription]]:
        """Every subscription of the organization that ever was, in creation order."""
        return self._subscriptions_by_organization.get(organization_id, ())

    def subscriptions_from_newest(self, organization_id: str) -> Iterator[Subscription]:
        """Every subscription of the organization that ever was, as it is now, newest first."""
        for versions in reversed(list(self.all_subscriptions(organization_id))):
            yield _newest(versions)

    def metrics(self, organization_id: str) -> list[Metric]:
        """Newest first, then by id."""
        live = self._live_metrics.get(organization_id, ())
        return sorted((_newest(self.metric_versions[i]) for i in live), key=_listing_order)

    def plans(self, organization_id: str) -> list[Plan]:
        """Newest first, then by id."""
        live = self._live_plans.get(organization_id, ())
        return sorted((_newest(self.plan_versions[i]) for i in live), key=_listing_order)

    def customers(self, organization_id: str) -> Iterator[Customer]:
        """Newest first."""
        for name in reversed(list(self._live_customers.get(organization_id, ()))):
            customer = self.customer(organization_id, name)
            # It may be deleted meanwhile.
            if customer is not None:
                yield customer

    def organizations(self) -> list[str]:
        """All that have metrics, plans, customers or subscriptions, or had."""
        held = (self._live_metrics, self._live_plans, self._live_customers)
        return sorted({*self._subscriptions_by_organization, *chain.from_iterable(held)})

    def metrics_count(self, organization_id: str) -> int:
        """How many metrics it has."""
        return len(self._live_metrics.get(organization_id, ()))

    def plans_count(self, organization_id: str) -> int:
        """How many plans it has."""
        return len(self._live_plans.get(organization_id, ()))

    def customers_count(self, organization_id: str) -> int:
        """How many customers it has."""
        return len(self._live_customers.get(organization_id, ()))

    def plans_using(self, metric_id: str) -> list[Plan]:
        """Plans that have a charge on the metric."""
        return [_newest(self.plan_versions[i]) for i in self._plans_by_metric.get(metric_id, ())]

    def subscriptions_of_plan(self, plan_id: str) -> Iterator[Subscription]:
        """Every subscription on the plan, whatever its status, in creation order."""
        ids = list(self._subscriptions_by_plan.get(plan_id, ()))
        return (_newest(self.subscription_versions[i]) for i in ids)

    def has_subscribers(self, plan_id: str) -> bool:
        """Whether the plan has or had any subscription, canceled ones aside."""
        return bool(self._active_by_plan.get(plan_id))

    def names_touched(self, touch: Touch) -> Iterator[Key]:
        """(organization id, external id) of every subscription that a touch is about, wherever.

        As they are when it is asked for; those made meanwhile have a touch of their own.
        """
        organization_id = touch.organization_id
        if organization_id is None:
            yield from list(self._subscriptions)
        elif touch.external_subscription_id is not None:
            yield organization_id, touch.external_subscription_id
        elif touch.plan_id is not None:
            yield from self._names_of(list(self._subscriptions_by_plan.get(touch.plan_id, ())))
        elif touch.external_customer_id is not None:
            key = (organization_id, touch.external_customer_id)
            left = self._subscriptions_left.get(key, ())
            yield from self._names_of([*left, *self._subscriptions_by_customer.get(key, ())])
        else:
            for versions in list(self._subscriptions_by_organization.get(organization_id, ())):
                yield organization_id, _newest(versions).external_id

    def _names_of(self, identities: Iterable[str]) -> Iterator[Key]:
        for identity in identities:
            subscription = _newest(self.subscription_versions[identity])
            yield subscription.organization_id, subscription.external_id

    def has_subscriptions(self, customer: Customer) -> bool:
        """Whether a customer that is not deleted has or had any subscription."""
        key = (customer.organization_id, customer.external_id)
        return bool(self._subscriptions_by_customer.get(key))

    def subscriptions_of_customer(
        self, customer: Customer, *, newest_first: bool = False
    ) -> Iterator[Subscription]:
        """Every subscription of a customer that is not deleted, whatever its status."""
        key = (customer.organization_id, customer.external_id)
        ids = list(self._subscriptions_by_customer.get(key, ()))
        return (
            _newest(self.subscription_versions[i]) for i in (ids[::-1] if newest_first else ids)
        )

    # Committing: nothing here decides, so that nothing here can fail half-way

    def _commit(self, change: Change, now_ms: int, offset: int) -> None:
        match change:
            case Subscription():
                self._commit_subscription(change, now_ms, offset)
            case Customer():
                key = (change.organization_id, change.external_id)
                _push(self.customer_versions, key, now_ms, offset, change)
                self._live_customers.setdefault(key[0], {})[key[1]] = None
            case Metric():
                self._commit_metric(change, now_ms, offset)
            case Plan():
                self._commit_plan(change, now_ms, offset)
            case SettingsRecord():
                if offset == 0:
                    # The first in the log, so in force for what was appended before it as well.
                    now_ms = -1
                elif not self.settings:
                    self.settings.push(-1, -1, SettingsRecord())
                self.settings.push(now_ms, offset, change)
            case HistoryRecord():
                self.history_records.append(change)
                self._history_times_ms.append(change.append_time_ms)
                self._history_of.setdefault(change.organization_id, []).append(change)
            case SetAside():
                self.set_asides.add(change)
            case Lift():
                self.set_asides.lift(change.id)
            case Grant():
                self.grants.add(change, now_ms, offset)
            case Deletion():
                self._commit_deletion(change.object, now_ms, offset)

    def _commit_metric(self, metric: Metric, now_ms: int, offset: int) -> None:
        old = _push(self.metric_versions, metric.id, now_ms, offset, metric)
        _hold_code(self._metric_codes, old, metric, now_ms, offset)
        self._metrics_by_code.setdefault(_code_key(metric), {})[metric.id] = None
        self._live_metrics.setdefault(metric.organization_id, {})[metric.id] = None

    def _commit_plan(self, plan: Plan, now_ms: int, offset: int) -> None:
        old = _push(self.plan_versions, plan.id, now_ms, offset, plan)
        _hold_code(self._plan_codes, old, plan, now_ms, offset)
        self._live_plans.setdefault(plan.organization_id, {})[plan.id] = None
        self._index_metrics_of(plan, _metric_ids(old), _metric_ids(plan))

    def _index_metrics_of(self, plan: Plan, old: set[str], new: set[str]) -> None:
        for metric_id in old - new:
            self._plans_by_metric.get(metric_id, {}).pop(plan.id, None)
        for metric_id in new - old:
            self._plans_by_metric.setdefault(metric_id, {})[plan.id] = None

    def _commit_subscription(self, subscription: Subscription, now_ms: int, offset: int) -> None:
        organization_id, identity = subscription.organization_id, subscription.id
        old = _push(self.subscription_versions, identity, now_ms, offset, subscription)
        if old is None:
            versions = self.subscription_versions[identity]
            key = (organization_id, subscription.external_id)
            self._subscriptions.setdefault(key, []).append(versions)
            self._subscriptions_by_organization.setdefault(organization_id, []).append(versions)
            customer = (organization_id, subscription.external_customer_id)
            self._subscriptions_by_customer.setdefault(customer, {})[identity] = None
        else:
            self._active_by_plan[old.plan_id].remove(old)
            if old.plan_id != subscription.plan_id:
                self._subscriptions_by_plan[old.plan_id].pop(identity, None)
        tally = self._active_by_plan.get(subscription.plan_id)
        if tally is None:
            tally = self._active_by_plan[subscription.plan_id] = ActiveCounts()
        tally.add(subscription)
        self._subscriptions_by_plan.setdefault(subscription.plan_id, {})[identity] = None

    def _commit_deletion(self, gone: Metric | Plan | Customer, now_ms: int, offset: int) -> None:
        match gone:
            case Metric():
                self.metric_versions[gone.id].push(now_ms, offset, None)
                self._metric_codes[_code_key(gone)].push(now_ms, offset, None)
                self._code_deleted_at_ms[_code_key(gone)] = now_ms
                self._live_metrics[gone.organization_id].pop(gone.id, None)
            case Plan():
                self.plan_versions[gone.id].push(now_ms, offset, None)
                self._plan_codes[_code_key(gone)].push(now_ms, offset, None)
                self._index_metrics_of(gone, _metric_ids(gone), set())
                self._live_plans[gone.organization_id].pop(gone.id, None)
            case Customer():
                key = (gone.organization_id, gone.external_id)
                self.customer_versions[key].push(now_ms, offset, None)
                left = self._subscriptions_by_customer.pop(key, {})
                if (before := self._subscriptions_left.setdefault(key, left)) is not left:
                    before.update(left)
                self._live_customers[gone.organization_id].pop(gone.external_id, None)


class _Prepared:
    """What a record that changes many subscriptions is about to change."""

    def __init__(self, coming: Coming):
        self.coming = coming
        self.tallies: dict[str, ActiveCounts] = {}
        """Of plans, with what is promised."""
        self.others: list[Change] = []


_DECIDE: dict[
    str,
    Callable[[Definitions, Command, int], Decision | Rejected | Steps[Decision | Rejected]],
] = {
    "create_billable_metric": metrics.create,
    "update_billable_metric": metrics.update,
    "delete_billable_metric": metrics.delete,
    "create_plan": plans.create,
    "update_plan": plans.update,
    "delete_plan": plans.delete,
    "upsert_customer": customers.upsert,
    "delete_customer": customers.delete,
    "create_subscription": subscriptions.create,
    "update_subscription": subscriptions.update,
    "terminate_subscription": subscriptions.terminate,
    "settings": settings_records.set_settings,
    "history": settings_records.apply_history,
    set_asides.SET_ASIDE: set_asides.set_aside,
    set_asides.LIFT: set_asides.lift,
    "grant": grants.grant,
}


def _push(
    versions_of: dict[K, Versions[Defined]], key: K, now_ms: int, offset: int, new: Defined
) -> Defined | None:
    """Add a version, or put it in place of one that has other texts only; the one before."""
    versions = versions_of.get(key)
    if versions is None:
        versions = versions_of[key] = Versions()
    old = versions.at()
    if old is not None and differ_in_texts_only(old, new):
        versions.replace_newest(new)
    else:
        versions.push(now_ms, offset, new)
    return old


def _code_key(coded: Metric | Plan) -> Key:
    return coded.organization_id, coded.code


def _metric_ids(plan: Plan | None) -> set[str]:
    return {charge.metric_id for charge in plan.charges} if plan else set()


def _held(
    holders: Versions[str] | None, objects: Mapping[str, Versions[Coded]], at_ms: int | None
) -> Coded | None:
    """The object that holds a code at a moment, as it is at that moment."""
    identity = holders.at(at_ms) if holders else None
    return objects[identity].at(at_ms) if identity else None


def _hold_code(
    codes: dict[Key, Versions[str]],
    old: Metric | Plan | None,
    new: Metric | Plan,
    now_ms: int,
    offset: int,
) -> None:
    """Give the code to its object, and back the one it had."""
    if old is not None and old.code == new.code:
        return
    if old is not None:
        codes[_code_key(old)].push(now_ms, offset, None)
    codes.setdefault(_code_key(new), Versions()).push(now_ms, offset, new.id)


def _newest(versions: Versions[T]) -> T:
    """The newest version of an object that is not deleted."""
    newest = versions.at()
    if newest is None:
        raise LookupError("the object is deleted")
    return newest


def _listing_order(listed: Metric | Plan | Customer) -> tuple[int, str]:
    return -listed.created_at_ms, listed.id
