"""Webhook endpoints: by organization and id."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from app.definitions.indexes.index import Index
from app.definitions.model import WebhookEndpoint


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
