"""The organization of a key, and its one billing entity (metering-semantics §7.4)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from app.api.answering.call import Call
from app.api.http.errors import not_found
from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.model import DEFAULT_TIMEZONE, Customer, Metric, Organization, Plan
from app.definitions.shapes import ORGANIZATION_TEXT_KEYS

Json = dict[str, Any]

ENTITY_CODE: Final = "default"
"""Code of the one billing entity."""
_GRACE: Final = "invoice_grace_period"


async def show(call: Call) -> Any:
    """Answer the organization of the request's key."""
    return {"organization": _organization(call)}


async def update(call: Call) -> Any:
    """Change the organization, and so its billing entity."""
    await _define(call, await call.root("organization"))
    return {"organization": _organization(call)}


async def billing_entities(call: Call) -> Any:
    """Answer all billing entities: one."""
    return {"billing_entities": [_billing_entity(call)]}


async def billing_entity(call: Call) -> Any:
    """Answer the billing entity that the path names. Raises 404."""
    _require_known(call)
    return {"billing_entity": _billing_entity(call)}


async def update_billing_entity(call: Call) -> Any:
    """Change the billing entity, and so the organization. Raises 404."""
    _require_known(call)
    body = await call.root("billing_entity")
    configuration = body.get("billing_configuration", {})
    if _GRACE in body and isinstance(configuration, Mapping):
        body["billing_configuration"] = {_GRACE: body[_GRACE], **configuration}
    await _define(call, body)
    return {"billing_entity": _billing_entity(call)}


async def _define(call: Call, body: Json) -> None:
    await call.define(commands.update_organization(call.organization_id, body))


def _require_known(call: Call) -> None:
    if call.parameters["code"] != ENTITY_CODE:
        raise not_found("billing_entity")


def _organization(call: Call) -> Json:
    organization_id = call.organization_id
    organization = call.meter.definitions.organization(organization_id)
    attributes = {} if organization is None else organization.attributes
    endpoints = call.meter.definitions.webhook_endpoints.of(organization_id).values()
    webhook_urls = [endpoint.webhook_url for endpoint in endpoints]
    return {
        "lago_id": organization_id,
        "name": organization_id,
        "created_at": _created_at(call),
        "timezone": DEFAULT_TIMEZONE if organization is None else organization.timezone,
        "default_currency": attributes.get("default_currency") or "USD",
        "billing_configuration": {
            _GRACE: None if organization is None else organization.grace_days,
            "invoice_footer": attributes.get("invoice_footer"),
            "document_locale": attributes.get("document_locale") or "en",
        },
        "webhook_url": next(iter(webhook_urls), None),
        "webhook_urls": webhook_urls,
        **{key: attributes.get(key) for key in ORGANIZATION_TEXT_KEYS},
        "net_payment_term": attributes.get("net_payment_term") or 0,
    }


def _billing_entity(call: Call) -> Json:
    shown = _organization(call)
    organization = call.meter.definitions.organization(call.organization_id)
    return {
        **shown,
        "code": ENTITY_CODE,
        "updated_at": shown["created_at"]
        if organization is None
        else iso_seconds(organization.updated_at_ms),
        "is_default": True,
        **shown["billing_configuration"],
    }


def _created_at(call: Call) -> str:
    """Return when the oldest of what it has was made; of one that has nothing, when the log was."""
    definitions, organization_id = call.meter.definitions, call.organization_id
    # Of each kind the oldest: there may be a million customers.
    customers = definitions.customers(organization_id, newest_first=False)
    made: list[Customer | Metric | Plan | Organization] = [*islice(customers, 1)]
    made += definitions.metrics(organization_id)[-1:]
    made += definitions.plans(organization_id)[-1:]
    if (organization := definitions.organization(organization_id)) is not None:
        made.append(organization)
    began_ms = max(definitions.first_time_from(0), 0)
    return iso_seconds(min((each.created_at_ms for each in made), default=began_ms))
