"""The records of the log that are no ticks: where each lies, and when it was appended."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from functools import partial

from app.definitions.indexes.index import Index


@dataclass
class RecordIndex(Index):
    """Every command of the log that was looked at, refused ones too; no ticks."""

    times_ms: array[int] = field(default_factory=partial(array, "q"))
    offsets: array[int] = field(default_factory=partial(array, "q"))

    def commit(self, now_ms: int, offset: int) -> None:
        """Take the next one over."""
        self.times_ms.append(now_ms)
        self.offsets.append(offset)
