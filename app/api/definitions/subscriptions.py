"""Subscriptions (metering-semantics §7.3) and their lifetime usage."""

from __future__ import annotations

import uuid
from functools import reduce
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from app.api.answering.call import Call
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
from app.definitions.model import Subscription, SubscriptionStatus

_ROOT = "subscription"
_STATUSES = get_args(SubscriptionStatus)
_KNOWN_STATUSES = (*_STATUSES, "incomplete")
"""The last is one that Lago knows, and nobody has here."""
_DEFAULT_STATUSES = ("active",)
_NOBODY = np.array([], np.uint32)


def _json(call: Call, subscription: Subscription) -> dict[str, Any]:
    return subscription_json(call.meter.definitions, subscription, call.now_ms)


def _root(call: Call, subscription: Subscription) -> dict[str, Any]:
    return {_ROOT: _json(call, subscription)}


async def create(call: Call) -> Any:
    body = await call.root(_ROOT)
    check_billing_entity(body)
    command = commands.create_subscription(call.organization_id, body)
    return _root(call, await call.define(command))


async def update(call: Call) -> Any:
    command = commands.update_subscription(
        call.organization_id,
        call.parameters["external_id"],
        await call.root(_ROOT),
        call.query.text("status"),
    )
    return _root(call, await call.define(command))


async def terminate(call: Call) -> Any:
    command = commands.terminate_subscription(
        call.organization_id,
        call.parameters["external_id"],
        call.query.text("status"),
        call.query.text("on_termination_invoice"),
    )
    return _root(call, await call.define(command))


async def show(call: Call) -> Any:
    return _root(call, _one(call, "status"))


async def update_charge(call: Call) -> Any:
    command = commands.update_subscription_charge(_named(call), await call.root("charge"))
    return {"charge": charge_json(call.meter.definitions, await call.define(command))}


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
    return {"filter": filter_json(*await call.define(command))}


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
    """List subscriptions by their numbers: objects are made of few."""
    check_billing_entities(call.query)
    definitions, organization_id = call.meter.definitions, call.organization_id
    index, statuses = definitions.subscription_index, set(_listed_statuses(call))
    search = (call.query.text("search") or "").strip().casefold()
    numbers, tests = _candidates(call, external_customer_id, plan_tests(call.query))
    is_whole = len(numbers) == definitions.subscriptions_count(organization_id)

    def passing(some: NDArray[np.uint32]) -> NDArray[np.uint32]:
        ones = map(index.numbered, some.tolist())
        return some[[_has(one, search) and passes(definitions, one.plan_id, tests) for one in ones]]

    blocks = index.of_status(numbers, statuses, call.now_ms, definitions.append_time_ms)
    total_count = None
    if tests or search:
        blocks = map(passing, blocks)
    elif statuses == set(_STATUSES):
        total_count = len(numbers)
    elif statuses == {"active"} and is_whole:
        total_count = definitions.active_count(organization_id, call.now_ms)
    return await call.numbered(
        "subscriptions", blocks, lambda number: _json(call, index.numbered(number)), total_count
    )


def _has(subscription: Subscription, search: str) -> bool:
    """Return whether an id or the name has what is searched for, in any case."""
    one = subscription
    texts = (one.external_id, one.external_customer_id, one.name or "")
    return not search or any(search in text.casefold() for text in texts)


def _candidates(
    call: Call, external_customer_id: str | None, tests: list[PlanTest]
) -> tuple[NDArray[np.uint32], list[PlanTest]]:
    """Return numbers of those that may be listed, newest first, and what is to be tested of each.

    Of a deleted customer they are all that ever were of its name.
    """
    definitions, organization_id = call.meter.definitions, call.organization_id
    index, found = definitions.subscription_index, list[NDArray[np.uint32]]()
    external_id, plan_code = call.query.text("external_id"), call.query.text("plan_code")
    if external_id is not None:
        found.append(index.by_external_id.numbers((organization_id, external_id)))
    if external_customer_id is not None:
        name = organization_id, external_customer_id
        # An external id may lead to one of a customer that was deleted.
        is_any = external_id is not None or definitions.customer(*name) is None
        numbers_of = index.by_customer.numbers if is_any else index.numbers_of_customer
        found.append(numbers_of(name))
    if plan_code is not None:
        plans = definitions.plan_index
        plan_ids = plans.held(organization_id, plan_code)
        if not any(each in plans.children for each in plan_ids):
            # Whoever is counted for one of them is on it, not on a child.
            plan_ids = [each for each in plan_ids if passes(definitions, each, tests)]
            tests = []
        on_plans = np.concatenate([_NOBODY, *map(index.by_plan.numbers, plan_ids)])
        # Nearly in order, which a stable sort makes use of.
        found.append(np.sort(on_plans, kind="stable")[::-1])
    if not found:
        found.append(index.by_organization.numbers(organization_id))
    return reduce(lambda some, others: some[np.isin(some, others)], found), tests


def subscription_asked_for(call: Call) -> Subscription:
    """Return the subscription that path and `subscription_status` name. Raises 404."""
    name = "subscription_status" if call.query.texts("subscription_status") else "status"
    return _one(call, name)


def _listed_statuses(call: Call) -> tuple[str, ...]:
    """Return the statuses to list; `active` where the query names none that there is.

    All where `status[]` names one that is none, as in Lago.
    """
    if not set(call.query.texts("status", bare=False)).issubset(_KNOWN_STATUSES):
        return _STATUSES
    named = tuple(status for status in call.query.texts("status") if status in _STATUSES)
    return named or _DEFAULT_STATUSES


def subscriptions_of(call: Call, external_id: str) -> list[Subscription]:
    """Return the subscriptions that share an external id, each as it is now, newest first."""
    found = call.meter.definitions.subscriptions(call.organization_id, external_id)
    now = [versions.at() for versions in found]
    return sorted((s for s in now if s is not None), key=lambda s: (-s.started_at_ms, s.id))


def _one(call: Call, parameter: str) -> Subscription:
    """Return the newest of the statuses that the query names, or the active one. Raises 404."""
    statuses, now_ms = call.query.texts(parameter) or _DEFAULT_STATUSES, call.now_ms
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
