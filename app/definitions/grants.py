"""Grants: what a worker was asked to correct or to admit by whoever may (bounded-work §4).

Where producers may not, a correction or `meter-admit` counts only with the offset of a grant record
in its header, of the same bytes and appended before. Those bytes may then come again: a correction
counts once, and what is admitted again is a duplicate.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from app.definitions.commands import Command
from app.definitions.decision import Decision, MalformedPayload, payload_text
from app.definitions.model import Grant
from app.definitions.outcome import Rejected

if TYPE_CHECKING:
    from app.definitions.state import Definitions

_DIGEST_BYTES: Final = 32


@dataclass
class Grants:
    """All grants by offset: 48 bytes each, for they are never forgotten."""

    _offsets: array[int] = field(default_factory=partial(array, "q"))
    _append_times_ms: array[int] = field(default_factory=partial(array, "q"))
    _digests: bytearray = field(default_factory=bytearray)

    def add(self, grant: Grant, append_time_ms: int, offset: int) -> None:
        """Take the next one over."""
        self._offsets.append(offset)
        self._append_times_ms.append(append_time_ms)
        self._digests += grant.sha256

    def covers(self, offset: int, sha256: bytes, append_time_ms: int) -> bool:
        """Whether the grant at an offset is of these bytes, and no later than they are."""
        i = bisect_left(self._offsets, offset)
        if i == len(self._offsets) or self._offsets[i] != offset:
            return False
        digest = self._digests[i * _DIGEST_BYTES : (i + 1) * _DIGEST_BYTES]
        return digest == sha256 and self._append_times_ms[i] <= append_time_ms


def grant(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Nothing is folded again: what it is for comes later."""
    try:
        digest = bytes.fromhex(payload_text(command, "sha256"))
    except ValueError as error:
        raise MalformedPayload("sha256 is not hexadecimal") from error
    if len(digest) != _DIGEST_BYTES:
        raise MalformedPayload("sha256 has 32 bytes")
    one = Grant(digest)
    return Decision(one, None, (one,))
