"""Grants: permissions for raw records of certain bytes to correct or to admit (bounded-work §4).

If producers may not correct or admit, a correction or `meter-admit` needs a grant record. Its
header names the offset of an earlier grant record for the same bytes. The same bytes may come
again: a correction counts once, and an event admitted again is a duplicate.
"""

from __future__ import annotations

from app.definitions.command import Command
from app.definitions.decision import Decision, MalformedPayload, payload_text
from app.definitions.indexes.grants import DIGEST_BYTES
from app.definitions.model import Grant
from app.definitions.state import Definitions


def grant(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Keep the digest; nothing is folded again, for what it is for comes later."""
    try:
        digest = bytes.fromhex(payload_text(command, "sha256"))
    except ValueError as error:
        raise MalformedPayload("sha256 is not hexadecimal") from error
    if len(digest) != DIGEST_BYTES:
        raise MalformedPayload("sha256 has 32 bytes")
    one = Grant(digest)
    return Decision(one, None, (one,))
