"""Organizations by id, with their customers and their webhook endpoints."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from app.definitions.indexes.index import CodeKey, Index, push
from app.definitions.model import Customer, Organization, WebhookEndpoint
from app.definitions.versions import Versions


@dataclass
class OrganizationIndex(Index):
    """Organizations that said anything of themselves."""

    versions: MutableMapping[str, Versions[Organization]] = field(default_factory=dict)

    def commit(self, organization: Organization, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        push(self.versions, organization.id, now_ms, offset, organization)


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


@dataclass
class WebhookEndpoints(Index):
    """Endpoints as they are now: no figure hangs on them, so nobody looks at earlier ones."""

    by_organization: MutableMapping[str, dict[str, WebhookEndpoint]] = field(default_factory=dict)
    """Endpoints by id, in the order in which they were made."""

    def of(self, organization_id: str) -> Mapping[str, WebhookEndpoint]:
        """Return the endpoints of an organization by id, oldest first."""
        return self.by_organization.get(organization_id, {})

    def commit(self, endpoint: WebhookEndpoint) -> None:
        """Take a new or changed one over."""
        self.by_organization.setdefault(endpoint.organization_id, {})[endpoint.id] = endpoint

    def commit_deletion(self, endpoint: WebhookEndpoint) -> None:
        """Forget one."""
        self.by_organization[endpoint.organization_id].pop(endpoint.id, None)
