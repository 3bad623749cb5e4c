"""Grants: what a worker was asked to correct or to admit by whoever may (bounded-work §4).

Where producers may not, a correction or `meter-admit` counts only with the offset of a grant record
in its header, of the same bytes and appended before. Those bytes may then come again: a correction
counts once, and what is admitted again is a duplicate.
"""

from __future__ import annotations

from app.definitions.commands import Command
from app.definitions.decision import Decision, MalformedPayload, payload_text
from app.definitions.indexes.grants import DIGEST_BYTES
from app.definitions.model import Grant
from app.definitions.outcome import Rejected
from app.definitions.state import Definitions


def grant(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Nothing is folded again: what it is for comes later."""
    try:
        digest = bytes.fromhex(payload_text(command, "sha256"))
    except ValueError as error:
        raise MalformedPayload("sha256 is not hexadecimal") from error
    if len(digest) != DIGEST_BYTES:
        raise MalformedPayload("sha256 has 32 bytes")
    one = Grant(digest)
    return Decision(one, None, (one,))
