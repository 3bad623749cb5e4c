"""Match a raw record with a grant by its exact bytes (bounded-work §4)."""

from __future__ import annotations

from hashlib import sha256

from app.definitions.judging import Judging, granted_offset
from app.wire.decode import Headers, deciding_headers


def digest_of(value: bytes | None, headers: Headers) -> bytes:
    """Return the SHA-256 of a raw record's value and of the headers that decide its event."""
    digest = sha256()
    for name, text in deciding_headers(headers):
        digest.update(b"%d:%s%d:%s" % (len(name.encode()), name.encode(), len(text), text))
    digest.update(b"\n")
    digest.update(value or b"")
    return digest.digest()


def is_granted(
    value: bytes | None, headers: Headers, append_time_ms: int, judging: Judging
) -> bool:
    """Return True if a grant that was appended earlier covers a raw record."""
    offset = granted_offset(headers)
    if offset is None:
        return False
    return judging.grants.covers(offset, digest_of(value, headers), append_time_ms)
