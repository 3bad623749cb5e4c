"""Headers of what is published: CloudEvents attributes in binary mode."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

Header = tuple[str, bytes]


def headers_of(identity: str, kind: str, about: Iterable[Header]) -> list[Header]:
    """Return all headers of a record, in their order."""
    return [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        _type(kind),
        *about,
    ]


# There are few, and very many records have each.
@lru_cache(64)
def _type(kind: str) -> Header:
    return "ce_type", kind.encode()
