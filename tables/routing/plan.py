"""Which spans a subscription's events of a code reach."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.definitions.model import Charge, HistoryRecord, Metric, Plan, Subscription
from app.definitions.state import Definitions
from app.definitions.timeline import NEVER_MS, Period, Timeline
from app.definitions.versions import Versions
from tables.breakdown_fold import BreakdownFold, breakdown_id
from tables.cells.keys import SpanKey
from tables.charge import ChargeFold
from tables.daily_fold import DailyBreakdownFold, DailyFold, daily_breakdown_id, daily_id
from tables.entries_fold import EntriesFold, buckets_with_entries, entries_id
from tables.lifetime_fold import LifetimeFold
from tables.routing.period_charges import PeriodCharges, charges_in_force, covering


class SpanPlan(NamedTuple):
    """A span to be: which charge folds how from which period on, until which."""

    key: SpanKey
    fold: ChargeFold
    timeline: Timeline
    end_ms: int


def plan_spans(
    definitions: Definitions,
    subscription: Versions[Subscription],
    timeline: Timeline,
    code: str,
    folds: ChargeFolds,
    until_ms: int | None = None,
    history: Sequence[HistoryRecord] = (),
) -> list[SpanPlan]:
    """Return runs of periods of one subscription in which a charge of the metric code folds alike.

    A charge that is presented by keys has runs of its second fold beside its own, and one with
    daily records runs of its folds by days.
    `history`: history records of the organization that are in force, in order.
    """
    newest = subscription.at(until_ms)
    if newest is None:
        return []
    plan = definitions.plan_of(newest.id)
    limited_after_ms = definitions.limited_after_ms(until_ms)
    presents = definitions.settings_at(until_ms).fold_version > 1
    daily_ms = definitions.settings.daily_ms(until_ms)
    changes_ms = [
        at_ms for at_ms in _changes_ms(definitions, plan) if until_ms is None or at_ms <= until_ms
    ]
    running: dict[str, SpanPlan] = {}
    planned: list[SpanPlan] = []
    before_in_force: list[tuple[Charge, Metric]] | None = None
    before: tuple[str, bool] = ("", False)
    for period, in_force in _charges_by_period(
        definitions, plan, timeline, code, changes_ms, history, daily_ms
    ):
        by_day = any(on < period.end_ms and period.start_ms < off for on, off in daily_ms)
        if in_force is before_in_force and (period.timezone, by_day) == before:
            # As in the period before: that is so for years, and for hundreds of charges.
            continue
        before_in_force, before = in_force, (period.timezone, by_day)
        folding = {
            c.id: folds.fold_of(c, m, period.timezone, limited_after_ms) for c, m in in_force
        }
        if presents:
            folding |= {
                breakdown_id(c.id): folds.breakdown_of(c, m, period.timezone, limited_after_ms)
                for c, m in in_force
                if c.presents
            }
            folding |= {
                entries_id(c.id): folds.entries_of(c, m, period.timezone, limited_after_ms)
                for c, m in in_force
                if buckets_with_entries(c, m)
            }
        if by_day:
            folding |= folds.daily_of(in_force, period.timezone, limited_after_ms, presents)
        gone = [charge_id for charge_id in running if charge_id not in folding]
        planned += [running.pop(i)._replace(end_ms=period.start_ms) for i in gone]
        for charge_id, fold in folding.items():
            earlier = running.get(charge_id)
            if earlier is not None and earlier.fold.key == fold.key:
                continue
            if earlier is not None:
                planned.append(earlier._replace(end_ms=period.start_ms))
            key = SpanKey(newest.id, charge_id, period.start_ms)
            running[charge_id] = SpanPlan(key, fold, timeline, NEVER_MS)
    return [*planned, *running.values()]


def _changes_ms(definitions: Definitions, plan: Versions[Plan]) -> list[int]:
    """Append times at which the charges of a plan, or their metrics, changed."""
    moments = set(plan.changes)
    for version in plan.all():
        for charge in version.charges:
            moments.update(definitions.metric_versions[charge.metric_id].changes)
    return sorted(moments)


def _charges_by_period(
    definitions: Definitions,
    plan: Versions[Plan],
    timeline: Timeline,
    code: str,
    changes_ms: list[int],
    history: Sequence[HistoryRecord],
    daily_ms: Sequence[tuple[int, int]],
) -> Iterator[tuple[Period, list[tuple[Charge, Metric]]]]:
    """Yield (period, charges of the code under its definitions, or those that history says).

    Stops at the first period that no change known today can come before: the later ones are alike
    until their timezone changes.
    """
    last_change_ms = changes_ms[-1] if changes_ms else 0
    last_terms_ms = timeline.terms[-1].since_ms if timeline.terms else 0
    last_history_ms = history[-1].append_time_ms if history else 0
    last_daily_ms = max(
        (at_ms for each in daily_ms for at_ms in each if at_ms < NEVER_MS), default=0
    )
    seen: tuple[int, list[tuple[Charge, Metric]]] = (-1, [])
    for period in timeline:
        version = bisect_right(changes_ms, period.fixed_at_ms)
        if version != seen[0]:
            as_of_ms = changes_ms[version - 1] if version else -1
            seen = (version, charges_in_force(definitions, plan, code, as_of_ms))
        if covering(history, period):
            charges = PeriodCharges(definitions, plan, period, history).in_force
            yield period, [(c, m) for c, m, *_ in charges if m.code == code]
        else:
            yield period, seen[1]
        # A later period may be fixed before this one, but not before it begins.
        if min(period.fixed_at_ms, period.end_ms) >= max(
            last_change_ms, last_terms_ms, last_history_ms, last_daily_ms
        ):
            break


class ChargeFolds:
    """Compiled charges, shared by all subscriptions of a plan."""

    def __init__(self) -> None:
        self._folds: dict[tuple[int, int, str, int], ChargeFold] = {}
        self._breakdowns: dict[ChargeFold, BreakdownFold] = {}
        self._entries: dict[ChargeFold, EntriesFold] = {}
        self._lifetimes: dict[ChargeFold, LifetimeFold] = {}
        self._daily: dict[ChargeFold, DailyFold] = {}
        self._daily_breakdowns: dict[ChargeFold, DailyBreakdownFold] = {}

    def fold_of(
        self, charge: Charge, metric: Metric, timezone: str, limited_after_ms: int
    ) -> ChargeFold:
        """Return the compiled charge; versions are told apart by identity: they never change."""
        name = (id(charge), id(metric), timezone if charge.prorated else "", limited_after_ms)
        fold = self._folds.get(name)
        if fold is None:
            fold = self._folds[name] = ChargeFold(charge, metric, timezone, limited_after_ms)
        return fold

    def breakdown_of(
        self, charge: Charge, metric: Metric, timezone: str, limited_after_ms: int
    ) -> BreakdownFold:
        """Return the compiled second fold of a charge that is presented by keys."""
        fold = self.fold_of(charge, metric, timezone, limited_after_ms)
        breakdown = self._breakdowns.get(fold)
        if breakdown is None:
            breakdown = BreakdownFold(charge, metric, timezone, limited_after_ms)
            self._breakdowns[fold] = breakdown
        return breakdown

    def entries_of(
        self, charge: Charge, metric: Metric, timezone: str, limited_after_ms: int
    ) -> EntriesFold:
        """Return the compiled fold by entries of a charge whose price asks for single events."""
        fold = self.fold_of(charge, metric, timezone, limited_after_ms)
        entries = self._entries.get(fold)
        if entries is None:
            entries = EntriesFold(charge, metric, timezone, limited_after_ms)
            self._entries[fold] = entries
        return entries

    def lifetime_of(self, charge: Charge, metric: Metric, limited_after_ms: int) -> LifetimeFold:
        """Return the compiled fold of a charge over the life of a subscription."""
        fold = self.fold_of(charge, metric, "", limited_after_ms)
        lifetime = self._lifetimes.get(fold)
        if lifetime is None:
            lifetime = LifetimeFold(charge, metric, limited_after_ms)
            self._lifetimes[fold] = lifetime
        return lifetime

    def daily_of(
        self,
        in_force: Sequence[tuple[Charge, Metric]],
        timezone: str,
        limited_after_ms: int,
        presents: bool,
    ) -> dict[str, ChargeFold]:
        """Return the compiled folds of charges by days, by name; `presents`: by rows as well."""
        found: dict[str, ChargeFold] = {}
        for charge, metric in in_force:
            whole = (charge, metric, timezone, limited_after_ms)
            fold = self.fold_of(*whole)
            daily = self._daily.get(fold)
            if daily is None:
                daily = self._daily[fold] = DailyFold(*whole)
            found[daily_id(charge.id)] = daily
            if presents and charge.presents:
                rows = self._daily_breakdowns.get(fold)
                if rows is None:
                    rows = self._daily_breakdowns[fold] = DailyBreakdownFold(*whole)
                found[daily_breakdown_id(charge.id)] = rows
        return found
