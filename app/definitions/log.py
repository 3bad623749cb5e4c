"""The definitions log applied: each record is decided first, and then committed as a whole.

What the definitions become is a pure function of the records.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from app.bounds.turns import STEP_ITEMS, Steps, drained, weighed
from app.definitions import (
    alerts,
    customers,
    grants,
    metrics,
    organizations,
    plan_charges,
    plans,
    set_asides,
    settings_records,
    subscription_charges,
    subscriptions,
    webhook_endpoints,
)
from app.definitions.command import Command, UnreadableCommand
from app.definitions.decision import Change, Decision, Deletion, MalformedPayload
from app.definitions.indexes.alerts import PromisedEnds
from app.definitions.indexes.coded import PromisedPlans
from app.definitions.model import (
    Alert,
    Customer,
    Grant,
    HistoryRecord,
    Lift,
    Metric,
    Organization,
    Plan,
    SetAside,
    SettingsRecord,
    Subscription,
    WebhookEndpoint,
)
from app.definitions.outcome import Applied, Rejected, Rejection, cannot_be_applied
from app.definitions.state import Definitions
from app.definitions.versions import Coming

log = logging.getLogger(__name__)

_SETTINGS: Final = "settings"

DECIDE: dict[
    str,
    Callable[[Definitions, Command, int], Decision | Steps[Decision]],
] = {
    "create_billable_metric": metrics.create,
    "update_billable_metric": metrics.update,
    "delete_billable_metric": metrics.delete,
    "create_plan": plans.create,
    "update_plan": plans.update,
    "delete_plan": plans.delete,
    "create_charge": plan_charges.create,
    "update_charge": plan_charges.update,
    "delete_charge": plan_charges.delete,
    "create_charge_filter": plan_charges.create_filter,
    "update_charge_filter": plan_charges.update_filter,
    "delete_charge_filter": plan_charges.delete_filter,
    "update_subscription_charge": subscription_charges.update,
    "create_subscription_charge_filter": subscription_charges.create_filter,
    "update_subscription_charge_filter": subscription_charges.update_filter,
    "delete_subscription_charge_filter": subscription_charges.delete_filter,
    "upsert_customer": customers.upsert,
    "delete_customer": customers.delete,
    "update_organization": organizations.update,
    "create_subscription": subscriptions.create,
    "update_subscription": subscriptions.update,
    "terminate_subscription": subscriptions.terminate,
    "create_alert": alerts.create,
    "create_alerts": alerts.create_many,
    "update_alert": alerts.update,
    "delete_alert": alerts.delete,
    "delete_alerts": alerts.delete_all,
    _SETTINGS: settings_records.set_settings,
    "history": settings_records.apply_history,
    set_asides.SET_ASIDE: set_asides.set_aside,
    set_asides.LIFT: set_asides.lift,
    "grant": grants.grant,
    "create_webhook_endpoint": webhook_endpoints.create,
    "update_webhook_endpoint": webhook_endpoints.update,
    "delete_webhook_endpoint": webhook_endpoints.delete,
}
"""By type of command. Each raises Rejection where the definitions forbid it."""


def apply(
    definitions: Definitions, value: bytes | None, timestamp_ms: int, offset: int
) -> Applied | Rejected | None:
    """Apply the next record; return None for a tick (no value) or an offset applied already.

    A record is Rejected if it is no command, if the definitions at this point forbid it, or if it
    cannot be decided. Nothing is changed before everything is decided.
    """
    return drained(applying(definitions, value, timestamp_ms, offset))


def apply_settings(
    definitions: Definitions, value: bytes | None, timestamp_ms: int, offset: int
) -> None:
    """Apply the next record if it says settings, which hang on no other definition.

    Any other one is passed over as a tick: who asks for settings alone keeps nothing else.
    """
    try:
        says_settings = value is not None and Command.decode(value).type == _SETTINGS
    except UnreadableCommand:
        says_settings = False
    apply(definitions, value if says_settings else None, timestamp_ms, offset)


def applying(
    definitions: Definitions, value: bytes | None, timestamp_ms: int, offset: int
) -> Steps[Applied | Rejected | None]:
    """Do `apply` by small steps, for one record may end everything that a plan has.

    Whoever looks between two steps sees nothing of the record: the last step brings all of it
    into force. No other record may be applied meanwhile.
    """
    if offset < definitions.offset:
        return None
    now_ms = max(definitions.append_time_ms, timestamp_ms)
    if value is None:
        definitions.pass_over(now_ms, offset)
        return None
    try:
        command = Command.decode(value)
    except UnreadableCommand:
        definitions.pass_over(now_ms, offset)
        return Rejected(422, "invalid_record")
    definitions.begin(offset)
    decision = yield from _deciding(definitions, command, now_ms)
    changes: Sequence[Change] = ()
    promised: _Promised | None = None
    if isinstance(decision, Decision):
        changes = decision.changes
        # Nearly always a step takes them all.
        if len(changes) > 1 and sum(map(_items_in, changes)) > STEP_ITEMS:
            coming = Coming(now_ms, offset)
            promised = _Promised(coming, PromisedPlans(coming), PromisedEnds(coming))
            changes = yield from _promising(definitions, changes, promised)
    # All that follows is one step.
    definitions.pass_over(now_ms, offset)
    definitions.records.commit(now_ms, offset)
    if isinstance(decision, Rejected):
        return decision
    if promised is not None:
        promised.coming.is_here = True
    for change in changes:
        commit(definitions, change, now_ms, offset)
    if promised is not None:
        definitions.plan_index.commit_promised(promised.plans)
        definitions.alerts.commit_promised(promised.ends)
    return Applied(command.type, decision.object, decision.impact)


def decide(definitions: Definitions, command: Command, at_ms: int) -> Decision | Rejected:
    """Return what a command would come to if it were applied next, at this append time."""
    return drained(deciding(definitions, command, at_ms))


def deciding(definitions: Definitions, command: Command, at_ms: int) -> Steps[Decision | Rejected]:
    """Do `decide` by small steps; records may be applied between them."""
    return _deciding(definitions, command, max(at_ms, definitions.append_time_ms))


def commit(definitions: Definitions, change: Change, now_ms: int, offset: int) -> None:
    """Take a change over. Nothing here decides, so that nothing here can fail half-way."""
    match change:
        case Subscription():
            definitions.subscription_index.commit(change, now_ms, offset)
        case Customer():
            definitions.customer_index.commit(change, now_ms, offset)
        case Organization():
            definitions.organization_index.commit(change, now_ms, offset)
        case Metric():
            definitions.metric_index.commit(change, now_ms, offset)
        case Plan():
            definitions.plan_index.commit(change, now_ms, offset)
        case SettingsRecord():
            definitions.settings.commit(change, now_ms, offset)
        case HistoryRecord():
            definitions.history.commit(change)
        case SetAside():
            definitions.set_asides.commit(change)
        case Lift():
            definitions.set_asides.lift(change.id)
        case Grant():
            definitions.grants.commit(change, now_ms, offset)
        case WebhookEndpoint():
            definitions.webhook_endpoints.commit(change)
        case Deletion(WebhookEndpoint() as endpoint):
            definitions.webhook_endpoints.commit_deletion(endpoint)
        case Alert():
            definitions.alerts.commit(change, now_ms, offset)
        case Deletion(Alert() as alert):
            definitions.alerts.commit_deletion(alert, now_ms, offset)
        case Deletion(Metric() as metric):
            definitions.metric_index.commit_deletion(metric, now_ms, offset)
        case Deletion(Plan() as plan):
            definitions.plan_index.commit_deletion(plan, now_ms, offset)
        case Deletion(Customer() as customer):
            definitions.customer_index.commit_deletion(customer, now_ms, offset)
            definitions.subscription_index.commit_deletion(customer, offset)


def _deciding(
    definitions: Definitions, command: Command, now_ms: int
) -> Steps[Decision | Rejected]:
    decide_one = DECIDE.get(command.type)
    if decide_one is None:
        return Rejected(422, "invalid_record")
    try:
        decision = decide_one(definitions, command, now_ms)
        return decision if isinstance(decision, Decision) else (yield from decision)
    except Rejection as rejection:
        return rejection.outcome
    except MalformedPayload:
        return Rejected(422, "invalid_record")
    except (MemoryError, OSError):
        # No fault of the record's: another worker, or this one at its next start, has enough
        # memory, and a disk that can be read.
        raise
    except Exception:
        log.exception("A definition of type %s cannot be decided", command.type)
        return cannot_be_applied()


class _Promised(NamedTuple):
    """What of a record is promised, until it is in force."""

    coming: Coming
    plans: PromisedPlans
    ends: PromisedEnds


def _promising(
    definitions: Definitions, changes: Sequence[Change], promised: _Promised
) -> Steps[Sequence[Change]]:
    """Promise what can be promised; return the rest, which is committed at once: never much."""
    others: list[Change] = []
    subscriptions, plans = definitions.subscription_index, definitions.plan_index
    for some in weighed(changes, _items_in):
        for change in some:
            match change:
                case Subscription() if subscriptions.promise(change, promised.coming):
                    pass
                case Plan() if plans.promise(change, promised.plans):
                    pass
                case Deletion(Plan() as gone) if plans.promise_deletion(gone, promised.plans):
                    pass
                case Deletion(Alert() as alert):
                    definitions.alerts.promise_deletion(alert, promised.ends)
                case _:
                    others.append(change)
        # What brings them into force is a step of its own.
        yield
    return others


def _items_in(change: Change) -> int:
    """Return how many items of a step a change is: all of a plan is looked at."""
    what = change.object if isinstance(change, Deletion) else change
    return what.items if isinstance(what, Plan) else 1
