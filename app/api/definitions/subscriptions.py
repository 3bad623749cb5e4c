"""Subscriptions (metering-semantics §7.3) and their lifetime usage."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.api.answering.call import Call
from app.api.definitions import plan_charges
from app.api.definitions.definitions_json import charge_json, filter_json, subscription_json
from app.api.definitions.selections import (
    PlanTest,
    check_billing_entities,
    check_billing_entity,
    passes,
    plan_tests,
)
from app.api.http.errors import not_found
from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import Plan, Subscription

_ROOT = "subscription"
_STATUSES = ("pending", "active", "terminated", "canceled")


def _json(call: Call, subscription: Subscription) -> dict[str, Any]:
    return subscription_json(call.meter.definitions, subscription, call.now_ms)


def _root(call: Call, subscription: Subscription) -> dict[str, Any]:
    return {_ROOT: _json(call, subscription)}


async def create(call: Call) -> Any:
    body = await call.root(_ROOT)
    check_billing_entity(body)
    command = commands.create_subscription(call.organization_id, body)
    return _root(call, (await call.define(command)).object)


async def update(call: Call) -> Any:
    command = commands.update_subscription(
        call.organization_id,
        call.parameters["external_id"],
        await call.root(_ROOT),
        call.query.text("status"),
    )
    return _root(call, (await call.define(command)).object)


async def terminate(call: Call) -> Any:
    command = commands.terminate_subscription(
        call.organization_id,
        call.parameters["external_id"],
        call.query.text("status"),
        call.query.text("on_termination_invoice"),
    )
    return _root(call, (await call.define(command)).object)


async def show(call: Call) -> Any:
    return _root(call, _one(call, _wanted_statuses(call)))


async def charges(call: Call) -> Any:
    return await plan_charges.index_in(call, _plan(call))


async def charge(call: Call) -> Any:
    return plan_charges.show_in(call, _plan(call))


async def charge_filters(call: Call) -> Any:
    return await plan_charges.index_filters_in(call, _plan(call))


async def charge_filter(call: Call) -> Any:
    return plan_charges.show_filter_in(call, _plan(call))


async def update_charge(call: Call) -> Any:
    command = commands.update_subscription_charge(_named(call), await call.root("charge"))
    changed = (await call.define(command)).object
    return {"charge": charge_json(call.meter.definitions, changed)}


async def create_charge_filter(call: Call) -> Any:
    body = await call.root("filter")
    return await _filter(call, commands.create_subscription_charge_filter(_named(call), body))


async def update_charge_filter(call: Call) -> Any:
    body, filter_id = await call.root("filter"), call.parameters["id"]
    command = commands.update_subscription_charge_filter(_named(call), filter_id, body)
    return await _filter(call, command)


async def delete_charge_filter(call: Call) -> Any:
    filter_id = call.parameters["id"]
    return await _filter(call, commands.delete_subscription_charge_filter(_named(call), filter_id))


async def _filter(call: Call, command: Command) -> Any:
    return {"filter": filter_json(*(await call.define(command)).object)}


def _named(call: Call) -> commands.SubscriptionCharge:
    status = call.query.text("subscription_status") or call.query.text("status")
    names = call.parameters["external_id"], call.parameters["charge_code"]
    return commands.SubscriptionCharge(call.organization_id, *names, status)


async def index(call: Call) -> Any:
    return await _listing(call, call.query.text("external_customer_id"))


async def index_of_customer(call: Call) -> Any:
    external_id = call.parameters["external_id"]
    if call.meter.definitions.customer(call.organization_id, external_id) is None:
        raise not_found("customer")
    return await _listing(call, external_id)


async def _listing(call: Call, external_customer_id: str | None) -> Any:
    now_ms, statuses = call.now_ms, _wanted_statuses(call)
    definitions, external_id = call.meter.definitions, call.query.text("external_id")
    check_billing_entities(call.query)
    tests = plan_tests(call.query)
    if external_customer_id is None is external_id:
        return await _listing_of_all(call, statuses, tests)
    found = (
        subscription
        if external_customer_id in (None, subscription.external_customer_id)
        and subscription.status_at(now_ms) in statuses
        and passes(definitions, subscription, tests)
        else None
        for subscription in _candidates(call, external_customer_id, external_id)
    )
    return await call.listing("subscriptions", found, lambda s: _json(call, s))


async def _listing_of_all(call: Call, statuses: Collection[str], tests: list[PlanTest]) -> Any:
    """List subscriptions of the organization by their numbers: objects are made of few."""
    definitions, total_count = call.meter.definitions, None
    index = definitions.subscription_index

    def passing(some: NDArray[np.uint32]) -> NDArray[np.uint32]:
        return some[
            [passes(definitions, index.numbered(number), tests) for number in some.tolist()]
        ]

    times_ms = call.now_ms, definitions.append_time_ms
    blocks = index.of_status(call.organization_id, statuses, *times_ms)
    if tests:
        blocks = map(passing, blocks)
    elif set(statuses) == {"active"}:
        total_count = definitions.active_count(call.organization_id, call.now_ms)
    elif set(statuses) == set(_STATUSES):
        total_count = definitions.subscriptions_count(call.organization_id)
    return await call.numbered(
        "subscriptions", blocks, lambda number: _json(call, index.numbered(number)), total_count
    )


def _plan(call: Call) -> Plan:
    """Return the plan of the subscription that path and query name. Raises 404."""
    name = "subscription_status" if call.query.texts("subscription_status") else "status"
    subscription = _one(call, _wanted_statuses(call, name))
    plan = call.meter.definitions.plan_by_id(subscription.plan_id)
    if plan is None:
        raise AssertionError("a subscription has a plan, if only a deleted one")
    return plan


def subscription_asked_for(call: Call) -> Subscription:
    """Return the subscription that path and `subscription_status` name. Raises 404."""
    name = "subscription_status" if call.query.texts("subscription_status") else "status"
    return _one(call, _wanted_statuses(call, name))


def _wanted_statuses(call: Call, name: str = "status") -> tuple[str, ...]:
    """Return the known statuses that the query names; only `active` when it names none."""
    named = tuple(status for status in call.query.texts(name) if status in _STATUSES)
    return named or ("active",)


def _candidates(
    call: Call, external_customer_id: str | None, external_id: str | None
) -> Iterable[Subscription]:
    """Return subscriptions of an id, or of a customer, newest first, as they are now.

    For a deleted customer return all that ever were of its name.
    """
    definitions, organization_id = call.meter.definitions, call.organization_id
    if external_id is not None:
        versions = reversed(definitions.subscriptions(organization_id, external_id))
        return [now for each in versions if (now := each.at()) is not None]
    name = organization_id, external_customer_id or ""
    customer = definitions.customer(*name)
    if customer is not None:
        return definitions.subscriptions_of_customer(customer, newest_first=True)
    return definitions.subscription_index.of_customer_name(name)


def subscriptions_of(call: Call, external_id: str) -> list[Subscription]:
    """Return the subscriptions that share an external id, each as it is now, newest first."""
    found = call.meter.definitions.subscriptions(call.organization_id, external_id)
    now = [versions.at() for versions in found]
    return sorted((s for s in now if s is not None), key=lambda s: (-s.started_at_ms, s.id))


def _one(call: Call, statuses: Iterable[str]) -> Subscription:
    now_ms = call.now_ms
    for subscription in subscriptions_of(call, call.parameters["external_id"]):
        if subscription.status_at(now_ms) in statuses:
            return subscription
    raise not_found(_ROOT)


async def lifetime_usage(call: Call) -> Any:
    """Return lifetime usage across plan changes; its amounts are money, so they are zeros here."""
    found = subscriptions_of(call, call.parameters["external_id"])
    if not found:
        raise not_found("lifetime_usage")
    newest = found[0]
    return {
        "lifetime_usage": {
            "lago_id": str(uuid.uuid5(uuid.UUID(newest.id), "lifetime_usage")),
            "lago_subscription_id": newest.id,
            "external_subscription_id": newest.external_id,
            "external_historical_usage_amount_cents": 0,
            "invoiced_usage_amount_cents": 0,
            "current_usage_amount_cents": 0,
            "from_datetime": iso_seconds(min(s.subscription_at_ms for s in found)),
            "to_datetime": iso_seconds(call.now_ms),
            "usage_thresholds": [],
        }
    }
