"""Grants by the offset of their record: 48 bytes each, for they are never forgotten."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from app.definitions.indexes.index import Index
from app.definitions.model import Grant

DIGEST_BYTES: Final = 32


@dataclass
class Grants(Index):
    """All grants, for raw records that come later to name."""

    _offsets: array[int] = field(default_factory=partial(array, "q"))
    _append_times_ms: array[int] = field(default_factory=partial(array, "q"))
    _digests: bytearray = field(default_factory=bytearray)
    _borrowed: bool = field(default=False, compare=False)
    """Another holds these arrays too: they are copied before anything is added."""

    def copy(self) -> Grants:
        """Return a copy that goes its own way; it costs nothing until it is given a grant."""
        branch = copy(self)
        branch._borrowed = True
        return branch

    def commit(self, grant: Grant, append_time_ms: int, offset: int) -> None:
        """Take the next one over."""
        if self._borrowed:
            self._offsets, self._append_times_ms = self._offsets[:], self._append_times_ms[:]
            self._digests, self._borrowed = self._digests[:], False
        self._offsets.append(offset)
        self._append_times_ms.append(append_time_ms)
        self._digests += grant.sha256

    def covers(self, offset: int, sha256: bytes, append_time_ms: int) -> bool:
        """Return whether the grant at an offset is of these bytes, and no later than they are."""
        i = bisect_left(self._offsets, offset)
        if i == len(self._offsets) or self._offsets[i] != offset:
            return False
        digest = self._digests[i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES]
        return digest == sha256 and self._append_times_ms[i] <= append_time_ms
