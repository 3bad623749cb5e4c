"""Webhook endpoints, and the public key that what is sent to them is verified with."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call, Reply
from app.api.http.errors import not_found
from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.model import WebhookEndpoint

_ROOT = "webhook_endpoint"


def _json(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "lago_id": endpoint.id,
        "lago_organization_id": endpoint.organization_id,
        "webhook_url": endpoint.webhook_url,
        "signature_algo": endpoint.signature_algo,
        "name": endpoint.name,
        "event_types": endpoint.event_types,
        "created_at": iso_seconds(endpoint.created_at_ms),
    }


async def create(call: Call) -> Any:
    command = commands.create_webhook_endpoint(call.organization_id, await call.root(_ROOT))
    return {_ROOT: _json(await call.define(command))}


async def update(call: Call) -> Any:
    command = commands.update_webhook_endpoint(
        call.organization_id, call.parameters["lago_id"], await call.root(_ROOT)
    )
    return {_ROOT: _json(await call.define(command))}


async def delete(call: Call) -> Any:
    command = commands.delete_webhook_endpoint(call.organization_id, call.parameters["lago_id"])
    return {_ROOT: _json(await call.define(command))}


async def show(call: Call) -> Any:
    known = call.meter.definitions.webhook_endpoints.of(call.organization_id)
    endpoint = known.get(call.parameters["lago_id"])
    if endpoint is None:
        raise not_found(_ROOT)
    return {_ROOT: _json(endpoint)}


async def index(call: Call) -> Any:
    known = call.meter.definitions.webhook_endpoints.of(call.organization_id).values()
    listed = sorted(known, key=lambda one: (one.webhook_url, -one.created_at_ms, one.id))
    return await call.listing("webhook_endpoints", listed, _json)


async def json_public_key(call: Call) -> Any:
    """Answer the public key as JSON. Raises 404 where no key is set."""
    return {"webhook": {"public_key": _public_key(call)}}


async def public_key(call: Call) -> Any:
    """Answer the public key as text. Raises 404 where no key is set."""
    return Reply(_public_key(call).encode(), content_type="text/plain; charset=utf-8")


def _public_key(call: Call) -> str:
    key = call.api.webhook_public_key
    if key is None:
        raise not_found("public_key")
    return key
