"""Organizations by id, with their customers and their webhook endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, TypeAlias

from app.definitions.indexes.forms import CustomerForm
from app.definitions.indexes.groups import Groups
from app.definitions.indexes.index import CodeKey, Index, push
from app.definitions.indexes.packed import PackedVersions, with_numbers
from app.definitions.indexes.places import Places
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


OwnTerms: TypeAlias = tuple[str | None, int | None]
"""Timezone and grace of a customer, each its own or None."""
NOTHING_OF_ITS_OWN: Final[OwnTerms] = (None, None)
_name_of: Callable[[Customer], CodeKey] = attrgetter("organization_id", "external_id")


class Apart(Index):
    """Keys of some among very many, by their hashes: one more is only looked at in vain."""

    def __init__(self) -> None:
        self._places = Places()
        self._has_any = False

    def add(self, key: CodeKey) -> None:
        """Have a key looked at."""
        self._has_any = True
        if not self.has(key):
            self._places.add(hash(key), 0)

    def has(self, key: CodeKey) -> bool:
        """Return whether a key is to be looked at."""
        return self._has_any and self._places.find(hash(key)) != ()

    def copy(self) -> Apart:
        """Return none: nobody asks in a branch, where it is not known who was packed."""
        return Apart()


@dataclass(init=False)
class CustomerIndex(Index):
    """Customers, deleted ones too: one made anew follows under the same key."""

    versions: MutableMapping[CodeKey, Versions[Customer]]
    live: Groups[CodeKey, Customer]
    """Customers that are not deleted, by organization."""

    def __init__(self, keep: Keep) -> None:
        packed = PackedVersions(CustomerForm(), _name_of, keep)
        self.versions, self.live = packed, Groups(packed)
        self._apart = Apart()
        """Customers that changed, or have a timezone or a grace of their own."""

    def numbered(self, number: int) -> Customer:
        """Return the customer that has a number; a deleted one as it last was. Not of a branch."""
        one: Customer | None = with_numbers(self.versions).numbered(number).last_before_deletion()
        if one is None:
            raise LookupError("what has a number was there once")
        return one

    def own_terms(self, name: CodeKey) -> OwnTerms | None:
        """Return what is its own of a customer that never changed.

        None: it did, or it cannot be told in a branch. Nothing is kept at hand.
        """
        versions = self.versions
        if not isinstance(versions, PackedVersions):
            return None
        if not self._apart.has(name):
            return NOTHING_OF_ITS_OWN
        one = versions.single_of(name)
        return None if one is None else (one.timezone, one.grace_days)

    def commit(self, customer: Customer, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        name = _name_of(customer)
        is_new = push(self.versions, name, now_ms, offset, customer) is None
        if is_new:
            self.live.add(customer.organization_id, name, self.live.number_of(name))
        if not is_new or (customer.timezone, customer.grace_days) != NOTHING_OF_ITS_OWN:
            self._apart.add(name)

    def commit_deletion(self, customer: Customer, now_ms: int, offset: int) -> None:
        """End a customer."""
        name = _name_of(customer)
        versions = self.versions[name]
        versions.push(now_ms, offset, None)
        self.versions[name] = versions
        self._apart.add(name)
        self.live.discard(customer.organization_id, name)


@dataclass
class WebhookEndpoints(Index):
    """Endpoints as they are now: no figure hangs on them, so nobody looks at earlier ones."""

    by_organization: MutableMapping[str, dict[str, WebhookEndpoint]] = field(default_factory=dict)
    """Endpoints by id, in the order in which they were made."""

    def of(self, organization_id: str) -> Mapping[str, WebhookEndpoint]:
        """Return the endpoints of an organization by id, oldest first."""
        return self.by_organization.get(organization_id, {})

    def wanting(self, organization_id: str, webhook_type: str) -> list[WebhookEndpoint]:
        """Return the endpoints of an organization that are to be told of a type, oldest first."""
        return [each for each in self.of(organization_id).values() if each.wants(webhook_type)]

    def commit(self, endpoint: WebhookEndpoint) -> None:
        """Take a new or changed one over."""
        self.by_organization.setdefault(endpoint.organization_id, {})[endpoint.id] = endpoint

    def commit_deletion(self, endpoint: WebhookEndpoint) -> None:
        """Forget one."""
        self.by_organization[endpoint.organization_id].pop(endpoint.id, None)
