"""What applying a record of the definitions log comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Rejected(msgspec.Struct, frozen=True):
    """The record changes nothing; the answer to who sent it (metering-semantics §0.3)."""

    status: int
    """403, 404, 413 or 422."""
    code: str
    """`validation_errors`, `plan_not_found`, …"""
    details: Mapping[str, list[str]] | None = None
    """Field to error codes, for `validation_errors`."""


class Touch(msgspec.Struct, frozen=True):
    """Which usage a definition may change."""

    organization_id: str | None
    """None: every organization (a settings record)."""
    external_subscription_ids: frozenset[str] | None = None
    """None: any subscription of the organization."""
    codes: frozenset[str] | None = None
    """Codes of metrics; None: any."""


class Applied(msgspec.Struct, frozen=True):
    """The record took effect."""

    kind: str
    """The command's type."""
    object: Any
    """The object of `app.definitions.model` it made or changed; of a deletion, the last version."""
    touch: Touch | None
    """None: nothing that shapes usage changed."""


def invalid(details: Mapping[str, list[str]]) -> Rejected:
    """422 with error codes by field."""
    return Rejected(422, "validation_errors", details)


def too_large(limit_bytes: int) -> Rejected:
    """413, with the limit as the API tells it."""
    return Rejected(413, "too_large", {"definition": [f"limit_is_{limit_bytes}_bytes"]})


def not_found(resource: str) -> Rejected:
    """404 `<resource>_not_found`."""
    return Rejected(404, f"{resource}_not_found")
