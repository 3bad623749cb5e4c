"""A book: figures and chains as they would be, over those that are decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tables.changelogged.instants import CellId, InstantTable, StoredChain, StoredFigure


class Book:
    """What is decided on trial; the table below stays as it is."""

    def __init__(self, table: InstantTable):
        self._table = table
        self._chains: dict[CellId, StoredChain] = {}
        self._figures: dict[bytes, list[StoredFigure]] = {}

    def chain(self, cell_id: CellId, start_ms: int | None = None) -> StoredChain | None:
        """Return the chain of a cell, as the table does."""
        return self._chains.get(cell_id) or self._table.chain(cell_id, start_ms)

    def put_chain(self, cell_id: CellId, chain: StoredChain) -> None:
        """Put a chain in place of the one before."""
        self._chains[cell_id] = chain

    def look_up(self, identities: Sequence[bytes]) -> None:
        """Have the figures of some events at hand."""
        self._table.look_up(identities)

    def figures(self, identity: bytes) -> list[StoredFigure]:
        """Return the newest figures of an event, one a cell."""
        known = self._figures.get(identity)
        return self._table.figures(identity) if known is None else known

    def put_figures(self, identity: bytes, figures: Iterable[StoredFigure]) -> None:
        """Put the figures of an event in place of those before."""
        self._figures[identity] = list(figures)
