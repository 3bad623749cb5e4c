"""What an applied definition record is told as, and what its objects look like.

A record is decided once more before it is applied: its changes say what it does to each object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from app.api.definitions.definitions_json import (
    customer_json,
    metric_json,
    plan_json,
    subscription_json,
)
from app.billing_periods.instants import iso_milliseconds
from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.decision import Change, Deletion
from app.definitions.model import Customer, Metric, Plan, Subscription
from app.definitions.state import Definitions
from app.webhooks.instants import Instant
from app.webhooks.message import Message, body_of

ObjectType = Literal["billable_metric", "plan", "customer", "subscription"]


class ToldObject(NamedTuple):
    """One object that a record makes, changes or ends."""

    webhook_type: str
    object_type: ObjectType
    object: Metric | Plan | Customer | Subscription


def told_of(
    definitions: Definitions, changes: Iterable[Change], append_time_ms: int
) -> Steps[list[ToldObject]]:
    """Return what changes mean that are not applied yet, in their order."""
    found: list[ToldObject] = []
    for count, change in enumerate(changes, 1):
        found += _told(definitions, change, append_time_ms)
        if count % STEP_ITEMS == 0:
            yield
    # A plan change tells of the end before it tells of the start.
    return sorted(found, key=lambda told: told.webhook_type == "subscription.started")


def _told(definitions: Definitions, change: Change, append_time_ms: int) -> Iterator[ToldObject]:
    match change:
        case Metric():
            known = change.id in definitions.metric_versions
            yield ToldObject(f"billable_metric.{_made(known)}", "billable_metric", change)
        case Plan(parent_id=str()) | Deletion(Plan(parent_id=str())):
            # It has no address of its own: its subscription shows it.
            return
        case Plan():
            known = change.id in definitions.plan_versions
            yield ToldObject(f"plan.{_made(known)}", "plan", change)
        case Customer():
            known = definitions.customer(change.organization_id, change.external_id) is not None
            yield ToldObject(f"customer.{_made(known)}", "customer", change)
        case Deletion(Metric() as metric):
            yield ToldObject("billable_metric.deleted", "billable_metric", metric)
        case Deletion(Plan() as plan):
            yield ToldObject("plan.deleted", "plan", plan)
        case Subscription():
            old = definitions.subscription_by_id(change.id)
            what = _of_subscription(old, change, append_time_ms)
            if what is not None:
                yield ToldObject(f"subscription.{what}", "subscription", change)
        case _:
            pass


def _made(known: bool) -> str:
    return "updated" if known else "created"


def _of_subscription(old: Subscription | None, new: Subscription, at_ms: int) -> str | None:
    """Return what becomes of a subscription now; None for one that waits for its start."""
    status = new.status_at(at_ms)
    before = None if old is None else old.status_at(at_ms)
    if status == before:
        return "updated"
    if status == "pending":
        return None if old is None else "updated"
    return "started" if status == "active" else status


def messages(
    definitions: Definitions, told: Iterable[ToldObject], record_id: str, at_ms: int
) -> Iterator[Message | None]:
    """Yield the messages of an applied record, its objects as the API shows them now; None: a step.

    The first of a type has the record's id; a further one has the object's behind it. One record
    may end very many subscriptions, and each shows its plan: a message is made when it is sent,
    and none that no endpoint wants.
    """
    types: set[str] = set()
    for each in told:
        first = each.webhook_type not in types
        types.add(each.webhook_type)
        identity = record_id if first else f"{record_id}:{each.object.id}"
        yield from _wanted(definitions, each, identity, at_ms)
        yield None


def instant_messages(
    definitions: Definitions, instants: Iterable[Instant | None], at_ms: int
) -> Iterator[Message | None]:
    """Yield the messages of what came about with time, of each as it is taken; None: a step."""
    for instant in instants:
        if instant is not None:
            subscription = definitions.subscription_by_id(instant.subscription_id)
            if subscription is not None:
                told = ToldObject(instant.webhook_type, "subscription", subscription)
                identity = f"{subscription.id}:{iso_milliseconds(instant.at_ms)}"
                yield from _wanted(definitions, told, identity, max(at_ms, instant.at_ms))
        yield None


def _wanted(
    definitions: Definitions, told: ToldObject, identity: str, at_ms: int
) -> Iterator[Message | None]:
    """Yield the message of one object if any endpoint wants it: most of the cost is its body."""
    endpoints, thing = definitions.webhook_endpoints, told.object
    if endpoints.wanting(thing.organization_id, told.webhook_type):
        shown = yield from _shown(definitions, thing, at_ms)
        lane = thing.external_id if isinstance(thing, Subscription) else thing.id
        body = body_of(thing.organization_id, told.webhook_type, told.object_type, shown)
        yield Message(thing.organization_id, told.webhook_type, identity, lane, body)


def _shown(
    definitions: Definitions, thing: Metric | Plan | Customer | Subscription, at_ms: int
) -> Steps[dict[str, Any]]:
    match thing:
        case Metric():
            return metric_json(definitions, thing, at_ms)
        case Plan():
            return (yield from plan_json(definitions, thing, at_ms))
        case Customer():
            return customer_json(definitions, thing)
    newest = definitions.subscription_by_id(thing.id) or thing
    customer = definitions.customer_of(newest).last_before_deletion()
    return {
        **subscription_json(definitions, newest, at_ms),
        "customer": None if customer is None else customer_json(definitions, customer),
    }
