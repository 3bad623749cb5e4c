"""Rewritten: for whom a history record makes other charges, told without a route."""

from __future__ import annotations

from app.definitions.model import Charge, HistoryRecord, Metric, Subscription
from app.definitions.state import Definitions
from app.definitions.versions import Versions
from tables.entries_fold import asks
from tables.routing.period_charges import charges_in_force
from tables.routing.plan import changes_ms

MOST_CHANGES = 16
"""A plan with more is not asked which charges they left alone."""


class Rewritten:
    """What one history record changes of plans, asked once for all who have a plan."""

    def __init__(self, definitions: Definitions, record: HistoryRecord):
        self._definitions = definitions
        self._record = record
        self._recurs: dict[str, bool] = {}
        self._plans: dict[str, bool] = {}
        self._lists: dict[str, frozenset[str]] = {}

    def recurs(self, code: str) -> bool:
        """Return whether a metric of a code is recurring, or was."""
        recurs = self._recurs.get(code)
        if recurs is None:
            organization_id = self._record.organization_id
            recurs = self._recurs[code] = self._definitions.recurs(organization_id, code)
        return recurs

    def may_reach(self, code: str, newest_ms: int) -> bool:
        """Return whether events of a code may count in a period of its range."""
        return self.recurs(code) or newest_ms >= self._record.from_ms

    def changes(self, versions: Versions[Subscription]) -> bool:
        """Return whether a period of a subscription may have other charges by it."""
        plan_ids = {each.plan_id for each in versions.all()}
        return len(plan_ids) > 1 or any(map(self.changes_plan, plan_ids))

    def listed(self, versions: Versions[Subscription]) -> set[str]:
        """Return codes with a charge whose records list single events, or did."""
        return {code for each in versions.all() for code in self._listed_by(each.plan_id)}

    def _listed_by(self, plan_id: str) -> frozenset[str]:
        listed = self._lists.get(plan_id)
        if listed is None:
            definitions = self._definitions
            listed = self._lists[plan_id] = frozenset(
                metric.code
                for plan in definitions.plan_versions[plan_id].all()
                for charge in plan.charges
                for metric in definitions.metric_versions[charge.metric_id].all()
                if asks(charge, metric)
            )
        return listed

    def changes_plan(self, plan_id: str) -> bool:
        """Return whether a charge that it names was another at any time before it."""
        changes = self._plans.get(plan_id)
        if changes is None:
            plan, at_ms = self._definitions.plan_versions[plan_id], self._record.append_time_ms
            times_ms = [each for each in changes_ms(self._definitions, plan) if each <= at_ms]
            # Nobody has the plan before it is there.
            times_ms = [each for each in times_ms if each >= plan.changes[0]]
            changes = len(times_ms) > MOST_CHANGES
            if not changes:
                now = self._named(plan_id, at_ms)
                changes = any(self._named(plan_id, each) != now for each in times_ms)
            self._plans[plan_id] = changes
        return changes

    def _named(self, plan_id: str, at_ms: int) -> list[tuple[Charge, Metric]]:
        plan = self._definitions.plan_versions[plan_id]
        in_force = charges_in_force(self._definitions, plan, None, at_ms)
        return [(charge, metric) for charge, metric in in_force if self._record.names(charge)]
