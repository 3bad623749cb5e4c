"""Organizations by id, with their customers and their webhook endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from operator import attrgetter

from app.definitions.indexes.forms import CustomerForm
from app.definitions.indexes.groups import Groups
from app.definitions.indexes.index import CodeKey, Index, push
from app.definitions.indexes.packed import PackedVersions
from app.definitions.indexes.rows import Keep
from app.definitions.model import Customer, Organization, WebhookEndpoint
from app.definitions.versions import Versions


@dataclass
class OrganizationIndex(Index):
    """Organizations that said anything of themselves."""

    versions: MutableMapping[str, Versions[Organization]] = field(default_factory=dict)

    def commit(self, organization: Organization, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        push(self.versions, organization.id, now_ms, offset, organization)


_name_of: Callable[[Customer], CodeKey] = attrgetter("organization_id", "external_id")


@dataclass(init=False)
class CustomerIndex(Index):
    """Customers, deleted ones too: one made anew follows under the same key."""

    versions: MutableMapping[CodeKey, Versions[Customer]]
    live: Groups[CodeKey, Customer]
    """Customers that are not deleted, by organization."""

    def __init__(self, keep: Keep = bytes) -> None:
        packed = PackedVersions(CustomerForm(), _name_of, keep)
        self.versions, self.live = packed, Groups(packed)

    def commit(self, customer: Customer, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        name = _name_of(customer)
        if push(self.versions, name, now_ms, offset, customer) is None:
            self.live.add(customer.organization_id, name, self.live.number_of(name))

    def commit_deletion(self, customer: Customer, now_ms: int, offset: int) -> None:
        """End a customer."""
        name = _name_of(customer)
        versions = self.versions[name]
        versions.push(now_ms, offset, None)
        self.versions[name] = versions
        self.live.discard(customer.organization_id, name)


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
