"""Charges of a plan and their filters, one at a time (metering-semantics §7.1).

They are shown under the path of a subscription too: those of its plan.
"""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call
from app.api.definitions.definitions_json import charge_json, filter_json
from app.api.definitions.subscriptions import subscription_asked_for
from app.api.http.errors import not_found
from app.definitions import commands
from app.definitions.model import Charge, ChargeFilter, Plan

Json = dict[str, Any]


async def create(call: Call) -> Any:
    body = await call.root("charge")
    command = commands.create_charge(call.organization_id, call.parameters["code"], body)
    return _shown(call, await call.define(command))


async def update(call: Call) -> Any:
    body = await call.root("charge")
    return _shown(call, await call.define(commands.update_charge(*_names(call), body)))


async def delete(call: Call) -> Any:
    body = await _body_of_deletion(call, "charge")
    return _shown(call, await call.define(commands.delete_charge(*_names(call), body)))


async def show(call: Call) -> Any:
    return _shown(call, _charge(call))


async def index(call: Call) -> Any:
    """List the charges of a plan, the newest first."""
    charges = sorted(_plan(call).charges, key=lambda charge: -charge.number)
    definitions = call.meter.definitions
    return await call.listing("charges", charges, lambda each: charge_json(definitions, each))


async def create_filter(call: Call) -> Any:
    command = commands.create_charge_filter(*_names(call), await call.root("filter"))
    return _shown_filter(await call.define(command), command.payload["filter"]["new_id"])


async def update_filter(call: Call) -> Any:
    body, filter_id = await call.root("filter"), call.parameters["id"]
    command = commands.update_charge_filter(*_names(call), filter_id, body)
    return _shown_filter(await call.define(command), filter_id)


async def delete_filter(call: Call) -> Any:
    filter_id, body = call.parameters["id"], await _body_of_deletion(call, "filter")
    command = commands.delete_charge_filter(*_names(call), filter_id, body)
    return _shown_filter(await call.define(command), filter_id)


async def show_filter(call: Call) -> Any:
    return _shown_filter(_charge(call), call.parameters["id"])


async def index_filters(call: Call) -> Any:
    """List the filters of a charge, the oldest first: events go to the oldest that matches."""
    charge = _charge(call)
    return await call.listing("filters", charge.filters, lambda each: filter_json(charge, each))


async def _body_of_deletion(call: Call, root: str) -> object:
    """Return what stands under the root of a body, which a deletion need not have."""
    value = await call.json()
    return value.get(root) if isinstance(value, dict) else None


def _shown(call: Call, charge: Charge) -> Json:
    return {"charge": charge_json(call.meter.definitions, charge)}


def _shown_filter(charge: Charge, filter_id: str) -> Json:
    return {"filter": filter_json(charge, _filter(charge, filter_id))}


def _names(call: Call) -> tuple[str, str, str]:
    return call.organization_id, call.parameters["code"], call.parameters["charge_code"]


def _plan(call: Call) -> Plan:
    """Return the plan that the path names, or that of the subscription. Raises 404."""
    definitions = call.meter.definitions
    if "external_id" in call.parameters:
        plan = definitions.plan_by_id(subscription_asked_for(call).plan_id)
    else:
        plan = definitions.plan(call.organization_id, call.parameters["code"])
    if plan is None:
        raise not_found("plan")
    return plan


def _charge(call: Call) -> Charge:
    code = call.parameters["charge_code"]
    for charge in _plan(call).charges:
        if charge.code == code:
            return charge
    raise not_found("charge")


def _filter(charge: Charge, filter_id: str) -> ChargeFilter:
    for charge_filter in charge.filters:
        if charge_filter.id == filter_id:
            return charge_filter
    raise not_found("charge_filter")
