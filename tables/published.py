"""Published: the newest revision of every cell and period that was written to usage-records."""

from __future__ import annotations

import msgspec

from tables.cells import Figures

CellName = tuple[str, str | None, tuple[str | None, ...]]
"""(charge id, filter id, group values): a cell within its subscription and period."""


class PublishedCell(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the newest record of a cell says."""

    revision: int
    units: str
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: int
    digest: bytes
    cut_ms: int

    @property
    def shows_usage(self) -> bool:
        """Whether any figure is not 0: a cell may be published for its level alone."""
        figures = (self.units, self.prorated_units, self.total_aggregated_units)
        return self.events_count != 0 or any(figure not in (None, "0.0") for figure in figures)

    def same_figures(self, other: PublishedCell) -> bool:
        """Whether a revision would say nothing new."""
        return (
            self.digest == other.digest
            and self.units == other.units
            and self.prorated_units == other.prorated_units
            and self.total_aggregated_units == other.total_aggregated_units
            and self.precise_total_amount_cents == other.precise_total_amount_cents
            and self.events_count == other.events_count
        )


class PublishedPeriod(msgspec.Struct):
    """Everything published of one period of one subscription."""

    revision: int = -1
    """Of the newest period.completed; -1 before the first."""
    cut_ms: int = -1
    """The newest cut that was published."""
    cells: dict[CellName, PublishedCell] = msgspec.field(default_factory=dict)

    @property
    def digest(self) -> int:
        """Sum of the newest digests, mod 2^128."""
        return sum(int.from_bytes(c.digest, "big") for c in self.cells.values()) % (1 << 128)


PeriodName = tuple[str, int]
"""(subscription id, period start ms)"""


class PublishedTable:
    """Published periods of one partition."""

    def __init__(self) -> None:
        self.periods: dict[PeriodName, PublishedPeriod] = {}
        self._dirty: dict[tuple[PeriodName, CellName | None], bytes] = {}

    def find(self, name: PeriodName) -> PublishedPeriod | None:
        """The period as published; None before its first cut."""
        return self.periods.get(name)

    def put_cell(self, name: PeriodName, cell: CellName, published: PublishedCell) -> None:
        """Remember a record that goes out with the next flush."""
        self.periods.setdefault(name, PublishedPeriod()).cells[cell] = published
        self._dirty[name, cell] = msgspec.msgpack.encode(published)

    def put_completion(self, name: PeriodName, revision: int, cut_ms: int) -> None:
        """Remember a period.completed that goes out with the next flush."""
        period = self.periods.setdefault(name, PublishedPeriod())
        period.revision, period.cut_ms = revision, cut_ms
        self._dirty[name, None] = msgspec.msgpack.encode((revision, cut_ms))

    def take_changes(self) -> list[tuple[bytes, bytes]]:
        """Changelog records of what changed since the last call."""
        changes = [(msgspec.msgpack.encode(name), value) for name, value in self._dirty.items()]
        self._dirty.clear()
        return changes

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        name, cell = msgspec.msgpack.decode(key, type=tuple[PeriodName, CellName | None])
        period = self.periods.setdefault(name, PublishedPeriod())
        if cell is None:
            period.revision, period.cut_ms = msgspec.msgpack.decode(value, type=tuple[int, int])
        else:
            period.cells[cell] = msgspec.msgpack.decode(value, type=PublishedCell)


def published_cell(
    revision: int, figures: Figures, texts: tuple[str, str | None, str, str | None], cut_ms: int
) -> PublishedCell:
    """An entry from figures; `texts` are units, prorated, total aggregated and precise amount."""
    units, prorated, total, precise = texts
    return PublishedCell(
        revision,
        units,
        prorated,
        total,
        precise,
        figures.events_count,
        figures.digest.to_bytes(16, "big"),
        cut_ms,
    )
