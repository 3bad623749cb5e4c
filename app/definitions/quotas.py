"""How much of the definitions one organization may have, and how often it may change them.

Asked at the door only: what lies in the log already stays valid. Amounts come from the definitions,
so they are the same in every worker; what is counted by the minute or day each counts for itself.
"""

from __future__ import annotations

from app.billing_periods.day_count import DAY_MS
from app.bounds import limits
from app.bounds.quotas import Counted, Quotas
from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.decision import Decision
from app.definitions.model import Customer, Metric, Plan, Subscription
from app.definitions.outcome import Rejected, invalid
from app.definitions.state import Definitions
from app.definitions.subscriptions import elapsed_periods

MINUTE_MS = 60_000

_WINDOWS_MS: dict[Counted, int] = {
    "plan_changes": MINUTE_MS,
    "subscription_changes": MINUTE_MS,
    "corrections": MINUTE_MS,
    "elapsed": DAY_MS,
}
_COUNTED_AS: dict[str, Counted] = {
    "create_billable_metric": "plan_changes",
    "update_billable_metric": "plan_changes",
    "delete_billable_metric": "plan_changes",
    "create_plan": "plan_changes",
    "update_plan": "plan_changes",
    "delete_plan": "plan_changes",
    "create_charge": "plan_changes",
    "update_charge": "plan_changes",
    "delete_charge": "plan_changes",
    "create_charge_filter": "plan_changes",
    "update_charge_filter": "plan_changes",
    "delete_charge_filter": "plan_changes",
    "create_webhook_endpoint": "plan_changes",
    "update_webhook_endpoint": "plan_changes",
    "delete_webhook_endpoint": "plan_changes",
    "create_alert": "subscription_changes",
    "create_alerts": "subscription_changes",
    "update_alert": "subscription_changes",
    "delete_alert": "subscription_changes",
    "delete_alerts": "subscription_changes",
    "update_subscription_charge": "subscription_changes",
    "create_subscription_charge_filter": "subscription_changes",
    "update_subscription_charge_filter": "subscription_changes",
    "delete_subscription_charge_filter": "subscription_changes",
    "upsert_customer": "subscription_changes",
    "delete_customer": "subscription_changes",
    "update_organization": "subscription_changes",
    "create_subscription": "subscription_changes",
    "update_subscription": "subscription_changes",
    "terminate_subscription": "subscription_changes",
}


def counted_as(kind: str) -> Counted | None:
    """Return what a command of a type is counted as; None: it is not counted."""
    return _COUNTED_AS.get(kind)


def elapsed_charges(definitions: Definitions, decision: Decision, now_ms: int) -> Steps[int]:
    """Return elapsed periods times charges that are to be closed for a decision, by arithmetic."""
    if not definitions.settings_at().close_elapsed:
        return 0
    elapsed = 0
    made = {plan.id: plan for plan in decision.changes if isinstance(plan, Plan)}
    for count, change in enumerate(decision.changes, 1):
        if isinstance(change, Subscription) and _starts(definitions, change):
            plan = made.get(change.plan_id) or definitions.plan_by_id(change.plan_id)
            periods = elapsed_periods(definitions, change, now_ms, plan)
            # A period without charges is told as complete, too.
            elapsed += periods * (max(1, len(plan.charges)) if plan is not None else 1)
        if count % STEP_ITEMS == 0:
            yield
    return elapsed


def _starts(definitions: Definitions, subscription: Subscription) -> bool:
    old = definitions.subscription_by_id(subscription.id)
    return old is None or old.started_at_ms != subscription.started_at_ms


def over_quota(
    definitions: Definitions, decision: Decision, elapsed: int, quotas: Quotas
) -> Steps[Rejected | None]:
    """Return the rejection for an amount that a decision would exceed; None: it exceeds none."""
    if elapsed > quotas.elapsed:
        return invalid({"subscription_at": ["value_is_out_of_range"]})
    for count, change in enumerate(decision.changes, 1):
        full = _full(definitions, change, quotas)
        if full is not None:
            return full
        if count % STEP_ITEMS == 0:
            yield
    return None


def _full(definitions: Definitions, change: object, quotas: Quotas) -> Rejected | None:
    match change:
        case Metric():
            known, field = change.id in definitions.metric_versions, "billable_metrics"
            count, most = definitions.metrics_count(change.organization_id), quotas.metrics
        case Plan(parent_id=None):
            known, field = change.id in definitions.plan_versions, "plans"
            count, most = definitions.plans_count(change.organization_id), quotas.plans
        case Customer():
            known = definitions.customer(change.organization_id, change.external_id) is not None
            field = "customers"
            count, most = definitions.customers_count(change.organization_id), quotas.customers
        case Subscription():
            known, field = change.id in definitions.subscription_versions, "subscriptions"
            count = definitions.subscriptions_count(change.organization_id)
            most = quotas.subscriptions
            name = change.organization_id, change.external_id
            of_id = definitions.subscription_index.by_external_id.count(name)
            if of_id >= limits.SUBSCRIPTIONS_OF_ONE_ID:
                field, count, most = "external_id", of_id, limits.SUBSCRIPTIONS_OF_ONE_ID
        case _:
            return None
    return None if known or count < most else invalid({field: [f"limit_is_{most}"]})


class Taken:
    """What organizations have taken of what is counted by the minute or by the day."""

    def __init__(self) -> None:
        self._taken: dict[Counted, tuple[int, dict[str, int]]] = {}
        """(number of the newest window, amounts by organization in it)."""

    def take(
        self,
        organization_id: str,
        counted: Counted,
        most: int | None,
        now_ms: int,
        amount: int = 1,
    ) -> int:
        """Take an amount; if that is too much now, nothing, and the seconds until it is not."""
        if most is None or amount == 0:
            return 0
        window_ms = _WINDOWS_MS[counted]
        number = now_ms // window_ms
        known, taken = self._taken.get(counted, (number, {}))
        if known != number:
            # Of windows that are over nothing is kept.
            taken = {}
        in_all = taken.get(organization_id, 0) + amount
        if in_all > most:
            return -(-((number + 1) * window_ms - now_ms) // 1000)
        taken[organization_id] = in_all
        self._taken[counted] = number, taken
        return 0
