"""The terms of a subscription's periods: what all definitions say of them, through time."""

from __future__ import annotations

from bisect import bisect_right
from functools import lru_cache
from typing import NamedTuple

from msgspec.structs import replace

from app.billing_periods.grid import PeriodGrid
from app.definitions.indexes.index import CodeKey
from app.definitions.model import (
    DEFAULT_TIMEZONE,
    Customer,
    Organization,
    Plan,
    SettingsRecord,
    Subscription,
)
from app.definitions.state import Definitions
from app.definitions.timeline import (
    Due,
    Terms,
    Timeline,
    ever_under,
    own_since_ms,
)
from app.definitions.versions import Versions

_DAY_S = 86_400
_MOST_SHARED = 256
"""How many timelines that others share are at hand, of all plans."""


class Shared(NamedTuple):
    """A timeline of one that ever ran under the terms of another."""

    subscription: Subscription
    """The other."""
    timeline: Timeline
    since_ms: int
    """Periods of it that begin at or after it are periods of the other."""


class _Common(NamedTuple):
    """What definitions say of all who have a plan, through time, and how many they are."""

    told: tuple[int, int, int]
    since_ms: list[int]
    """Append times at which any of it changed, in order."""
    parts: list[tuple[Plan | None, Organization | None, SettingsRecord]]
    """What holds from each of them on."""

    def terms_of(
        self, created_ms: int, one: Subscription, customer: Customer
    ) -> list[Terms] | None:
        """Return the terms of one that never changed, nor did its customer; None: unknown."""
        begun = bisect_right(self.since_ms, created_ms)
        if not begun:
            return None
        moments_ms, parts = [created_ms, *self.since_ms[begun:]], self.parts[begun - 1 :]
        terms: list[Terms] = []
        for at_ms, (plan, organization, settings) in zip(moments_ms, parts, strict=True):
            if plan is None:
                return None
            entry = _terms(at_ms, one, customer, plan, organization, settings)
            if not terms or entry[1:] != terms[-1][1:]:
                terms.append(entry)
        return terms


class CommonTerms:
    """What of the terms is alike for all who have a plan; it is found once until it changes."""

    def __init__(self, definitions: Definitions):
        self._definitions = definitions
        self._known: dict[str, _Common] = {}
        """By plan id."""
        self._shared: dict[tuple[object, ...], Timeline] = {}
        """What those who are alike share, as if they had ever run."""
        self._asked: tuple[CodeKey, int, Shared | None] | None = None
        """The name asked for last, under which definitions, and what it was told."""

    def of(self, subscription: Versions[Subscription]) -> list[Terms] | None:
        """Return the terms of a subscription through time; None: they may be others.

        As for most, nothing of its own changed since it was made.
        """
        one = subscription.only()
        # A customer is there before its subscriptions.
        customer = None if one is None else self._definitions.customer_of(one).only()
        if one is None or customer is None:
            return None
        return self._common_of(one).terms_of(subscription.changes[0], one, customer)

    def shared(self, name: CodeKey, at_ms: int) -> Shared | None:
        """Return a timeline that is as that of an external id before an instant; None: none is.

        One tells for all who have a plan and are alike: for them none is made. Not for those with
        an anniversary, of which there may be as many as there are days.
        """
        asked, offset = self._asked, self._definitions.offset
        if asked is None or asked[0] != name or asked[1] != offset:
            # Who closes it asks twice.
            asked = self._asked = name, offset, self._found(name)
        shared = asked[2]
        return None if shared is None or shared.since_ms > at_ms else shared

    def _found(self, name: CodeKey) -> Shared | None:
        alone = self._definitions.alone(name)
        if alone is None:
            return None
        created_ms, one, customer = alone
        common = self._common_of(one)
        alike = (
            one.plan_id,
            common.told,
            bisect_right(common.since_ms, created_ms),
            customer.timezone,
            customer.grace_days,
        )
        timeline = self._shared.get(alike)
        if timeline is None:
            terms = common.terms_of(created_ms, one, customer)
            if terms is None:
                return None
            if len(self._shared) >= _MOST_SHARED:
                self._shared.clear()
            timeline = self._shared[alike] = ever_under(terms)
        return Shared(one, timeline, own_since_ms(created_ms, one))

    def due_after(self, name: CodeKey, done_ms: int) -> tuple[Subscription, Due] | None:
        """Return the one subscription of an external id, and what of it is due first after a cut.

        None: its own timeline tells.
        """
        shared = self.shared(name, done_ms)
        if shared is None:
            return None
        due = shared.timeline.next_due(done_ms)
        return (shared.subscription, due) if due.follows(shared.since_ms) else None

    def next_due(self, name: CodeKey, done_ms: int) -> int | None:
        """Return when a period of an external id is due first after a cut; None: ask its own."""
        found = self.due_after(name, done_ms)
        return None if found is None else found[1].at_ms

    def _common_of(self, one: Subscription) -> _Common:
        definitions = self._definitions
        plan = definitions.plan_versions[one.plan_id]
        settings = definitions.settings
        organization = definitions.organization_versions(one.organization_id)
        told = len(plan.changes), len(settings.changes), len(organization.changes)
        known = self._known.get(one.plan_id)
        if known is None or known.told != told:
            times_ms = {
                *plan.changes_of(_plan_shape),
                *settings.changes_of(_settings_shape),
                *organization.changes_of(_organization_shape),
            }
            parts = [
                (
                    plan.last_before_deletion(at_ms),
                    organization.at(at_ms),
                    definitions.settings_at(at_ms),
                )
                for at_ms in sorted(times_ms)
            ]
            known = self._known[one.plan_id] = _Common(told, sorted(times_ms), parts)
        return known


