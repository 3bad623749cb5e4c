"""Members as Redis keeps them: with a check sum, so that an altered one is noticed."""

from __future__ import annotations

from typing import Final

from app.redis.errors import MembersLost
from tables.changelogged.checksum import record_hash
from tables.changelogged.members import MemberKey, member_changelog_key

SEAL_BYTES: Final = 4


def sealed_member(name: MemberKey, packed: bytes | None) -> tuple[MemberKey, bytes | None]:
    """Return a member as Redis keeps it: with a check sum of its name and its bytes."""
    return name, packed and seal(name, packed) + packed


def opened_member(number: int, name: MemberKey, kept: bytes | None) -> bytes | None:
    """Return the bytes of a kept member. Raises `MembersLost` if they are not what was written."""
    if kept is None:
        return None
    packed = kept[SEAL_BYTES:]
    if kept[:SEAL_BYTES] != seal(name, packed):
        raise MembersLost(f"a member of partition {number} is not what was written")
    return packed


def seal(name: MemberKey, packed: bytes) -> bytes:
    """Return the check sum that stands before a member in Redis."""
    return record_hash(member_changelog_key(name), packed).to_bytes(8, "big")[:SEAL_BYTES]
