"""Messages: what is told, whoever is told it, and what identifies it for each endpoint."""

from __future__ import annotations

from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from app.api.http import json_text

_NAMESPACE: Final = uuid5(NAMESPACE_URL, "meterstream:webhooks")


class Message(msgspec.Struct, frozen=True):
    """One thing that happened, as an organization is told it."""

    organization_id: str
    webhook_type: str
    id: str
    """Id of the message or of the definition record that it comes from."""
    lane: str
    """Messages of one lane go to an endpoint in their order; a subscription is one."""
    body: bytes

    def unique_key(self, endpoint_id: str) -> str:
        """Return the key that is the same in every attempt and after every restart."""
        return str(uuid5(_NAMESPACE, f"{self.webhook_type}:{self.id}:{endpoint_id}"))


def body_of(organization_id: str, webhook_type: str, object_type: str, shown: Any) -> bytes:
    """Return the body that tells of an object."""
    return json_text.encode(
        {
            "webhook_type": webhook_type,
            "object_type": object_type,
            "organization_id": organization_id,
            object_type: shown,
        }
    )
