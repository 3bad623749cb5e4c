"""The definitions as they stand: look-ups of every object, now and at any earlier append time.

`app.definitions.log` applies the records of the log to them; nothing else changes them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final

from app.bounds.turns import Steps
from app.definitions.copies import alike
from app.definitions.indexes.alerts import AlertIndex
from app.definitions.indexes.coded import MetricIndex, PlanIndex
from app.definitions.indexes.grants import Grants
from app.definitions.indexes.index import CodeKey, Index, newest
from app.definitions.indexes.organizations import CustomerIndex, OrganizationIndex, WebhookEndpoints
from app.definitions.indexes.records import HistoryIndex, RecordIndex, SettingsVersions
from app.definitions.indexes.rows import Keep
from app.definitions.indexes.set_asides import SetAsides
from app.definitions.indexes.subscriptions import SubscriptionIndex
from app.definitions.model import (
    DEFAULT_TIMEZONE,
    Customer,
    HistoryRecord,
    Metric,
    Organization,
    Plan,
    SettingsRecord,
    Subscription,
)
from app.definitions.outcome import Impact
from app.definitions.periods import NEVER_MS
from app.definitions.versions import Versions

_NOTHING_SAID: Final[Versions[Organization]] = Versions()
_DEFAULTS: Final = SettingsRecord()


class Definitions(Index):
    """All definitions of all organizations, now and at any earlier append time.

    `offset` is the next offset to apply, `append_time_ms` the greatest record timestamp so far
    (ticks count), -1 at first.
    """

    def __init__(self, keep: Keep = bytes) -> None:
        """Know nothing yet; `keep` takes over the bytes of very many objects at rest."""
        self.offset = 0
        self.append_time_ms = -1
        self.decided_offset = -1
        """Offset of the record that is being applied; -1: none is."""
        self.records = RecordIndex()
        self.settings = SettingsVersions()
        self.set_asides = SetAsides()
        self.grants = Grants()
        self.history = HistoryIndex()
        self.organization_index = OrganizationIndex()
        self.metric_index = MetricIndex()
        self.plan_index = PlanIndex()
        self.customer_index = CustomerIndex(keep)
        self.subscription_index = SubscriptionIndex(keep)
        self.webhook_endpoints = WebhookEndpoints()
        self.alerts = AlertIndex(keep)

    def begin(self, offset: int) -> None:
        """Begin to decide the record at an offset."""
        self.decided_offset = offset

    def pass_over(self, now_ms: int, offset: int) -> None:
        """Be done with the record at an offset."""
        self.offset, self.append_time_ms, self.decided_offset = offset + 1, now_ms, -1

    def record_offsets(self, since: int, most: int) -> list[int]:
        """Return offsets of the first records from an offset on that are no ticks."""
        first = bisect_left(self.records.offsets, since)
        return list(self.records.offsets[first : first + most])

    @property
    def records_applied(self) -> int:
        """How many commands of the log were looked at, ticks aside."""
        return len(self.records.offsets)

    def last_offset_at(self, at_ms: int) -> int:
        """Return the offset of the last command (no tick) with append_time <= at_ms; -1: none."""
        i = bisect_right(self.records.times_ms, at_ms)
        return self.records.offsets[i - 1] if i else -1

    def first_time_from(self, offset: int) -> int:
        """Append time of the first command at or after an offset, the newest if there is none."""
        i = bisect_left(self.records.offsets, offset)
        return self.records.times_ms[i] if i < len(self.records.times_ms) else self.append_time_ms

    def has_commands_after(self, at_ms: int, until_ms: int = NEVER_MS) -> bool:
        """Return whether any command was appended after a moment, and until another one."""
        times_ms = self.records.times_ms
        return bisect_right(times_ms, at_ms) < bisect_right(times_ms, until_ms)

    def is_alone_at(self, at_ms: int) -> bool:
        """Return whether no more than one command was appended at that millisecond so far."""
        times_ms = self.records.times_ms
        return bisect_right(times_ms, at_ms) - bisect_left(times_ms, at_ms) <= 1

    def times_after_ms(self, at_ms: int, until_ms: int = NEVER_MS) -> Sequence[int]:
        """Return the append times of commands after a moment, and until another one, in order."""
        times_ms = self.records.times_ms
        first, last = bisect_right(times_ms, at_ms), bisect_right(times_ms, until_ms)
        return times_ms[first:last]

    @property
    def history_records(self) -> Sequence[HistoryRecord]:
        """History records of all organizations, in order."""
        return self.history.records

    def history_of(
        self, organization_id: str, until_ms: int, after_ms: int = -1
    ) -> Sequence[HistoryRecord]:
        """Return history records of an organization that were appended until then, in order.

        Those that were appended after `after_ms`.
        """
        return self.history.of(organization_id, until_ms, after_ms)

    def history_after(self, after_ms: int) -> Sequence[HistoryRecord]:
        """Return the next history records of all organizations, those of one append time."""
        first = bisect_right(self.history.times_ms, after_ms)
        if first == len(self.history.records):
            return ()
        last = bisect_right(self.history.times_ms, self.history.times_ms[first])
        return self.history.records[first:last]

    def codes_named(
        self, record: HistoryRecord, plan_ids: Collection[str] | None = None
    ) -> Steps[frozenset[str]]:
        """Return every code of the metrics that a history record names, present or past.

        `plan_ids`: plans that the charges are of; None: any.
        """
        charged = yield from self.plan_index.metrics_charged(record.charge_ids, plan_ids)
        found = (self.metric_versions.get(each) for each in {*record.metric_ids, *charged})
        return frozenset(
            m.code for versions in found if versions is not None for m in versions.all()
        )

    def settings_at(self, at_ms: int | None = None) -> SettingsRecord:
        """Return the settings in force; the defaults while there is no record."""
        return self.settings.at(at_ms) or _DEFAULTS

    def limited_after_ms(self, until_ms: int | None = None) -> int:
        """Return the append time after which raw records keep to the limits; NEVER_MS: none.

        Only definitions appended until `until_ms` count (None: all). The limits are those of
        `app.bounds.limits`.
        """
        return self.settings.input_limits(until_ms).limited_after_ms

    @property
    def first_watched_ms(self) -> int:
        """Append time of the first definition that asked for figures so; NEVER_MS: none did."""
        daily_ms = next((on_ms for on_ms, _ in self.settings.daily_ms()), NEVER_MS)
        return min(self.alerts.first_ms, self.plan_index.first_in_advance_ms, daily_ms)

    def watches_before(self, at_ms: int) -> bool:
        """Return whether anybody asked for figures at grid cuts before a moment."""
        return self.first_watched_ms < at_ms

    def is_watched(self, name: CodeKey, at_ms: int) -> bool:
        """Return whether anybody asked for figures of an external subscription so, since a time."""
        *_, (_, until_ms) = self.settings.daily_ms() or ((-1, -1),)
        return at_ms < until_ms or self.is_watched_each_cut(name, at_ms)

    def is_watched_each_cut(self, name: CodeKey, at_ms: int) -> bool:
        """Return whether anybody asked for them at every grid cut, not at ends of days.

        At a time, or later. Who asked before watches no cut from that time on.
        """
        is_alerted = self.alerts.asked_until_ms(name) >= at_ms
        return is_alerted or self.pays_in_advance(*name)

    def close_grids_ms(self, until_ms: int | None = None) -> tuple[tuple[int, int], ...]:
        """Return (append time from which it holds, ms between two grid cuts) of each grid."""
        if not self.settings:
            return ((-1, self.settings_at().close_grid_s * 1000),)
        return self.settings.grids_ms(until_ms)

    def grid_ms(self, at_ms: int | None = None) -> int:
        """Return the time between two grid cuts at a moment, in ms."""
        return self.settings_at(at_ms).close_grid_s * 1000

    def known_since_ms(self, organization_id: str, external_id: str, code: str) -> int:
        """Return since when events of a code and an external id may count; NEVER_MS: never.

        No charge and no implicit plan asks about earlier events. Metrics and subscriptions stay
        known after they are deleted or canceled.
        """
        code_ms = self.code_since_ms(organization_id, code)
        if code_ms >= NEVER_MS:
            return NEVER_MS
        since_ms = self.named_since_ms(organization_id, external_id)
        return max(code_ms, min(since_ms, self.settings.implicit_since_ms))

    def was_ever_known(self, organization_id: str, external_id: str, code: str) -> bool:
        """Return whether events of a code and an external id ever count."""
        if not self.had_metric(organization_id, code):
            return False
        has_implicit = self.settings.implicit_since_ms < NEVER_MS
        return has_implicit or self.subscription_index.by_external_id.has(
            (organization_id, external_id)
        )

    def had_metric(self, organization_id: str, code: str) -> bool:
        """Return whether a metric has the code, or ever had it."""
        return (organization_id, code) in self.metric_index.holders

    def code_since_ms(self, organization_id: str, code: str) -> int:
        """Return when a metric first had the code; NEVER_MS: none ever had."""
        codes = self.metric_index.holders.get((organization_id, code))
        return NEVER_MS if codes is None else codes.changes[0]

    def named_since_ms(self, organization_id: str, external_id: str) -> int:
        """Return when a subscription first had the external id; NEVER_MS: none ever had."""
        first = self.subscription_index.first_of_external_id((organization_id, external_id))
        return NEVER_MS if first is None else first.changes[0]

    @property
    def metric_versions(self) -> Mapping[str, Versions[Metric]]:
        """Every metric that ever was, by id."""
        return self.metric_index.versions

    def metric(self, organization_id: str, code: str, at_ms: int | None = None) -> Metric | None:
        """Return the metric that has the code at a moment."""
        return self.metric_index.holder(organization_id, code, at_ms)

    def metric_by_id(self, metric_id: str, at_ms: int | None = None) -> Metric | None:
        """Return the metric, None once deleted."""
        versions = self.metric_index.versions.get(metric_id)
        return versions.at(at_ms) if versions is not None else None

    def metric_history(self, organization_id: str, code: str) -> list[Versions[Metric]]:
        """Return all metrics that ever had the code, in the order in which they took it."""
        index = self.metric_index
        ids = index.ids_by_code.get((organization_id, code), ())
        return [index.versions[metric_id] for metric_id in ids]

    def recurs(self, organization_id: str, code: str) -> bool:
        """Return whether a metric of the code is recurring, or was."""
        histories = self.metric_history(organization_id, code)
        return any(metric.recurring for versions in histories for metric in versions.all())

    def code_deleted_at_ms(self, organization_id: str, code: str) -> int:
        """Return when a metric of this code was last deleted; -1: never."""
        return self.metric_index.code_deleted_at_ms.get((organization_id, code), -1)

    @property
    def plan_versions(self) -> Mapping[str, Versions[Plan]]:
        """Every plan that ever was, by id."""
        return self.plan_index.versions

    def plan(self, organization_id: str, code: str, at_ms: int | None = None) -> Plan | None:
        """Return the plan that has the code at a moment."""
        return self.plan_index.holder(organization_id, code, at_ms)

    def plan_by_id(self, plan_id: str, at_ms: int | None = None) -> Plan | None:
        """Return the plan; a deleted one as it last was, since its periods have yet to close."""
        versions = self.plan_index.versions.get(plan_id)
        return versions.last_before_deletion(at_ms) if versions is not None else None

    def plan_of(self, subscription_id: str) -> Versions[Plan]:
        """Return the plan of a subscription through time, whichever it has been."""
        return self.plan_through(self.subscription_versions[subscription_id])

    def plan_through(self, versions: Versions[Subscription]) -> Versions[Plan]:
        """Return what `plan_of` returns: to look a subscription up takes longer than all else."""
        first = versions.only()
        if first is not None:
            return self.plan_versions[first.plan_id]
        moves: list[tuple[int, int, Versions[Plan]]] = []
        plan_id = ""
        for at_ms, offset, version in versions.entries():
            if version is not None and version.plan_id != plan_id:
                plan_id = version.plan_id
                moves.append((at_ms, offset, self.plan_versions[plan_id]))
        return moves[0][2] if len(moves) == 1 else Versions.joined(moves)

    def children_of(self, plan_id: str) -> Iterator[Plan]:
        """Yield the child plans of a plan that are not deleted, in creation order.

        There may be one for each subscription. Those that come meanwhile are not among them.
        """
        for child_id in list(self.plan_index.children.get(plan_id, ())):
            child = self.plan_versions[child_id].at()
            if child is not None:
                yield child

    def plan_code(self, plan_id: str) -> str | None:
        """Return the code of a plan, deleted or not."""
        plan = self.plan_by_id(plan_id)
        return plan.code if plan else None

    def families_using(self, metric_id: str) -> Collection[str]:
        """Return ids of plans that are no child: it, or a child, has a charge on the metric."""
        return self.plan_index.by_metric.get(metric_id, {}).keys()

    def plans_using(self, metric_id: str) -> Iterator[Plan | None]:
        """Yield the plans that have a charge on the metric, child plans too.

        None is a plan of the same family without one. There may be a child for each subscription.
        """
        for plan_id in list(self.families_using(metric_id)):
            parent = self.plan_versions[plan_id].at()
            family = self.children_of(plan_id)
            for plan in family if parent is None else chain((parent,), family):
                uses = any(charge.metric_id == metric_id for charge in alike(plan.charges))
                yield plan if uses else None

    def metrics(self, organization_id: str) -> list[Metric]:
        """List the metrics of an organization, newest first."""
        return self.metric_index.listed(organization_id)

    def plans(self, organization_id: str) -> list[Plan]:
        """List the plans of an organization, newest first."""
        return self.plan_index.listed(organization_id)

    def metrics_count(self, organization_id: str) -> int:
        """Return how many metrics the organization has."""
        return len(self.metric_index.live.get(organization_id, ()))

    def plans_count(self, organization_id: str) -> int:
        """Return how many plans the organization has."""
        return len(self.plan_index.live.get(organization_id, ()))

    @property
    def customer_versions(self) -> Mapping[CodeKey, Versions[Customer]]:
        """Every customer that ever was, by organization and external id."""
        return self.customer_index.versions

    def customer(
        self, organization_id: str, external_id: str, at_ms: int | None = None
    ) -> Customer | None:
        """Return the customer, None once deleted."""
        versions = self.customer_index.versions.get((organization_id, external_id))
        return versions.at(at_ms) if versions is not None else None

    def customer_of(self, subscription: Subscription) -> Versions[Customer]:
        """Return the customer of a subscription, up to its deletion.

        One made anew under the external id is another: its terms are none of this subscription's.
        """
        key = (subscription.organization_id, subscription.external_customer_id)
        customer = self.customer_versions[key]
        if customer.only() is not None:
            return customer
        return customer.until_deleted(self.subscription_versions[subscription.id].offsets[0])

    def customers(self, organization_id: str, *, newest_first: bool = True) -> Iterator[Customer]:
        """Return the customers of an organization; one that is deleted meanwhile is left out."""
        index = self.customer_index
        return index.live.newest(organization_id, index.versions, newest_first=newest_first)

    def customers_count(self, organization_id: str) -> int:
        """Return how many customers the organization has."""
        return self.customer_index.live.count(organization_id)

    @property
    def subscription_versions(self) -> Mapping[str, Versions[Subscription]]:
        """Every subscription that ever was, by id."""
        return self.subscription_index.versions

    def subscriptions(
        self, organization_id: str, external_id: str
    ) -> Sequence[Versions[Subscription]]:
        """Return all subscriptions ever under the external id, canceled too, in creation order."""
        return self.subscription_index.of_external_id((organization_id, external_id))

    def subscription_by_id(
        self, subscription_id: str, at_ms: int | None = None
    ) -> Subscription | None:
        """Return the subscription, whatever its status."""
        versions = self.subscription_index.versions.get(subscription_id)
        return versions.at(at_ms) if versions is not None else None

    def current_subscription(
        self, organization_id: str, external_id: str, now_ms: int
    ) -> Subscription | None:
        """Return the active subscription of the external id, else the pending one."""
        pending = None
        name = organization_id, external_id
        for versions in reversed(self.subscription_index.lasting_of(name)):
            subscription = versions.at()
            status = subscription.status_at(now_ms) if subscription else None
            if status == "active":
                return subscription
            if status == "pending":
                pending = pending or subscription
        return pending

    def all_subscription_keys(self) -> Iterator[CodeKey]:
        """Yield (organization id, external id) of every subscription that was until now."""
        return iter(self.subscription_index.by_external_id)

    def subscriptions_from_newest(self, organization_id: str) -> Iterator[Subscription]:
        """Return all past and present subscriptions of the organization, newest first."""
        index = self.subscription_index
        return index.by_organization.newest(organization_id, index.versions, newest_first=True)

    def subscriptions_count(self, organization_id: str) -> int:
        """Return how many subscriptions the organization ever had."""
        return self.subscription_index.by_organization.count(organization_id)

    def active_count(self, organization_id: str, at_ms: int) -> int:
        """Return how many subscriptions of the organization are active, now or later."""
        active = self.subscription_index.active_by_organization.get(organization_id)
        return active.at(at_ms) if active else 0

    def subscriptions_of_plan(self, plan_id: str) -> Iterator[Subscription]:
        """Return every subscription on the plan or on a child of it, whatever its status."""
        index = self.subscription_index
        return index.by_plan.newest(plan_id, index.versions)

    def active_subscriptions_count(self, plan_id: str, at_ms: int) -> int:
        """Return how many subscriptions are active on the plan or on a child, now or later."""
        active = self.subscription_index.active_by_plan.get(plan_id)
        return active.at(at_ms) if active else 0

    def pays_in_advance(self, organization_id: str, external_id: str) -> bool:
        """Return True if a plan of an external id has or had a charge paid in advance."""
        plans = self.plan_index
        return organization_id in plans.pay_in_advance and any(
            plan_id in plans.in_advance
            for plan_id in self.subscription_index.plan_ids_of((organization_id, external_id))
        )

    def has_subscribers(self, plan_id: str) -> bool:
        """Return True if the plan or a child has or had any subscription, canceled ones aside."""
        return bool(self.subscription_index.active_by_plan.get(plan_id))

    def has_subscriptions(self, customer: Customer) -> bool:
        """Return True if a customer that is not deleted has or had any subscription."""
        return next(self.subscriptions_of_customer(customer), None) is not None

    def subscriptions_of_customer(self, customer: Customer) -> Iterator[Subscription]:
        """Return every subscription of a customer that is not deleted, whatever its status."""
        key = (customer.organization_id, customer.external_id)
        return self.subscription_index.of_customer(key)

    def organizations(self, most: int) -> list[str]:
        """Return organizations that the log tells of anything but history; of many, any of them."""
        held = (self.metric_index.live, self.plan_index.live, self.customer_index.live)
        named = (self.subscription_index.by_organization, self.organization_index.versions)
        found = set[str]()
        for each in chain.from_iterable((*held, *named)):
            found.add(each)
            if len(found) == most:
                break
        return sorted(found)

    def organization_versions(self, organization_id: str) -> Versions[Organization]:
        """Return what an organization says of itself through time; none while it says nothing."""
        return self.organization_index.versions.get(organization_id, _NOTHING_SAID)

    def organization(self, organization_id: str) -> Organization | None:
        """Return what an organization says of itself; None: nothing so far."""
        return self.organization_versions(organization_id).at()

    def timezone_of(self, organization_id: str, customer: Customer | None) -> str:
        """Return the timezone that holds for a customer: its own, else the organization's."""
        if customer is not None and customer.timezone is not None:
            return customer.timezone
        organization = self.organization(organization_id)
        return DEFAULT_TIMEZONE if organization is None else organization.timezone

    def names_affected(self, impact: Impact) -> Iterator[CodeKey]:
        """Yield names of subscriptions that an impact is about; of later ones another is."""
        organization_id, index = impact.organization_id, self.subscription_index
        if organization_id is None:
            yield from index.by_external_id
        elif impact.external_subscription_id is not None:
            yield organization_id, impact.external_subscription_id
        elif impact.plan_id is not None:
            yield from _names_of(index.by_plan.newest(impact.plan_id, index.versions))
        elif impact.external_customer_id is not None:
            key = (organization_id, impact.external_customer_id)
            yield from _names_of(newest(index.versions[i]) for i in index.by_customer.ids(key))
        else:
            yield from _names_of(index.by_organization.newest(organization_id, index.versions))


def _names_of(subscriptions: Iterable[Subscription]) -> Iterator[CodeKey]:
    return ((each.organization_id, each.external_id) for each in subscriptions)