def subscription_timeline(
    definitions: Definitions,
    subscription: Versions[Subscription],
    until_ms: int | None = None,
    before: Timeline | None = None,
    common: CommonTerms | None = None,
) -> Timeline:
    """Return the timeline of a subscription under all definitions, or those appended up to a time.

    `before`: one under others of them. `common`: terms that subscriptions of a plan share.
    """
    terms = None if common is None or until_ms is not None else common.of(subscription)
    if terms is None:
        terms = subscription_terms(definitions, subscription, until_ms)
    return Timeline(terms) if before is None else before.under(terms)


def subscription_terms(
    definitions: Definitions,
    subscription: Versions[Subscription],
    until_ms: int | None = None,
) -> list[Terms]:
    """Return the terms of a subscription through time, one entry for each change."""
    newest = subscription.at(until_ms)
    if newest is None:
        return []
    customer = definitions.customer_of(newest)
    plan = definitions.plan_through(subscription)
    organization = definitions.organization_versions(newest.organization_id)
    created_ms = subscription.changes[0]
    changes = (
        subscription.changes,
        customer.changes,
        # Shared by many, and often changed otherwise.
        plan.changes_of(_plan_shape),
        definitions.settings.changes_of(_settings_shape),
        organization.changes_of(_organization_shape),
    )
    moments = {created_ms}
    for each in changes:
        # Nothing changed since, as for most.
        if each and each[-1] > created_ms:
            later = (at_ms for at_ms in each if at_ms > created_ms)
            moments.update(at_ms for at_ms in later if until_ms is None or at_ms <= until_ms)
    terms: list[Terms] = []
    for at_ms in sorted(moments):
        entry = _terms_at(at_ms, subscription, customer, plan, organization, definitions)
        if entry is not None and newest.superseded_at_ms is not None:
            # From the first moment on: only what is never published is taken from it.
            superseded = replace(entry.subscription, superseded_at_ms=newest.superseded_at_ms)
            entry = entry._replace(subscription=superseded)
        if entry is not None and (not terms or entry[1:] != terms[-1][1:]):
            terms.append(entry)
    return terms


def _plan_shape(plan: Plan) -> object:
    """Return the parts of a plan that `Terms` depend on."""
    return plan.interval, bool(plan.bill_charges_monthly)


def _organization_shape(organization: Organization) -> object:
    """Return the parts of an organization that `Terms` depend on."""
    return organization.timezone, organization.grace_days


def _settings_shape(settings: SettingsRecord) -> object:
    """Return the parts of the settings that `Terms` depend on."""
    return (
        settings.grace_s,
        settings.close_grid_s,
        settings.late_window_s,
        settings.close_elapsed,
        settings.late_policy,
        settings.revise_every_s,
        settings.max_groups,
        settings.fold_version,
    )


_grid = lru_cache(1_024)(PeriodGrid)
# A subscription nearly always keeps the same grid through time.


def _terms_at(
    at_ms: int,
    subscriptions: Versions[Subscription],
    customers: Versions[Customer],
    plans: Versions[Plan],
    organizations: Versions[Organization],
    definitions: Definitions,
) -> Terms | None:
    # A deleted plan as it last was: periods that ran under it still close.
    subscription, plan = subscriptions.at(at_ms), plans.last_before_deletion(at_ms)
    if subscription is None or plan is None:
        return None
    customer, settings = customers.at(at_ms), definitions.settings_at(at_ms)
    return _terms(at_ms, subscription, customer, plan, organizations.at(at_ms), settings)


def _terms(
    at_ms: int,
    subscription: Subscription,
    customer: Customer | None,
    plan: Plan,
    organization: Organization | None,
    settings: SettingsRecord,
) -> Terms:
    timezone = customer.timezone if customer else None
    if timezone is None:
        timezone = organization.timezone if organization else DEFAULT_TIMEZONE
    grace_days = customer.grace_days if customer else None
    if grace_days is None and organization is not None:
        grace_days = organization.grace_days
    grid = _grid(
        plan.interval,
        subscription.billing_time,
        # Of a calendar all have the same periods, whenever they began: they share its grid.
        subscription.subscription_at_ms if subscription.billing_time == "anniversary" else 0,
        timezone,
        bool(plan.bill_charges_monthly),
    )
    return Terms(
        at_ms,
        subscription,
        grid,
        grace_ms=(settings.grace_s if grace_days is None else grace_days * _DAY_S) * 1000,
        close_grid_ms=settings.close_grid_s * 1000,
        late_window_ms=settings.late_window_s * 1000,
        close_elapsed=settings.close_elapsed,
        refuses_late=settings.late_policy == "refuse",
        revise_every_ms=settings.revise_every_s * 1000,
        max_groups=settings.max_groups,
        fold_version=settings.fold_version,
    )
