"""Subscriptions: creation, plan changes, ends (metering-semantics §5.7, billing-periods §4).

Nothing is scheduled. A later start, wished end or downgrade is written into the times of the
subscription when it is decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import msgspec

from app.billing_periods.grid import PeriodGrid
from app.billing_periods.timezones import local_date
from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.definitions.command import Command
from app.definitions.decision import Change, Decision, payload_body, payload_text
from app.definitions.fields import TAKEN, Fields, is_blank
from app.definitions.model import Plan, Subscription
from app.definitions.outcome import Impact, Rejection, invalid, not_found
from app.definitions.overrides import child_plan, note_errors, on_plan, overridden
from app.definitions.skipped_ends import invoiced_until_ms, superseded_by, termination_invoice
from app.definitions.state import Definitions
from app.definitions.subscription_requests import (
    INVALID_DATE,
    Request,
    ending_at,
    request_of,
    subscription_at,
)

_YEARLY_FACTORS = {"weekly": 52, "monthly": 12, "quarterly": 4, "semiannual": 2, "yearly": 1}

_replace = msgspec.structs.replace


def yearly_amount_cents(plan: Plan) -> int:
    """Return the plan's price a year, the measure of upgrade and downgrade."""
    return plan.amount_cents * _YEARLY_FACTORS[plan.interval]


