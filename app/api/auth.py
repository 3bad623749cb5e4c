"""API keys: which organization a request speaks for, and what it may do."""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

from app.api.errors import forbidden, unauthorized
from app.settings import Access, ApiKey


@dataclass(frozen=True)
class Identity:
    """Who asks."""

    organization_id: str
    access: Access

    def require(self, method: str, resource: str) -> None:
        """403 unless this key may do it: GET reads, everything else writes."""
        if method not in ("GET", "HEAD") and self.access == "read":
            raise forbidden(f"write_action_not_allowed_for_{resource}")


class KeyRing:
    """All keys of this worker, as digests; every lookup compares with all of them."""

    def __init__(self, keys: Iterable[ApiKey]) -> None:
        self._identities = [
            (
                sha256(key.key.get_secret_value().encode()).digest(),
                Identity(key.organization_id, key.access),
            )
            for key in keys
        ]

    def identify(self, authorization: str | None) -> Identity:
        """The identity behind an Authorization header, else 401.

        Only the header's second word is looked at, so any scheme will do.
        """
        words = (authorization or "").split()
        found: Identity | None = None
        if len(words) >= 2:
            given = sha256(words[1].encode("utf-8", "surrogateescape")).digest()
            for digest, identity in self._identities:
                if hmac.compare_digest(digest, given):
                    found = identity
        if found is None:
            raise unauthorized()
        return found
