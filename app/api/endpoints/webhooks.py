"""Endpoints of webhooks: where an organization is told, and the key that proves by whom."""

from __future__ import annotations

from app.api.answering.router import Endpoint
from app.api.definitions import webhook_endpoints
from app.api.endpoints.parameters import V1
from app.api.endpoints.resource import Resource
from app.api.schemas import webhooks as schemas

_ALL = f"{V1}/webhook_endpoints"

_endpoint = Resource("webhook_endpoint", _ALL, "lago_id", schemas.WebhookEndpointAnswer)

WEBHOOKS = (
    _endpoint.create(
        webhook_endpoints.create,
        "Add a URL that `meter webhooks` sends to.",
        schemas.WebhookEndpointBody,
        errors=(422,),
    ),
    _endpoint.list(
        webhook_endpoints.index,
        "List webhook endpoints, by their URL.",
        schemas.WebhookEndpointList,
    ),
    *_endpoint.change(
        webhook_endpoints.update,
        "Change a webhook endpoint; absent keys stay as they are.",
        schemas.WebhookEndpointBody,
    ),
    _endpoint.show(webhook_endpoints.show, "Show a webhook endpoint."),
    _endpoint.delete(webhook_endpoints.delete, "Delete a webhook endpoint."),
    Endpoint(
        f"GET {V1}/webhooks/json_public_key",
        webhook_endpoints.json_public_key,
        "webhook",
        "Show the public key that verifies signatures of the algorithm jwt.",
        response=schemas.PublicKeyAnswer,
        errors=(404,),
    ),
)

PUBLIC_KEY_TEXT = (
    Endpoint(
        f"GET {V1}/webhooks/public_key",
        webhook_endpoints.public_key,
        "webhook",
        "The same key as text.",
    ),
)
"""Its answer is no JSON, which `/openapi.json` describes alone."""