def create(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Return a new subscription, a plan change of the one there is, or that one unchanged."""
    request = request_of(definitions, command, now_ms)
    plans: tuple[Change, ...] = ()
    current = definitions.current_subscription(command.organization_id, request.external_id, now_ms)
    if current is not None and current.external_customer_id != request.customer.external_id:
        raise Rejection(invalid({"external_id": [TAKEN]}))
    if current is not None and current.plan_id == request.plan.id:
        return Decision(current, None, ())
    if request.overrides is not None:
        child = child_plan(definitions, command, request.plan, request.overrides, now_ms)
        request, plans = request._replace(plan=child), (child,)
    if current is None:
        started = _started(definitions, request, now_ms)
        changes = (started, *superseded_by(definitions, started))
    else:
        changes = _plan_change(definitions, current, request, now_ms)
    answer = changes[0]
    customers: tuple[Change, ...] = (request.customer,) if request.new_customer else ()
    return Decision(answer, _impact(answer), (*customers, *plans, *changes))


def update(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Change name and ending_at, and subscription_at of one that waits for its first start."""
    external_id, status = payload_text(command, "external_id"), command.payload.get("status")
    old = find_subscription(definitions, command.organization_id, external_id, status, now_ms)
    fields = Fields(payload_body(command, "subscription"))
    note_errors(fields)
    changed = _changed(definitions, old, fields, now_ms)
    fields.require_valid()
    planned = overridden(definitions, command, old, now_ms)
    shapes_usage = planned.impact is not None
    if planned.changes:
        changed = on_plan(changed, planned.object)
    if changed == old:
        return Decision(old, planned.impact, planned.changes)
    changes = (
        *_without_unreachable_downgrade(definitions, changed, now_ms),
        *superseded_by(definitions, changed),
    )
    shapes_usage = shapes_usage or _replace(changes[0], name=old.name) != old
    return Decision(
        changes[0], _impact(old) if shapes_usage else None, (*planned.changes, *changes)
    )


def _changed(
    definitions: Definitions, old: Subscription, fields: Fields, now_ms: int
) -> Subscription:
    changed = old
    if fields.has("name"):
        changed = _replace(changed, name=fields.text("name"))
    if fields.has("on_termination_invoice"):
        invoice = termination_invoice(fields)
        if old.status_at(now_ms) != "terminated":
            changed = _replace(changed, on_termination_invoice=invoice)
    waits = old.started_at_ms > now_ms and old.previous_subscription_id is None
    if waits and not is_blank(fields.get("subscription_at")):
        at_ms = subscription_at(fields, now_ms)
        changed = _replace(changed, **_start(definitions, changed, at_ms, now_ms))
    start_ms = max(changed.subscription_at_ms, changed.started_at_ms)
    if fields.has("ending_at"):
        changed = _replace(changed, ending_at_ms=ending_at(fields, start_ms, now_ms))
        # One that has ended does not go on: another may have its external id by now.
        ended = old.status_at(now_ms) == "terminated"
        return _replace(changed, terminated_at_ms=old.end_ms) if ended else changed
    moved = start_ms != max(old.subscription_at_ms, old.started_at_ms)
    if moved and changed.ending_at_ms is not None and changed.ending_at_ms <= start_ms:
        fields.fail("subscription_at", INVALID_DATE)
    return changed


def terminate(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """End the active subscription now; with status `pending`, cancel the pending one."""
    external_id, status = payload_text(command, "external_id"), command.payload.get("status")
    wanted = status or "active"
    if wanted not in ("active", "pending"):
        raise Rejection(not_found("subscription"))
    old = find_subscription(definitions, command.organization_id, external_id, wanted, now_ms)
    fields = Fields(command.payload)
    if wanted == "active" and not is_blank(fields.get("on_termination_invoice")):
        old = _replace(old, on_termination_invoice=termination_invoice(fields))
    fields.require_valid()
    changes = drained(ended_chains(definitions, (old,), now_ms))
    return Decision(changes[0], _impact(old), changes)


def ended_chains(
    definitions: Definitions, subscriptions: Iterable[Subscription], now_ms: int
) -> Steps[tuple[Subscription, ...]]:
    """End now each subscription that has not ended; what was to follow it is canceled.

    One that never started is canceled; if it was to follow another, that one goes on.
    """
    living: dict[str, Subscription] = {}
    for count, one in enumerate(subscriptions, 1):
        if one.status_at(now_ms) in ("active", "pending"):
            living[one.id] = one
        if count % STEP_ITEMS == 0:
            yield
    ended: dict[str, Subscription] = {}
    for count, subscription in enumerate(living.values(), 1):
        if count % STEP_ITEMS == 0:
            yield
        for change in _ended(definitions, subscription, now_ms):
            going_on = change.id in living and change.id != subscription.id
            if not going_on or change.canceled_at_ms is not None:
                ended[change.id] = change
    return tuple(ended.values())


def elapsed_periods(
    definitions: Definitions, subscription: Subscription, now_ms: int, plan: Plan | None
) -> int:
    """Return how many periods have ended by now, by arithmetic on the grid.

    `plan`: the subscription's, which may be made with it.
    """
    until_ms = now_ms if subscription.end_ms is None else min(now_ms, subscription.end_ms)
    if subscription.canceled_at_ms is not None or subscription.started_at_ms >= until_ms:
        return 0
    grid = _usage_grid(definitions, subscription, now_ms, plan)
    return grid.index_at(until_ms) - grid.index_at(subscription.started_at_ms)


def moved_downgrades(
    definitions: Definitions,
    subscriptions: Iterable[Subscription | None],
    timezone: str,
    now_ms: int,
) -> Steps[tuple[Subscription, ...]]:
    """Move planned downgrades to where their period ends in the customers' new timezone.

    None stands for a subscription that keeps its timezone.
    """
    moved: list[Subscription] = []
    for count, old in enumerate(subscriptions, 1):
        if count % STEP_ITEMS == 0:
            yield
        following = None if old is None else _following(definitions, old, now_ms)
        if old is None or following is None or old.terminated_at_ms is None:
            continue
        grid = _downgrade_grid(definitions, old, now_ms)
        end_ms = grid.start_ms(grid.index_at(old.terminated_at_ms - 1) + 1)
        # Search by time: number 0 may be another month if `subscription_at` has another date.
        at_ms = max(replace(grid, timezone=timezone).start_nearest_ms(end_ms), now_ms)
        if following.ending_at_ms is not None:
            at_ms = min(at_ms, following.ending_at_ms)
        if at_ms != old.terminated_at_ms:
            moved.append(_replace(old, terminated_at_ms=at_ms))
            moved.append(_replace(following, started_at_ms=at_ms))
    return tuple(moved)


def _started(definitions: Definitions, request: Request, now_ms: int) -> Subscription:
    subscription = Subscription(
        id=request.id,
        organization_id=request.customer.organization_id,
        external_id=request.external_id,
        external_customer_id=request.customer.external_id,
        plan_id=request.plan.id,
        parent_plan_id=request.plan.parent_id,
        billing_time=request.billing_time,
        subscription_at_ms=request.subscription_at_ms,
        started_at_ms=request.subscription_at_ms,
        created_at_ms=now_ms,
        name=request.name,
        ending_at_ms=request.ending_at_ms,
    )
    start = _start(definitions, subscription, request.subscription_at_ms, now_ms)
    return _replace(subscription, **start)


def _start(
    definitions: Definitions, subscription: Subscription, subscription_at_ms: int, now_ms: int
) -> dict[str, Any]:
    """Return the times that follow from subscription_at.

    A subscription dated today or earlier on the customer's calendar is active at once. Its usage
    never starts in what earlier subscriptions of the same external id have published.
    """
    started_at_ms = subscription_at_ms
    if subscription_at_ms <= now_ms:
        name = subscription.organization_id, subscription.external_id
        # All others had ended before one of these began.
        earlier = definitions.subscription_index.lasting_of(name)
        ends = [
            invoiced_until_ms(definitions, versions)
            for versions in earlier
            if (one := versions.at()) is not None and one.id != subscription.id
        ]
        started_at_ms = max([subscription_at_ms, *ends])
    activated_at_ms = None
    if started_at_ms > now_ms:
        timezone = _timezone(definitions, subscription)
        today = local_date(subscription_at_ms, timezone) <= local_date(now_ms, timezone)
        activated_at_ms = now_ms if today else None
    return {
        "subscription_at_ms": subscription_at_ms,
        "started_at_ms": started_at_ms,
        "activated_at_ms": activated_at_ms,
    }


def _plan_change(
    definitions: Definitions, old: Subscription, request: Request, now_ms: int
) -> tuple[Subscription, ...]:
    """Return the subscription that answers the request, then all others that change."""
    if old.started_at_ms > now_ms:
        # It has not started, so there is no usage to close: only its plan changes.
        name = old.name if request.name is None else request.name
        return (_replace(on_plan(old, request.plan), name=name),)
    old_plan = definitions.plan_by_id(old.plan_id)
    dearer = old_plan is None or (
        yearly_amount_cents(request.plan) >= yearly_amount_cents(old_plan)
    )
    at_ms = now_ms if dearer else _period_end_ms(definitions, old, now_ms)
    ending_at_ms = request.ending_at_ms if request.ending_at_given else old.ending_at_ms
    if ending_at_ms is not None and ending_at_ms <= at_ms:
        raise Rejection(invalid({"ending_at": [INVALID_DATE]}))
    new = Subscription(
        id=request.id,
        organization_id=old.organization_id,
        external_id=old.external_id,
        external_customer_id=old.external_customer_id,
        plan_id=request.plan.id,
        parent_plan_id=request.plan.parent_id,
        billing_time=old.billing_time,
        subscription_at_ms=old.subscription_at_ms,
        started_at_ms=at_ms,
        created_at_ms=now_ms,
        name=request.name,
        ending_at_ms=ending_at_ms,
        previous_subscription_id=old.id,
    )
    replaced = _replace(old, terminated_at_ms=at_ms, replaced_by=new.id, upgraded=dearer)
    canceled = _canceled_following(definitions, old, now_ms)
    # A downgrade is answered with the subscription that is still active, as Lago does.
    pair = (new, replaced) if dearer else (replaced, new)
    return (*pair, *canceled)


def _period_end_ms(definitions: Definitions, subscription: Subscription, now_ms: int) -> int:
    grid = _downgrade_grid(definitions, subscription, now_ms)
    return grid.start_ms(grid.index_at(now_ms) + 1)


def _downgrade_grid(
    definitions: Definitions, subscription: Subscription, now_ms: int
) -> PeriodGrid:
    """Return the grid at whose posts a downgrade takes effect: by version 1 the plan's own."""
    if definitions.settings_at().fold_version > 1:
        return _usage_grid(definitions, subscription, now_ms)
    return _grid(definitions, subscription, now_ms)


def _usage_grid(
    definitions: Definitions, subscription: Subscription, now_ms: int, made: Plan | None = None
) -> PeriodGrid:
    plan = made or definitions.plan_by_id(subscription.plan_id)
    monthly = plan is not None and bool(plan.bill_charges_monthly)
    return replace(_grid(definitions, subscription, now_ms, plan), monthly=monthly)


def _grid(
    definitions: Definitions, subscription: Subscription, now_ms: int, made: Plan | None = None
) -> PeriodGrid:
    plan = made or definitions.plan_by_id(subscription.plan_id)
    if plan is None:
        raise LookupError("a subscription is made on a plan, and plans answer for ever")
    return PeriodGrid(
        plan.interval,
        subscription.billing_time,
        subscription.subscription_at_ms,
        _timezone(definitions, subscription),
        monthly=False,
    )


def _timezone(definitions: Definitions, subscription: Subscription) -> str:
    customer = definitions.customer(subscription.organization_id, subscription.external_customer_id)
    return definitions.timezone_of(subscription.organization_id, customer)


def find_subscription(
    definitions: Definitions, organization_id: str, external_id: str, status: object, now_ms: int
) -> Subscription:
    """Return the newest of this status; without a status the active, else the pending one.

    Raises:
        Rejection: there is none.
    """
    wanted = ("active", "pending") if not status else (status,)
    index, name = definitions.subscription_index, (organization_id, external_id)
    known = index.of_external_id if status == "canceled" else index.lasting_of
    newest_first = [one for each in reversed(known(name)) if (one := each.at()) is not None]
    for one_status in wanted:
        for one in newest_first:
            if one.status_at(now_ms) == one_status:
                return one
    raise Rejection(not_found("subscription"))


def _following(
    definitions: Definitions, subscription: Subscription, now_ms: int
) -> Subscription | None:
    """Return the subscription that replaces this one at a planned downgrade."""
    if subscription.replaced_by is None:
        return None
    following = definitions.subscription_by_id(subscription.replaced_by)
    pending = following is not None and following.status_at(now_ms) == "pending"
    return following if pending else None


def _canceled_following(
    definitions: Definitions, subscription: Subscription, now_ms: int
) -> tuple[Subscription, ...]:
    following = _following(definitions, subscription, now_ms)
    return () if following is None else (_replace(following, canceled_at_ms=now_ms),)


def _ended(
    definitions: Definitions, subscription: Subscription, now_ms: int
) -> tuple[Subscription, ...]:
    if subscription.started_at_ms <= now_ms:
        terminated = _replace(
            subscription, terminated_at_ms=now_ms, replaced_by=None, upgraded=False
        )
        return (terminated, *_canceled_following(definitions, subscription, now_ms))
    canceled = _replace(subscription, canceled_at_ms=now_ms)
    previous = definitions.subscription_by_id(subscription.previous_subscription_id or "")
    if previous is None or previous.replaced_by != subscription.id:
        return (canceled,)
    return (canceled, _going_on(previous))


def _going_on(subscription: Subscription) -> Subscription:
    """Return the subscription without its planned downgrade."""
    return _replace(subscription, terminated_at_ms=None, replaced_by=None)


def _without_unreachable_downgrade(
    definitions: Definitions, subscription: Subscription, now_ms: int
) -> tuple[Subscription, ...]:
    """Drop a planned downgrade that the wished end comes before."""
    following = _following(definitions, subscription, now_ms)
    wished_ms, planned_ms = subscription.ending_at_ms, subscription.terminated_at_ms
    if following is None or wished_ms is None or planned_ms is None or wished_ms > planned_ms:
        return (subscription,)
    return (_going_on(subscription), _replace(following, canceled_at_ms=now_ms))


def _impact(subscription: Subscription) -> Impact:
    return Impact(subscription.organization_id, subscription.external_id)
