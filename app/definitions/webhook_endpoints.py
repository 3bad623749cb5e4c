"""Webhook endpoints: where an organization is told what happens (docs/WEBHOOKS.md).

No figure hangs on them. `meter webhooks` reads them from the log; the engine does nothing by them.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from app.definitions.command import Command
from app.definitions.decision import Decision, Deletion, payload_body, payload_text
from app.definitions.fields import MANDATORY, TAKEN, Fields, is_blank
from app.definitions.model import SIGNATURE_ALGORITHMS, WEBHOOK_TYPES, WebhookEndpoint
from app.definitions.outcome import Rejection, not_found
from app.definitions.state import Definitions

MOST: Final = 10
"""Endpoints of one organization."""
URL_INVALID: Final = "url_invalid"

_ALL: Final = "*"
_UNSENDABLE = re.compile(r"[\x00-\x20\x7f-\x9f\s]")


def create(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Make an endpoint."""
    base = WebhookEndpoint(
        id=payload_text(command, "id"),
        organization_id=command.organization_id,
        webhook_url="",
        created_at_ms=now_ms,
    )
    body = payload_body(command, "webhook_endpoint")
    fields = Fields({"webhook_url": None, **body})
    made = _described(definitions, fields, base)
    if len(definitions.webhook_endpoints.of(command.organization_id)) >= MOST:
        fields.fail("base", "exceeded_limit")
    return _decided(fields, made)


def update(definitions: Definitions, command: Command, _: int) -> Decision:
    """Change the given keys of an endpoint."""
    old = _found(definitions, command)
    fields = Fields(payload_body(command, "webhook_endpoint"))
    return _decided(fields, _described(definitions, fields, old))


def delete(definitions: Definitions, command: Command, _: int) -> Decision:
    """End an endpoint."""
    old = _found(definitions, command)
    return Decision(old, None, (Deletion(old),))


def with_first_url(
    definitions: Definitions, fields: Fields, command: Command, now_ms: int
) -> tuple[WebhookEndpoint, ...]:
    """Return the first endpoint with the `webhook_url` of an organization; nothing if it stays.

    Without any endpoint one is made, and a blank URL makes none.
    """
    known = definitions.webhook_endpoints.of(command.organization_id)
    first = next(iter(known.values()), None)
    if not fields.has("webhook_url") or (first is None and is_blank(fields.get("webhook_url"))):
        return ()
    base = first or WebhookEndpoint(
        id=payload_text(command, "webhook_endpoint_id"),
        organization_id=command.organization_id,
        webhook_url="",
        created_at_ms=now_ms,
    )
    changed = msgspec.structs.replace(base, webhook_url=_url(definitions, fields, base))
    return () if changed == first else (changed,)


def _found(definitions: Definitions, command: Command) -> WebhookEndpoint:
    identity = payload_text(command, "lago_id")
    found = definitions.webhook_endpoints.of(command.organization_id).get(identity)
    if found is None:
        raise Rejection(not_found("webhook_endpoint"))
    return found


def _decided(fields: Fields, made: WebhookEndpoint) -> Decision:
    fields.require_valid()
    return Decision(made, None, (made,))


def _described(
    definitions: Definitions, fields: Fields, endpoint: WebhookEndpoint
) -> WebhookEndpoint:
    changes: dict[str, Any] = {}
    if fields.has("webhook_url"):
        changes["webhook_url"] = _url(definitions, fields, endpoint)
    if fields.has("signature_algo"):
        changes["signature_algo"] = fields.choice("signature_algo", SIGNATURE_ALGORITHMS) or "jwt"
    if fields.has("name"):
        changes["name"] = fields.text("name")
    if fields.has("event_types"):
        changes["event_types"] = _event_types(fields)
    return msgspec.structs.replace(endpoint, **changes)


def _url(definitions: Definitions, fields: Fields, endpoint: WebhookEndpoint) -> str:
    value = fields.get("webhook_url")
    if is_blank(value):
        fields.fail("webhook_url", MANDATORY)
    if not isinstance(value, str) or not _is_url(value):
        fields.fail("webhook_url", URL_INVALID)
        return ""
    others = definitions.webhook_endpoints.of(endpoint.organization_id).values()
    if any(other.webhook_url == value and other.id != endpoint.id for other in others):
        fields.fail("webhook_url", TAKEN)
    return value


def _is_url(text: str) -> bool:
    """Return True for a URL of http or https with a host: nothing else is ever sent to."""
    try:
        parts = urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and _UNSENDABLE.search(text) is None
        )
    except ValueError:
        return False


def _event_types(fields: Fields) -> tuple[str, ...] | None:
    """Return the types that are wanted; None: all."""
    value = fields.get("event_types")
    if value is None or value == [_ALL]:
        return None
    if not isinstance(value, list):
        fields.fail("event_types", "must_be_array")
        return None
    if not all(isinstance(each, str) and each in WEBHOOK_TYPES for each in value):
        fields.fail("event_types", "invalid_types")
        return None
    return tuple(dict.fromkeys(value))
