"""Endpoints of webhooks: where an organization is told, and the key that proves by whom."""

from __future__ import annotations

from app.api import webhook_endpoints
from app.api.endpoints.parameters import PAGE, V1
from app.api.router import Endpoint
from app.api.schemas import webhooks as schemas

_ALL = f"{V1}/webhook_endpoints"
_ONE = f"{_ALL}/{{lago_id}}"

WEBHOOKS = (
    Endpoint(
        "POST",
        _ALL,
        webhook_endpoints.create,
        "webhook_endpoint",
        "Add a URL that `meter webhooks` sends to.",
        request=schemas.WebhookEndpointBody,
        response=schemas.WebhookEndpointAnswer,
        errors=(422,),
    ),
    Endpoint(
        "GET",
        _ALL,
        webhook_endpoints.index,
        "webhook_endpoint",
        "List webhook endpoints, newest first.",
        response=schemas.WebhookEndpointList,
        query=PAGE,
    ),
    *(
        Endpoint(
            method,
            _ONE,
            webhook_endpoints.update,
            "webhook_endpoint",
            "Change a webhook endpoint; absent keys stay as they are.",
            request=schemas.WebhookEndpointBody,
            response=schemas.WebhookEndpointAnswer,
            errors=(404, 422),
        )
        for method in ("PUT", "PATCH")
    ),
    Endpoint(
        "GET",
        _ONE,
        webhook_endpoints.show,
        "webhook_endpoint",
        "Show a webhook endpoint.",
        response=schemas.WebhookEndpointAnswer,
        errors=(404,),
    ),
    Endpoint(
        "DELETE",
        _ONE,
        webhook_endpoints.delete,
        "webhook_endpoint",
        "Delete a webhook endpoint.",
        response=schemas.WebhookEndpointAnswer,
        errors=(404,),
    ),
    Endpoint(
        "GET",
        f"{V1}/webhooks/json_public_key",
        webhook_endpoints.json_public_key,
        "webhook",
        "Show the public key that verifies signatures of the algorithm jwt.",
        response=schemas.PublicKeyAnswer,
        errors=(404,),
    ),
)

PUBLIC_KEY_TEXT = (
    Endpoint(
        "GET",
        f"{V1}/webhooks/public_key",
        webhook_endpoints.public_key,
        "webhook",
        "The same key as text.",
    ),
)
"""Its answer is no JSON, which `/openapi.json` describes alone."""
