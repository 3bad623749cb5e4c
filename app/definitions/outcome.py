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


class Rejection(Exception):
    """Whoever decides a record finds that it changes nothing."""

    def __init__(self, outcome: Rejected):
        super().__init__(outcome.code)
        self.outcome = outcome


class Impact(msgspec.Struct, frozen=True):
    """Filters that describe which usage a definition may change; they list no subscriptions."""

    organization_id: str | None
    """None: every organization (a settings record)."""
    external_subscription_id: str | None = None
    """External id of one subscription; None: any that the other fields allow."""
    codes: frozenset[str] | None = None
    """Codes of metrics; None: any."""
    plan_id: str | None = None
    """Only subscriptions that the plan has or had."""
    with_children: bool = False
    """Also those of child plans of the plan."""
    external_customer_id: str | None = None
    """Only subscriptions that the customer has or had."""
    of_settings: bool = False
    """Whether it is of a settings record, not of definitions that are forgotten one by one."""

    @property
    def of_all(self) -> bool:
        """Whether it concerns all usage of the codes, with a subscription or without one."""
        named = (self.external_subscription_id, self.plan_id, self.external_customer_id)
        return not any(named)

    @property
    def moves_cuts(self) -> bool:
        """Whether a cut may be due at another time; a metric, charge or filter never moves one."""
        return self.codes is None


class Applied(msgspec.Struct, frozen=True):
    """The record took effect."""

    kind: str
    """The command's type."""
    object: Any
    """The object of `app.definitions.model` it made or changed; of a deletion, the last version."""
    impact: Impact | None
    """None: nothing that shapes usage changed."""


def invalid(details: Mapping[str, list[str]]) -> Rejected:
    """Return a 422 with error codes by field."""
    return Rejected(422, "validation_errors", details)


def too_large(limit_bytes: int) -> Rejected:
    """Return a 413 that names the limit in bytes."""
    return Rejected(413, "too_large", {"definition": [f"limit_is_{limit_bytes}_bytes"]})


def cannot_be_applied() -> Rejected:
    """Return the 422 for a record that no worker can apply, because of a fault in this program."""
    return invalid({"base": ["cannot_be_applied"]})


def not_found(resource: str) -> Rejected:
    """Return a 404 `<resource>_not_found`."""
    return Rejected(404, f"{resource}_not_found")
