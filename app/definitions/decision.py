"""What a command comes to before anything is changed: the new versions it would make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from app.definitions.command import Command
from app.definitions.model import (
    Alert,
    Customer,
    Grant,
    HistoryRecord,
    Lift,
    Metric,
    Organization,
    Plan,
    SetAside,
    SettingsRecord,
    Subscription,
    WebhookEndpoint,
)
from app.definitions.outcome import Impact


class Deletion(msgspec.Struct, frozen=True):
    """The object ends with this record; `object` is its last version."""

    object: Metric | Plan | Customer | WebhookEndpoint | Alert


Change: TypeAlias = (
    Metric
    | Plan
    | Customer
    | Organization
    | Subscription
    | SettingsRecord
    | HistoryRecord
    | SetAside
    | Lift
    | Grant
    | WebhookEndpoint
    | Alert
    | Deletion
)


class Decision(msgspec.Struct, frozen=True):
    """The accepted command's answer, and the changes that carry it out, in order."""

    object: Any
    impact: Impact | None
    changes: tuple[Change, ...]


class MalformedPayload(ValueError):
    """The record was not made by a command builder."""


def payload_text(command: Command, key: str) -> str:
    """Return a text that every command of this type has; raise MalformedPayload without it."""
    return _text_of(command.payload, key)


def new_object_id(body: Mapping[str, Any]) -> str:
    """Return the id that the builder made for a part of a body; raise MalformedPayload without."""
    return _text_of(body, "new_id")


def _text_of(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedPayload(f"{key} is not a text")
    return value


def payload_body(command: Command, key: str) -> Mapping[str, Any]:
    """Return the request body in the command; raise MalformedPayload when it is no object."""
    value = command.payload.get(key)
    if not isinstance(value, Mapping):
        raise MalformedPayload(f"{key} is not an object")
    return value
