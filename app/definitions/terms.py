"""The terms of a subscription's periods: what all definitions say of them, through time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from msgspec.structs import replace

from app.billing_periods.grid import BillingTime, Interval, PeriodGrid
from app.billing_periods.timezones import local_date, local_midnight_ms
from app.bounds.at_hand import keep
from app.definitions.alike_terms import FEW, AlikeTerms, Changes, Terms, Told, moves
from app.definitions.indexes.forms import PlainLife
from app.definitions.indexes.index import CodeKey
from app.definitions.indexes.organizations import NOTHING_OF_ITS_OWN, OwnTerms
from app.definitions.model import (
    DEFAULT_TIMEZONE,
    Organization,
    Plan,
    SettingsRecord,
    Subscription,
)
from app.definitions.periods import NEVER_MS, TIMEZONE_SHIFT_MS, Due, Period
from app.definitions.state import Definitions
from app.definitions.timeline import Timeline, ever_under
from app.definitions.versions import Versions

_DAY_S = 86_400
_MOST_SHARED = 1_024
"""How many timelines that others share are at hand, of all plans."""

# Plain __new__: the generated one costs three times as much, for each change of the terms.
_new = tuple.__new__

_Cycle: TypeAlias = tuple[Interval, bool, str]
"""Interval, whether it is billed by months, and timezone."""


class Shared(NamedTuple):
    """A timeline of one that ever ran under the terms of another."""

    timeline: Timeline
    since_ms: int
    """Periods of it that begin at or after it are periods of the other."""
    began_ms: int
    """When the other was made or began, whichever came last."""
    started_ms: int
    shift_ms: int
    """Two readings of one start in its timezones differ by less."""

    def next_due(self, done_ms: int) -> int | None:
        """Return when a period of the other is due first after a cut; None: ask its own."""
        # Of one with periods that were over when it was made none tells.
        due = self.timeline.next_due(max(done_ms, self.began_ms))
        if not due.periods:
            return None
        first, _ = due.periods[0]
        # Whatever the other had before ends where this begins, at the latest, and was due.
        tells = self.since_ms <= first.start_ms or self._first_of(first) is not None
        return due.at_ms if tells else None

    def due_after(self, done_ms: int) -> Due | None:
        """Return what of the other is due first after a cut; None: ask its own timeline."""
        due = self.timeline.next_due(done_ms)
        if self.since_ms <= due.shared_ms:
            return due
        if len(due.periods) != 1:
            return None
        ((period, earlier),) = due.periods
        pair: tuple[Period, Period | None] | None = None
        if period.start_ms < self.since_ms:
            opening = self._first_of(period)
            pair = None if opening is None else (opening, None)
        elif earlier is not None:
            opening = self._first_of(earlier)
            pair = None if opening is None else (period, opening)
        return None if pair is None else Due(due.done_ms, due.at_ms, (pair,), -NEVER_MS)

    def holding(self, at_ms: int) -> Period | None:
        """Return the period of the other that holds an instant; None: ask its own timeline."""
        period = self.timeline.holding(at_ms)
        if period is None or self.since_ms <= period.start_ms:
            return period
        return self._first_of(period)

    def begin_ms(self, start_ms: int) -> int | None:
        """Return where what begins with a period of one that ever ran begins of the other.

        None: it may begin with the first period or with the second.
        """
        if self.since_ms <= start_ms:
            return start_ms
        return self.started_ms if start_ms <= self.started_ms else None

    def _first_of(self, period: Period) -> Period | None:
        """Return the other's first period, if it ends with this one; None: it may not.

        It begins so late that no reading of the time parts the two, and was made before it ended.
        """
        if period.start_ms + self.shift_ms <= self.started_ms <= self.began_ms < period.end_ms:
            return period._replace(start_ms=self.started_ms)
        return None


class _Common:
    """What definitions say of all who have a plan, through time, and how many they are."""

    def __init__(
        self,
        number: int,
        told: tuple[int, int, int],
        since_ms: list[int],
        parts: list[tuple[Plan | None, Organization | None, SettingsRecord]],
    ):
        self.number = number
        """Another one for each that is found."""
        self.told = told
        self.since_ms = since_ms
        """Append times at which any of it changed, in order."""
        self.parts = parts
        """What holds from each of them on."""
        self.offset = -1
        """Offset of the definitions until which it is known to hold."""
        self._cycles: dict[tuple[int, str | None], tuple[_Cycle, ...]] = {}
        self._told: dict[tuple[object, ...], Told | None] = {}
        """Terms of those who are alike."""

    def cycles(self, begun: int, timezone: str | None) -> tuple[_Cycle, ...]:
        """Return every interval in every timezone that those made then have had, in order."""
        cycles = self._cycles.get((begun, timezone))
        if cycles is None:
            found = dict[_Cycle, None]()
            for plan, organization, _ in self.parts[begun - 1 :]:
                if plan is not None:
                    told = plan.interval, bool(plan.bill_charges_monthly)
                    found[*told, timezone or _timezone_of(organization)] = None
            cycles = self._cycles[begun, timezone] = tuple(found)
        return cycles

    def terms_of(
        self, versions: Versions[Subscription], one: Subscription, own: OwnTerms
    ) -> Sequence[Terms] | None:
        """Return the terms of `one`, of which only its end ever changed; None: unknown."""
        changes = versions.changes
        created_ms = changes[0]
        begun = bisect_right(self.since_ms, created_ms)
        if not begun:
            return None
        alike = self.alike(begun, one.billing_time, one.subscription_at_ms, own)
        if alike not in self._told:
            keep(self._told, alike, self._terms_since(begun, one, own), _MOST_SHARED)
        if (told := self._told[alike]) is None:
            return None
        if changes[-1] > created_ms:
            (_, first), *later = told.changes
            return _joined(versions, [(created_ms, first), *later])
        if len(told.changes) > FEW:
            return AlikeTerms(created_ms, one, told)
        return [_new(Terms, (max(at_ms, created_ms), one, *each)) for at_ms, each in told.changes]

    def alike(
        self, begun: int, billing_time: BillingTime, anchor_ms: int, own: OwnTerms
    ) -> tuple[object, ...]:
        """Return what those have in common whose terms are alike from some on, but for themselves.

        Anniversaries are alike where they fall on the same days, in every timezone that they were
        told in.
        """
        if billing_time == "calendar":
            return begun, own
        grids = [_grid_from(anchor_ms, *cycle) for cycle in self.cycles(begun, own[0])]
        return begun, own, *grids

    def _terms_since(self, begun: int, one: Subscription, own: OwnTerms) -> Told | None:
        """Return each change of the terms."""
        told: list[tuple[int, tuple[Any, ...]]] = []
        for at_ms, (plan, organization, settings) in zip(
            self.since_ms[begun - 1 :], self.parts[begun - 1 :], strict=True
        ):
            if plan is None:
                return None
            entry = _terms(at_ms, one, own, plan, organization, settings)[2:]
            if not told or entry != told[-1][1]:
                told.append((at_ms, entry))
        return Told(told)


def _joined(versions: Versions[Subscription], told: Changes) -> list[Terms]:
    """Return terms that change with a subscription, or with what is told since append times."""
    since, entry, whole = dict(told), told[0][1], list[Terms]()
    for at_ms in sorted({*since, *versions.changes}):
        entry = since.get(at_ms, entry)
        terms = _new(Terms, (at_ms, versions.at(at_ms), *entry))
        if not whole or terms[1:] != whole[-1][1:]:
            whole.append(terms)
    return whole


def _only_ended(versions: Versions[Subscription]) -> Subscription | None:
    """Return the newest version of one of which only its end ever changed; None: more did."""
    newest, owned = versions.at(), set(map(_owned_as, versions.all()))
    # What a later one has taken over was never its own (`subscription_terms`).
    is_same = newest is not None and newest.superseded_at_ms is None and len(owned) == 1
    return newest if is_same else None


_owned_as = attrgetter("plan_id", "external_customer_id", "billing_time", "subscription_at_ms")


class CommonTerms:
    """What of the terms is alike for all who have a plan; it is found once until it changes."""

    def __init__(self, definitions: Definitions):
        self._definitions = definitions
        self._known: dict[str, _Common] = {}
        """By plan id."""
        self._shared: dict[tuple[object, ...], tuple[Timeline, int]] = {}
        """What those who are alike share, as if they had ever run, and `Shared.shift_ms`."""
        self._numbers = count()
        self._asked: tuple[CodeKey, int, Shared | None] | None = None
        """The name asked for last, under which definitions, and what it was told."""

    def of(self, subscription: Versions[Subscription]) -> Sequence[Terms] | None:
        """Return the terms of a subscription through time; None: they may be others.

        As for most, nothing of its own changed since it was made, or nothing but its end.
        """
        one = subscription.only() or _only_ended(subscription)
        if one is None:
            return None
        # A customer is there before its subscriptions.
        customer = (one.organization_id, one.external_customer_id)
        own = self._definitions.customer_index.own_terms(customer)
        if own is None:
            return None
        common = self._common_of(one.organization_id, one.plan_id)
        return common.terms_of(subscription, one, own)

    def shared(self, name: CodeKey, life: PlainLife | None = None) -> Shared | None:
        """Return a timeline that tells of an external id once it runs for a while; None: none does.

        One tells for all who have a plan and are alike: for them none is made.
        `life`: what is known of it; None: it is looked up.
        """
        asked, offset = self._asked, self._definitions.offset
        if asked is None or asked[0] != name or asked[1] != offset:
            # Who closes it asks twice.
            asked = self._asked = name, offset, self._found(name, life)
        return asked[2]

    def _found(self, name: CodeKey, life: PlainLife | None) -> Shared | None:
        definitions = self._definitions
        life = life or definitions.subscription_index.by_external_id.life(name)
        if life is None:
            return None
        own = definitions.customer_index.own_terms((name[0], life.customer_id))
        if own is None:
            return None
        common = self._common_of(life.organization_id, life.plan_id)
        begun = bisect_right(common.since_ms, life.created_ms)
        alike = common.number, common.alike(begun, life.billing_time, life.anchor_ms, own)
        found = self._shared.get(alike)
        if found is None:
            (versions,) = definitions.subscriptions(*name)
            terms = self.of(versions)
            if terms is None:
                return None
            is_moved = moves(each.grid for each in terms)
            found = ever_under(terms), TIMEZONE_SHIFT_MS if is_moved else 0
            keep(self._shared, alike, found, _MOST_SHARED)
        timeline, shift_ms = found
        created_ms, started_ms = life.created_ms, life.started_ms
        began_ms = max(created_ms, started_ms)
        return _new(
            Shared, (timeline, began_ms + TIMEZONE_SHIFT_MS, began_ms, started_ms, shift_ms)
        )

    def next_due(self, name: CodeKey, done_ms: int) -> int | None:
        """Return when a period of an external id is due first after a cut; None: ask its own."""
        shared = self.shared(name)
        return None if shared is None else shared.next_due(done_ms)

    def _common_of(self, organization_id: str, plan_id: str) -> _Common:
        definitions = self._definitions
        known = self._known.get(plan_id)
        if known is not None and known.offset == definitions.offset:
            return known
        plan = definitions.plan_versions[plan_id]
        settings = definitions.settings
        organization = definitions.organization_versions(organization_id)
        told = len(plan.changes), len(settings.changes), len(organization.changes)
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
            number = next(self._numbers)
            known = self._known[plan_id] = _Common(number, told, sorted(times_ms), parts)
        known.offset = definitions.offset
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
        # A deleted plan as it last was: periods that ran under it still close.
        one, its_plan = subscription.at(at_ms), plan.last_before_deletion(at_ms)
        if one is None or its_plan is None:
            continue
        if newest.superseded_at_ms is not None:
            # From the first moment on: only what is never published is taken from it.
            one = replace(one, superseded_at_ms=newest.superseded_at_ms)
        owner, settings = customer.at(at_ms), definitions.settings_at(at_ms)
        own = NOTHING_OF_ITS_OWN if owner is None else (owner.timezone, owner.grace_days)
        entry = _terms(at_ms, one, own, its_plan, organization.at(at_ms), settings)
        if not terms or entry[1:] != terms[-1][1:]:
            terms.append(entry)
    return terms


def longest_waits_ms(definitions: Definitions, name: CodeKey) -> tuple[int, int]:
    """Return how long after its end a period of an external id with many is due and final.

    At the most, under any terms that ever held: none of the last ones may hold for it.
    """
    settings = [definitions.settings_at(-1), *definitions.settings.all()]
    customers = definitions.subscription_index.customers_of.get(name, ())
    graces_s = [each.grace_s for each in settings]
    for owner in customers:
        told = definitions.customer_versions[name[0], owner].all()
        graces_s += [(each.grace_days or 0) * _DAY_S for each in told]
    for said in definitions.organization_versions(name[0]).all():
        graces_s.append((said.grace_days or 0) * _DAY_S)
    # Each of them may come into force just before it would be due under those before.
    grids_s = sum(each.close_grid_s for each in settings)
    due_s = max(graces_s) + grids_s
    final_s = max(each.late_window_s + each.revise_every_s for each in settings)
    return due_s * 1000, (due_s + final_s) * 1000


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
        settings.end_rules,
    )


@lru_cache(1_024)
def _calendar(interval: Interval, monthly: bool, timezone: str) -> PeriodGrid:
    """Return the grid of a calendar: all have the same periods, whenever they began."""
    return PeriodGrid(interval, "calendar", 0, timezone, monthly)


def _grid_from(anchor_ms: int, interval: Interval, monthly: bool, timezone: str) -> PeriodGrid:
    """Return the grid of an anniversary, which others share that have the same periods."""
    return _anniversary(interval, monthly, timezone, local_date(anchor_ms, timezone))


@lru_cache(16_384)
def _anniversary(interval: Interval, monthly: bool, timezone: str, anchor: date) -> PeriodGrid:
    at_ms = local_midnight_ms(anchor, timezone)
    return _kept(PeriodGrid(interval, "anniversary", at_ms, timezone, monthly).shared())


@lru_cache(16_384)
def _kept(grid: PeriodGrid) -> PeriodGrid:
    """Return the one kept copy of a grid."""
    return grid


def _timezone_of(organization: Organization | None) -> str:
    """Return the timezone of customers that have none of their own."""
    return organization.timezone if organization else DEFAULT_TIMEZONE


def _terms(
    at_ms: int,
    subscription: Subscription,
    own: OwnTerms,
    plan: Plan,
    organization: Organization | None,
    settings: SettingsRecord,
) -> Terms:
    timezone, grace_days = own
    if timezone is None:
        timezone = _timezone_of(organization)
    if grace_days is None and organization is not None:
        grace_days = organization.grace_days
    cycle = plan.interval, bool(plan.bill_charges_monthly), timezone
    is_calendar = subscription.billing_time == "calendar"
    anchor_ms = subscription.subscription_at_ms
    grid = _calendar(*cycle) if is_calendar else _grid_from(anchor_ms, *cycle)
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
        end_rules=settings.end_rules,
    )
