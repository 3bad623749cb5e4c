"""Which spans a subscription's events of a code reach."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from app.bounds.at_hand import keep
from app.definitions.alike_terms import Terms
from app.definitions.copies import alike
from app.definitions.input_limits import InputLimits
from app.definitions.kept_parts import are_spelled_alike, spelled
from app.definitions.model import Charge, HistoryRecord, Metric, Plan, Subscription
from app.definitions.periods import NEVER_MS, Period
from app.definitions.state import Definitions
from app.definitions.terms import Shared
from app.definitions.timeline import Timeline
from app.definitions.versions import Versions
from app.wire.arrivals import SubscriptionKey
from tables.breakdown_fold import BreakdownFold, breakdown_id
from tables.cells.keys import SpanKey
from tables.charge import ChargeFold
from tables.daily_fold import DailyBreakdownFold, DailyFold, daily_breakdown_id, daily_id
from tables.entries_fold import EntriesFold, buckets_with_entries, entries_id
from tables.routing.period_charges import Covering, PeriodCharges, charges_in_force

_F = TypeVar("_F", bound=ChargeFold)


class SpanPlan(NamedTuple):
    """A span to be: which charge folds how from which period on, until which."""

    key: SpanKey
    fold: ChargeFold
    timeline: Timeline
    end_ms: int


class Run(NamedTuple):
    """Consecutive periods of whoever has a plan in which a charge, by name, folds alike."""

    charge_id: str
    fold: ChargeFold
    start_ms: int
    end_ms: int


class Under(NamedTuple):
    """What spans are planned under."""

    until_ms: int | None = None
    """Definitions appended until then; None: all."""
    history: Sequence[HistoryRecord] = ()
    """History records of the organization that are in force, in order."""


NOW = Under()


def plan_spans(
    definitions: Definitions,
    subscription: Versions[Subscription],
    timeline: Timeline,
    code: str,
    folds: ChargeFolds,
    under: Under = NOW,
    share: Callable[[SubscriptionKey], Shared | None] | None = None,
) -> list[SpanPlan]:
    """Return runs of periods of one subscription in which a charge of the metric code folds alike.

    A charge that is presented by keys has runs of its second fold beside its own, and one with
    daily records runs of its folds by days.
    `share`: returns by the name what it shares with others; None: it does not, or not all
    definitions hold.
    """
    until_ms, history = under
    planned: list[SpanPlan] = []
    newest = subscription.at(until_ms)
    if newest is None:
        return []
    steady = None if history or until_ms is not None else timeline.lasting or timeline.steady
    if steady is not None:
        # As for most subscriptions: nothing changed since they began, or only when they end.
        identity, start_ms = newest.id, newest.started_at_ms
        for each, fold in folds.steady(definitions, newest.plan_id, steady, code, timeline):
            key = _new(SpanKey, (identity, each, start_ms))
            planned.append(_new(SpanPlan, (key, fold, timeline, NEVER_MS)))
        if planned:
            return planned
    plan = definitions.plan_through(subscription)
    charges = folds.of_code(definitions, newest.plan_id, plan, code, until_ms, history)
    shared = None if share is None else share((newest.organization_id, newest.external_id))
    runs = None if shared is None else charges.runs_as_others(shared)
    for charge_id, fold, start_ms, end_ms in charges.runs_kept(timeline) if runs is None else runs:
        planned.append(SpanPlan(SpanKey(newest.id, charge_id, start_ms), fold, timeline, end_ms))
    return planned


def _is_like_all_later(period: Period, made_ms: int, alike_from_ms: int, turned_ms: int) -> bool:
    """Return whether no period after one has other folds, until its timezone changes.

    No change known today comes before a later one then. It may be fixed before this one, but not
    before it begins, or was made.
    """
    known_ms = max(period.end_ms, made_ms)
    return turned_ms <= period.start_ms and period.fixed_at_ms >= alike_from_ms <= known_ms


# Plain __new__: the generated one costs three times as much, for every route.
_new = tuple.__new__


class PlanCharges:
    """What definitions say of all charges of a plan, put together once for all of its codes."""

    def __init__(self, definitions: Definitions, plan: Versions[Plan]):
        self.definitions = definitions
        self.plan = plan
        self.changes_ms = changes_ms(definitions, plan)
        self._by_code: dict[int, dict[str, list[tuple[Charge, Metric]]]] = {}
        """By moment, the charges in force by the code of their metric."""

    def in_force(self, code: str, at_ms: int) -> list[tuple[Charge, Metric]]:
        """Return charges with a metric of a code as of a moment, in plan order."""
        by_code = self._by_code.get(at_ms)
        if by_code is None:
            by_code = keep(self._by_code, at_ms, {}, MOST_MOMENTS)
            for charge, metric in charges_in_force(self.definitions, self.plan, None, at_ms):
                by_code.setdefault(metric.code, []).append((charge, metric))
        return by_code.get(code, [])


class CodeCharges:
    """What definitions say of the charges of one code in a plan, alike for all who have it."""

    def __init__(
        self,
        plan: PlanCharges,
        code: str,
        folds: ChargeFolds,
        until_ms: int | None,
        history: Sequence[HistoryRecord],
    ):
        """Take all definitions, or those appended up to a time."""
        definitions = plan.definitions
        self._plan = plan
        self._code = code
        self._compiled = folds
        self._covering = Covering(history)
        self._limits = definitions.settings.input_limits(until_ms)
        self._presents = definitions.settings_at(until_ms).fold_version > 1
        self._daily_ms = definitions.settings.daily_ms(until_ms)
        known_ms = plan.changes_ms
        self._changes_ms = [each for each in known_ms if until_ms is None or each <= until_ms]
        turns_ms = [at_ms for each in self._daily_ms for at_ms in each if at_ms < NEVER_MS]
        for each in history:
            # It covers only what was due before it.
            at_ms = each.append_time_ms
            turns_ms += min(each.from_ms, at_ms), min(each.to_ms, at_ms), at_ms
        self._turns_ms = sorted(turns_ms)
        """When daily records and what history covers begin and end."""
        self.turned_ms = max(turns_ms, default=-1)
        """Periods that begin before it may be alike in all else and have other folds."""
        self.alike_from_ms = self._changes_ms[-1] if self._changes_ms else 0
        """Periods that are fixed at or after it have the same charges."""
        self._made: dict[tuple[int, str, bool, tuple[int, ...]], dict[str, ChargeFold]] = {}
        """By version, timezone, whether days are told, and the history records that cover it."""
        self._of_shared: dict[int, tuple[Timeline, tuple[Run, ...]]] = {}
        """By identity of a timeline that many share, that and its runs."""

    def runs_kept(self, timeline: Timeline) -> Sequence[Run]:
        """Return the runs of a timeline; of one that ends they are kept with it."""
        return timeline.kept(self._code, self, partial(self.runs, timeline))

    def runs(self, timeline: Timeline) -> list[Run]:
        """Return the runs of the periods of a timeline, those that ended first."""
        planned: list[Run] = []
        terms = timeline.terms
        made_ms, since_ms = (terms[0].since_ms, terms[-1].since_ms) if terms else (-1, -1)
        alike = made_ms, max(self.alike_from_ms, since_ms), self.turned_ms
        running: dict[str, Run] = {}
        before: dict[str, ChargeFold] | None = None
        for period in timeline.parting(self.alike_until_ms):
            folding = self.folds_in(period)
            # As in the period before: that is so for years, and for hundreds of charges.
            if folding is not before:
                before, start_ms = folding, period.start_ms
                if running:
                    gone = [each for each in running if each not in folding]
                    planned += [running.pop(each)._replace(end_ms=start_ms) for each in gone]
                for charge_id, fold in folding.items():
                    earlier = running.get(charge_id)
                    if earlier is not None and earlier.fold.key == fold.key:
                        continue
                    if earlier is not None:
                        planned.append(earlier._replace(end_ms=start_ms))
                    running[charge_id] = Run(charge_id, fold, start_ms, NEVER_MS)
            if _is_like_all_later(period, *alike):
                break
        return [*planned, *running.values()]

    def runs_as_others(self, shared: Shared) -> list[Run] | None:
        """Return the runs of one by those that it shares; None: they may be others.

        Those are put together once. Its first period has a start of its own.
        """
        whole, first = shared.timeline.holding(shared.started_ms), shared.holding(shared.started_ms)
        if whole is None or first is None:
            return None
        folding = self.folds_in(first)
        if folding is not self.folds_in(whole):
            return None
        runs: list[Run] = []
        for run in self._shared_runs(shared.timeline):
            if run.start_ms <= whole.start_ms < run.end_ms:
                own = folding[run.charge_id]
                runs.append(Run(run.charge_id, own, first.start_ms, run.end_ms))
            elif run.start_ms > whole.start_ms:
                runs.append(run)
        return runs

    def _shared_runs(self, timeline: Timeline) -> Sequence[Run]:
        """Return the runs of a timeline that many share, put together once."""
        known = self._of_shared.get(id(timeline))
        if known is None:
            # As long as the timeline is kept, no other object has its id.
            made = timeline, tuple(self.runs(timeline))
            known = keep(self._of_shared, id(timeline), made, MOST_SHARED)
        return known[1]

    def alike_until_ms(self, period: Period) -> int:
        """Return when the first of those after a period is fixed that may have other folds.

        As far as they stand under the same terms.
        """
        fixed_ms, turns_ms = period.fixed_at_ms, self._turns_ms
        turned = bisect_right(turns_ms, fixed_ms)
        if turns_ms and (
            turned > bisect_right(turns_ms, period.start_ms) or period.due_at_ms >= NEVER_MS
        ):
            return fixed_ms
        changed = bisect_right(self._changes_ms, fixed_ms)
        following = *self._changes_ms[changed : changed + 1], *turns_ms[turned : turned + 1]
        return min(following, default=NEVER_MS)

    def folds_in(self, period: Period) -> dict[str, ChargeFold]:
        """Return the folds of a period by name, under its definitions or what history says.

        The same object for periods that are alike in these.
        """
        by_day = False
        if self._daily_ms:
            spells = self._daily_ms
            by_day = any(on < period.end_ms and period.start_ms < off for on, off in spells)
        version = bisect_right(self._changes_ms, period.fixed_at_ms)
        covered = self._covering.of(period)
        name = (version, period.timezone, by_day, tuple([record.offset for record in covered]))
        folding = self._made.get(name)
        if folding is None:
            in_force = self._in_force(version, period, covered)
            folding = self._made[name] = self._folding(in_force, period.timezone, by_day)
        return folding

    def _in_force(
        self, version: int, period: Period, covered: Sequence[HistoryRecord]
    ) -> list[tuple[Charge, Metric]]:
        """Return the charges of a period by its own definitions, or as history has it."""
        if covered:
            plan = self._plan
            charges = PeriodCharges(plan.definitions, plan.plan, period, covered).in_force
            return [(c, m) for c, m, *_ in charges if m.code == self._code]
        as_of_ms = self._changes_ms[version - 1] if version else -1
        return self._plan.in_force(self._code, as_of_ms)

    def _folding(
        self, in_force: list[tuple[Charge, Metric]], timezone: str, by_day: bool
    ) -> dict[str, ChargeFold]:
        folds, limits = self._compiled, self._limits
        folding: dict[str, ChargeFold] = {
            c.id: folds.fold_of(c, m, timezone, limits) for c, m in in_force
        }
        if self._presents:
            folding |= {
                breakdown_id(c.id): folds.beside(BreakdownFold, c, m, timezone, limits)
                for c, m in in_force
                if c.presents
            }
            folding |= {
                entries_id(c.id): folds.beside(EntriesFold, c, m, timezone, limits)
                for c, m in in_force
                if buckets_with_entries(c, m)
            }
        for c, m in in_force if by_day else ():
            folding[daily_id(c.id)] = folds.beside(DailyFold, c, m, timezone, limits)
            if self._presents and c.presents:
                rows = folds.beside(DailyBreakdownFold, c, m, timezone, limits)
                folding[daily_breakdown_id(c.id)] = rows
        return folding


def changes_ms(definitions: Definitions, plan: Versions[Plan]) -> list[int]:
    """Append times at which the charges of a plan, or their metrics, changed."""
    moments = set(plan.changes)
    # Prices leave the metrics as they are.
    for version in plan.kept_whole():
        for charge in alike(version.charges):
            moments.update(definitions.metric_versions[charge.metric_id].changes)
    return sorted(moments)


MOST_SHARED = 256
"""Most timelines that many share whose runs are remembered of one code of a plan."""
MOST_CODES = 1_024
"""Most codes of plans that are remembered."""
MOST_PLANS = 64
"""Most plans whose charges are remembered by code."""
MOST_MOMENTS = 64
"""Most moments at which they are."""


class ChargeFolds:
    """Compiled charges, shared by all subscriptions of a plan."""

    def __init__(self) -> None:
        self._folds: dict[tuple[int, int, str, InputLimits], list[ChargeFold]] = {}
        self._beside: dict[tuple[type[ChargeFold], ChargeFold], Any] = {}
        """What folds a charge in another way, by that way and its compiled fold."""
        self._codes: dict[tuple[str, str, int | None, int, int], CodeCharges] = {}
        """By plan id, code, time, versions of the plan and history records, under `_under`."""
        self._plans: dict[tuple[str, int], PlanCharges] = {}
        """By plan id and versions of the plan, under `_under`."""
        self._steady: dict[
            tuple[str, str, str], tuple[int, int, int, tuple[tuple[str, ChargeFold], ...]]
        ] = {}
        """By plan id, code and timezone, what `steady` knows under so many definitions."""
        self._under = (-1, -1)
        """Changes of metrics, and of settings."""

    def of_code(
        self,
        definitions: Definitions,
        plan_id: str,
        plan: Versions[Plan],
        code: str,
        until_ms: int | None,
        history: Sequence[HistoryRecord],
    ) -> CodeCharges:
        """Return the charges of a code in a plan, put together once for all who have the plan."""
        if definitions.plan_versions[plan_id] is not plan:
            # A plan that was changed for another is its subscriber's.
            return CodeCharges(PlanCharges(definitions, plan), code, self, until_ms, history)
        # What else is defined, such as subscriptions, decides nothing here.
        under = (definitions.metric_index.changed, len(definitions.settings.changes))
        if self._under != under or len(self._codes) >= MOST_CODES:
            self._codes.clear()
            self._plans.clear()
            self._under = under
        # Of the history of an organization the first records are in force, however many.
        name = (plan_id, code, until_ms, len(plan.changes), len(history))
        charges = self._codes.get(name)
        if charges is None:
            whole = self._plan_charges(definitions, plan_id, plan)
            charges = self._codes[name] = CodeCharges(whole, code, self, until_ms, history)
        return charges

    def _plan_charges(
        self, definitions: Definitions, plan_id: str, plan: Versions[Plan]
    ) -> PlanCharges:
        """Return the charges of a plan, put together once for its codes, which come together."""
        name = (plan_id, len(plan.changes))
        known = self._plans.get(name)
        if known is None:
            known = keep(self._plans, name, PlanCharges(definitions, plan), MOST_PLANS)
        return known

    def steady(
        self, definitions: Definitions, plan_id: str, terms: Terms, code: str, timeline: Timeline
    ) -> Sequence[tuple[str, ChargeFold]]:
        """Return the folds by name that all periods of a timeline have; none: it is unknown.

        `terms`: what `Timeline.steady` returns of it.
        """
        name, offset = (plan_id, code, terms.grid.timezone), definitions.offset
        known = self._steady.get(name)
        if known is None or known[0] != offset:
            plan = definitions.plan_versions[plan_id]
            charges = self.of_code(definitions, plan_id, plan, code, None, ())
            since_ms = charges.alike_from_ms, charges.turned_ms
            first = timeline.first
            if first is None or not _is_like_all_later(first, terms.since_ms, *since_ms):
                return ()
            made = offset, *since_ms, tuple(charges.folds_in(first).items())
            known = keep(self._steady, name, made, MOST_CODES)
        _, alike_from_ms, turned_ms, folding = known
        made_ms = terms.since_ms
        if alike_from_ms <= made_ms and turned_ms <= terms.subscription.started_at_ms:
            # No period is fixed before it was made: its first one need not be.
            return folding
        first = timeline.first
        is_like = first is not None and _is_like_all_later(first, made_ms, alike_from_ms, turned_ms)
        return folding if is_like else ()

    def fold_of(
        self, charge: Charge, metric: Metric, timezone: str, limits: InputLimits
    ) -> ChargeFold:
        """Return the compiled charge, made once for all that are spelled alike.

        Charges of child plans, and of earlier versions, are made anew for whoever looks at them.
        """
        name = (hash(spelled(charge)), id(metric), timezone if charge.prorated else "", limits)
        folds = self._folds.setdefault(name, [])
        for fold in folds:
            if fold.charge is charge or are_spelled_alike(fold.charge, charge):
                return fold
        folds.append(ChargeFold(charge, metric, timezone, limits))
        return folds[-1]

    def beside(
        self, way: type[_F], charge: Charge, metric: Metric, timezone: str, limits: InputLimits
    ) -> _F:
        """Return what folds a charge in another way beside its compiled fold, made once."""
        name = way, self.fold_of(charge, metric, timezone, limits)
        beside: _F | None = self._beside.get(name)
        if beside is None:
            beside = self._beside[name] = way(charge, metric, timezone, limits)
        return beside
