"""Organizations: what each says of itself, by its id."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from app.definitions.indexes.index import Index, push
from app.definitions.model import Organization
from app.definitions.versions import Versions


@dataclass
class OrganizationIndex(Index):
    """Organizations that said anything of themselves."""

    versions: MutableMapping[str, Versions[Organization]] = field(default_factory=dict)

    def commit(self, organization: Organization, now_ms: int, offset: int) -> None:
        """Take a new version over."""
        push(self.versions, organization.id, now_ms, offset, organization)
