"""History records: by time, and by organization."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from app.definitions.indexes.index import Index
from app.definitions.model import HistoryRecord


@dataclass
class HistoryIndex(Index):
    """All history records, in the order of the log."""

    records: list[HistoryRecord] = field(default_factory=list)
    times_ms: list[int] = field(default_factory=list)
    by_organization: MutableMapping[str, list[HistoryRecord]] = field(default_factory=dict)

    def commit(self, record: HistoryRecord) -> None:
        """Take the next one over."""
        self.records.append(record)
        self.times_ms.append(record.append_time_ms)
        self.by_organization.setdefault(record.organization_id, []).append(record)
