"""Customers: by organization and external id."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from app.definitions.indexes.index import CodeKey, Index, push
from app.definitions.model import Customer
from app.definitions.versions import Versions


@dataclass
class CustomerIndex(Index):
    """Customers, deleted ones too: one made anew follows under the same key."""

    versions: MutableMapping[CodeKey, Versions[Customer]] = field(default_factory=dict)
    live: MutableMapping[str, dict[str, None]] = field(default_factory=dict)
    """External ids of customers that are not deleted, by organization."""

    def commit(self, customer: Customer, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        organization_id, external_id = customer.organization_id, customer.external_id
        push(self.versions, (organization_id, external_id), now_ms, offset, customer)
        self.live.setdefault(organization_id, {})[external_id] = None

    def commit_deletion(self, customer: Customer, now_ms: int, offset: int) -> None:
        """End a customer."""
        organization_id, external_id = customer.organization_id, customer.external_id
        self.versions[organization_id, external_id].push(now_ms, offset, None)
        self.live[organization_id].pop(external_id, None)
