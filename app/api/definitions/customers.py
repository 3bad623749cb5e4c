"""Customers (metering-semantics §7.2)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.api.answering.call import Call
from app.api.definitions.definitions_json import customer_json
from app.api.definitions.selections import (
    check_billing_entities,
    check_billing_entity,
    customer_tests,
)
from app.api.http.errors import not_found
from app.definitions import commands
from app.definitions.model import Customer

_ROOT = "customer"


def _json(call: Call, customer: Customer) -> dict[str, Any]:
    return customer_json(call.meter.definitions, customer)


def _root(call: Call, customer: Customer) -> dict[str, Any]:
    return {_ROOT: _json(call, customer)}


async def upsert(call: Call) -> Any:
    body = await call.root(_ROOT)
    check_billing_entity(body)
    command = commands.upsert_customer(call.organization_id, body)
    return _root(call, await call.define(command))


async def delete(call: Call) -> Any:
    command = commands.delete_customer(call.organization_id, call.parameters["external_id"])
    return _root(call, await call.define(command))


async def show(call: Call) -> Any:
    external_id = call.parameters["external_id"]
    customer = call.meter.definitions.customer(call.organization_id, external_id)
    if customer is None:
        raise not_found(_ROOT)
    return _root(call, customer)


async def index(call: Call) -> Any:
    definitions, external_id = call.meter.definitions, call.query.text("external_id")
    check_billing_entities(call.query)
    tests = customer_tests(definitions, call.query)
    if external_id is None and not tests:
        # How many there are is known, so nobody is looked at who is on no page.
        index, count = definitions.customer_index, definitions.customers_count(call.organization_id)
        numbers = index.live.numbers(call.organization_id)
        return await call.numbered(
            "customers", (numbers,), lambda number: _json(call, index.numbered(number)), count
        )
    customers: Iterable[Customer | None] = (
        definitions.customers(call.organization_id)
        if external_id is None
        else [definitions.customer(call.organization_id, external_id)]
    )
    found = (
        customer if customer is not None and all(test(customer) for test in tests) else None
        for customer in customers
    )
    return await call.listing("customers", found, lambda customer: _json(call, customer))
