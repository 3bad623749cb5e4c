"""A branch of the definitions: what they would be after a change, with published periods under it.

Pure. The branch is thrown away; the log knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.bounds.turns import Steps
from app.definitions import commands
from app.definitions.charge_terms import refused_terms
from app.definitions.command import Command
from app.definitions.log import applying
from app.definitions.model import Metric, Plan
from app.definitions.outcome import Rejected
from app.definitions.state import Definitions


class Branch(NamedTuple):
    """Definitions after a change, and the metrics it may affect."""

    definitions: Definitions
    codes: frozenset[str]
    """Codes of the metrics that may show other usage after the change."""
    records_applied: int
    """Number of log records that were applied when the branch began."""
    plan_ids: frozenset[str] | None = None
    """Plans that are changed; whoever never had one, or a child of one, shows what it showed.

    None: a metric is changed, which any plan may charge.
    """

    def changes_any(self, plan_ids: Iterable[str], known: Definitions) -> bool:
        """Return whether one of some plans is changed, or is a child of one that is.

        `known`: the definitions without the change; the branch would copy each plan.
        """
        changed = self.plan_ids
        return changed is None or any(
            plan.id in changed or plan.parent_id in changed
            for plan in map(known.plan_by_id, plan_ids)
            if plan is not None
        )


def branch_with(
    definitions: Definitions,
    organization_id: str,
    changes: Sequence[Command],
    from_ms: int,
    to_ms: int,
    now_ms: int,
) -> Steps[Branch | Rejected]:
    """Return the definitions after changes to metrics and plans and a history record of them.

    The history record covers published periods that start in [from_ms, to_ms). No record may be
    applied to the definitions before the last step.
    """
    branch, known = definitions.copy(), definitions.records_applied
    at_ms = max(now_ms, definitions.append_time_ms) + 1
    metric_ids: dict[str, None] = {}
    charge_ids: dict[str, None] = {}
    plan_ids = set[str]()
    for command in changes:
        outcome = yield from applying(branch, command.encode(), at_ms, branch.offset)
        if isinstance(outcome, Rejected):
            return outcome
        changed = outcome.object if outcome is not None else None
        if isinstance(changed, Metric):
            history = branch.metric_history(organization_id, changed.code)
            metric_ids.update((next(v.all()).id, None) for v in history)
        elif isinstance(changed, Plan):
            refused = refused_terms(definitions, [changed])
            if refused is not None:
                return refused
            plan_ids.add(changed.id)
            old = definitions.plan_by_id(changed.id)
            charge_ids.update(dict.fromkeys(changed_charges(old, changed)))
    if not (metric_ids or charge_ids):
        return Branch(branch, frozenset(), known)
    covering = commands.apply_history(
        organization_id,
        metric_ids=list(metric_ids),
        charge_ids=list(charge_ids),
        from_ms=from_ms,
        to_ms=to_ms,
    )
    applied = yield from applying(branch, covering.encode(), at_ms, branch.offset)
    if isinstance(applied, Rejected):
        return applied
    # A charge is of one plan, and only of what is looked at does the branch make a copy.
    codes = yield from branch.codes_named(branch.history_records[-1], plan_ids)
    of_plans = None if metric_ids else frozenset(plan_ids)
    return Branch(branch, codes, known, of_plans)


def changed_charges(old: Plan | None, new: Plan) -> list[str]:
    """Return ids of the charges that differ between two versions of a plan."""
    before = {charge.id: charge for charge in old.charges} if old is not None else {}
    after = {charge.id: charge for charge in new.charges}
    return [i for i in {**before, **after} if before.get(i) != after.get(i)]
