"""Metrics and plans: by id, and by the code that each holds in its organization."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, MutableMapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Generic, TypeVar

from app.bounds.turns import Steps, weighed
from app.definitions.copies import alike, named, with_copies
from app.definitions.indexes.index import CodeKey, Index, newest, push
from app.definitions.model import Metric, Plan
from app.definitions.periods import NEVER_MS
from app.definitions.prices import PlanVersions
from app.definitions.texts import differ_in_texts_only
from app.definitions.versions import Coming, Versions

Coded = TypeVar("Coded", Metric, Plan)


@dataclass
class CodedIndex(Index, Generic[Coded]):
    """Objects that hold a code until they change it or are deleted."""

    versions: MutableMapping[str, Versions[Coded]] = field(default_factory=dict)
    holders: MutableMapping[CodeKey, Versions[str]] = field(default_factory=dict)
    """Id of the object that holds a code, through time."""
    live: MutableMapping[str, dict[str, None]] = field(default_factory=dict)
    """Ids of objects that are not deleted, by organization, in creation order."""
    changed: int = 0
    """How often an object that holds a code was made, changed or deleted."""

    def holder(self, organization_id: str, code: str, at_ms: int | None) -> Coded | None:
        """Return the object that holds a code at a moment, as it is at that moment."""
        holders = self.holders.get((organization_id, code))
        identity = holders.at(at_ms) if holders is not None else None
        return self.versions[identity].at(at_ms) if identity else None

    def listed(self, organization_id: str) -> list[Coded]:
        """Return what is not deleted, newest first by the record that made it."""
        return [newest(self.versions[i]) for i in reversed(self.live.get(organization_id, {}))]

    def _push(self, new: Coded, now_ms: int, offset: int) -> Coded | None:
        """Add a version, which holds its code from now on; return the one before."""
        old = push(self.versions, new.id, now_ms, offset, new)
        if old is None or old.code != new.code:
            if old is not None:
                self.holders[_code_key(old)].push(now_ms, offset, None)
            self.holders.setdefault(_code_key(new), Versions()).push(now_ms, offset, new.id)
        self.live.setdefault(new.organization_id, {})[new.id] = None
        self.changed += 1
        return old

    def _delete(self, gone: Coded, now_ms: int, offset: int) -> None:
        self.versions[gone.id].push(now_ms, offset, None)
        self.holders[_code_key(gone)].push(now_ms, offset, None)
        self.live[gone.organization_id].pop(gone.id, None)
        self.changed += 1


@dataclass
class MetricIndex(CodedIndex[Metric]):
    """Metrics, and what became of their codes."""

    ids_by_code: MutableMapping[CodeKey, dict[str, None]] = field(default_factory=dict)
    """All that ever had the code, in the order in which they took it."""
    codes_of_type: MutableMapping[str, dict[str, None]] = field(default_factory=dict)
    """Every code that a metric of an aggregation type has or had, in any organization."""
    code_deleted_at_ms: MutableMapping[CodeKey, int] = field(default_factory=dict)
    """When a metric of the code was last deleted."""

    def commit(self, metric: Metric, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        self._push(metric, now_ms, offset)
        self.ids_by_code.setdefault(_code_key(metric), {})[metric.id] = None
        self.codes_of_type.setdefault(metric.aggregation_type, {})[metric.code] = None

    def commit_deletion(self, metric: Metric, now_ms: int, offset: int) -> None:
        """End a metric and free its code."""
        self._delete(metric, now_ms, offset)
        self.code_deleted_at_ms[_code_key(metric)] = now_ms


@dataclass
class PlanIndex(CodedIndex[Plan]):
    """Plans, by the metrics of their charges as well. A child plan holds no code."""

    by_metric: MutableMapping[str, dict[str, int]] = field(default_factory=dict)
    """By metric, ids of plans that are no child: how many of it and its children have a charge on
    the metric. There may be a child for each subscription."""
    children: MutableMapping[str, dict[str, None]] = field(default_factory=dict)
    """Ids of child plans that are not deleted, by the id of their parent, in creation order.

    They go with it. A plan that never had any is not there."""
    in_advance: MutableMapping[str, None] = field(default_factory=dict)
    """Ids of plans that have or had a charge paid in advance."""
    pay_in_advance: MutableMapping[str, None] = field(default_factory=dict)
    """Organizations of these plans."""
    metrics_in_advance: MutableMapping[str, None] = field(default_factory=dict)
    """Ids of metrics of these charges."""
    first_in_advance_ms: int = NEVER_MS
    """Append time of the first plan with a charge paid in advance, of any organization."""

    def held(self, organization_id: str, code: str) -> list[str]:
        """Return ids of all plans that hold or held a code: whoever has it is one, or a child."""
        holders = self.holders.get((organization_id, code))
        return [] if holders is None else sorted(set(holders.all()))

    def metrics_charged(
        self, charge_ids: Collection[str], plan_ids: Collection[str] | None = None
    ) -> Steps[set[str]]:
        """Return ids of the metrics that charges of plans have or had; None: of any.

        There may be very many plans.
        """
        wanted, found = frozenset(charge_ids), set[str]()
        of_all = list(self.versions) if plan_ids is None else plan_ids
        plans = (plan for each in of_all if wanted for plan in self.versions[each].kept_whole())
        for some in weighed(plans, lambda plan: 1 + len(plan.charges)):
            charges = chain.from_iterable(named(plan.charges, wanted) for plan in some)
            found.update(each.metric_id for each in charges)
            yield
        return found

    def commit(self, plan: Plan, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        if plan.id not in self.versions:
            self.versions[plan.id] = PlanVersions()
        if plan.parent_id is None:
            old = self._push(plan, now_ms, offset)
        else:
            old = push(self.versions, plan.id, now_ms, offset, self._kept(plan))
            self.children.setdefault(plan.parent_id, {})[plan.id] = None
        self._index_metrics_of(plan, _metric_ids(old), _metric_ids(plan))
        if metrics := metrics_in_advance(plan):
            self.in_advance[plan.id] = None
            self.pay_in_advance[plan.organization_id] = None
            self.metrics_in_advance.update(metrics)
            self.first_in_advance_ms = min(self.first_in_advance_ms, now_ms)

    def promise(self, new: Plan, promised: PromisedPlans) -> bool:
        """Promise a version of a plan that there is, with its code; False: it cannot be."""
        versions = self.versions.get(new.id)
        old = versions.at() if versions is not None else None
        if versions is None or old is None or versions.is_promised(promised.coming):
            return False
        if new.parent_id != old.parent_id or new.code != old.code:
            return False
        if differ_in_texts_only(old, new):
            return False
        versions.promise(promised.coming, self._kept(new, promised.coming))
        promised.note_metrics(new, _metric_ids(old), _metric_ids(new))
        promised.note_in_advance(new)
        promised.holders += new.parent_id is None
        return True

    def promise_deletion(self, gone: Plan, promised: PromisedPlans) -> bool:
        """Promise the end of a child plan that there is; False: it cannot be."""
        versions = self.versions.get(gone.id)
        if versions is None or versions.at() is None or versions.is_promised(promised.coming):
            return False
        if gone.parent_id is None:
            return False
        versions.promise(promised.coming, None)
        promised.note_metrics(gone, _metric_ids(gone), set())
        promised.gone.setdefault(gone.parent_id, []).append(gone.id)
        return True

    def commit_promised(self, promised: PromisedPlans) -> None:
        """Find all promised versions by their metrics, once they are in force."""
        self.changed += promised.holders
        for (metric_id, family), more in promised.counts.items():
            self._count(metric_id, family, more)
        for parent_id, gone in promised.gone.items():
            for plan_id in gone if self.children.get(parent_id) else ():
                self.children[parent_id].pop(plan_id, None)
        if promised.in_advance:
            self.in_advance.update(promised.in_advance)
            self.pay_in_advance.update(promised.organizations)
            self.metrics_in_advance.update(promised.metrics)
            self.first_in_advance_ms = min(self.first_in_advance_ms, promised.coming.append_time_ms)

    def commit_deletion(self, plan: Plan, now_ms: int, offset: int) -> None:
        """End a plan and free its code."""
        if plan.parent_id is None:
            self._delete(plan, now_ms, offset)
            if plan.id in self.children:
                self.children[plan.id] = {}
        else:
            self.versions[plan.id].push(now_ms, offset, None)
            self.children[plan.parent_id].pop(plan.id, None)
        self._index_metrics_of(plan, _metric_ids(plan), set())

    def _kept(self, new: Plan, coming: Coming | None = None) -> Plan:
        """Return a plan as its version is kept, though that of its parent comes with it."""
        versions = self.versions.get(new.parent_id) if new.parent_id is not None else None
        if versions is None:
            return new
        parent, promised = versions.last_before_deletion(), versions.promised
        if promised is not None and promised[0] is coming:
            parent = promised[1]
        return new if parent is None else with_copies(new, parent)

    def _index_metrics_of(self, plan: Plan, old: set[str], new: set[str]) -> None:
        family = plan.parent_id or plan.id
        for metric_id in old - new:
            self._count(metric_id, family, -1)
        for metric_id in new - old:
            self._count(metric_id, family, 1)

    def _count(self, metric_id: str, family: str, more: int) -> None:
        families = self.by_metric.setdefault(metric_id, {})
        families[family] = families.get(family, 0) + more
        if not families[family]:
            del families[family]


class PromisedPlans:
    """Versions of many plans that a record brings into force at once."""

    def __init__(self, coming: Coming):
        self.coming = coming
        self.counts = Counter[tuple[str, str]]()
        """By metric and plan that is no child, how many more of these have a charge on it."""
        self.gone: dict[str, list[str]] = {}
        """Ids of child plans that end, by their parent's: mostly that ends with them."""
        self.holders = 0
        """How many of them are no child."""
        self.in_advance: dict[str, None] = {}
        self.organizations: dict[str, None] = {}
        self.metrics: dict[str, None] = {}

    def note_metrics(self, plan: Plan, before: set[str], after: set[str]) -> None:
        """Note what a plan is found by from now on, and what no more."""
        family = plan.parent_id or plan.id
        for metric_id in before - after:
            self.counts[metric_id, family] -= 1
        for metric_id in after - before:
            self.counts[metric_id, family] += 1

    def note_in_advance(self, plan: Plan) -> None:
        """Note the charges of a plan that are paid in advance."""
        if metrics := metrics_in_advance(plan):
            self.in_advance[plan.id] = None
            self.organizations[plan.organization_id] = None
            self.metrics.update(metrics)


def _code_key(coded: Metric | Plan) -> CodeKey:
    return coded.organization_id, coded.code


def metrics_in_advance(plan: Plan) -> dict[str, None]:
    """Return ids of the metrics of a plan's charges that are paid in advance."""
    return {each.metric_id: None for each in alike(plan.charges) if each.pay_in_advance}


def _metric_ids(plan: Plan | None) -> set[str]:
    return {charge.metric_id for charge in alike(plan.charges)} if plan else set()
