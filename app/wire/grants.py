"""What a grant record is for: a raw record of certain bytes (bounded-work §4)."""

from __future__ import annotations

from hashlib import sha256

from app.definitions.judging import Judging, granted_offset
from app.wire.decode import Headers, deciding_headers


def digest_of(value: bytes | None, headers: Headers) -> bytes:
    """Of a raw record's value and of what else says which event it is."""
    digest = sha256()
    for name, text in deciding_headers(headers):
        digest.update(b"%d:%s%d:%s" % (len(name.encode()), name.encode(), len(text), text))
    digest.update(b"\n")
    digest.update(value or b"")
    return digest.digest()


def is_granted(
    value: bytes | None, headers: Headers, append_time_ms: int, judging: Judging
) -> bool:
    """Whether a grant that was appended before covers a raw record."""
    offset = granted_offset(headers)
    if offset is None:
        return False
    return judging.grants.covers(offset, digest_of(value, headers), append_time_ms)
