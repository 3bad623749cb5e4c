"""What is published of a partition, as if a cut were still to be taken."""

from __future__ import annotations

from tables.changelogged.piece_store import PeriodKey
from tables.changelogged.published import PublishedTable
from tables.changelogged.published_period import PublishedPeriod


class PublishedBefore(PublishedTable):
    """Reads a period where somebody asks for it."""

    def __init__(self, published: PublishedTable, cut_ms: int):
        super().__init__()
        self._published = published
        self._cut_ms = cut_ms

    def find(self, name: PeriodKey) -> PublishedPeriod | None:
        """Return a copy of the period as it was published before; None: it was not."""
        known = None if name in self.periods else self._published.find(name)
        if known is not None:
            self.periods[name] = known.as_before(self._cut_ms)
        return super().find(name)
