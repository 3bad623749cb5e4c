"""Rows of the ledger of one partition, as a scan feeds them, and what it passes over for them.

The loop reads them so, and so does the child of a large refold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.bounds.limits import PORTION_EVENTS
from app.bounds.turns import STEP_ITEMS, Steps
from app.bounds.work_done import Operation, WorkDone
from app.definitions.indexes.set_asides import SetAsides
from app.ledger.blocks import LedgerStretch
from app.ledger.rows import may_tell, rows_of
from app.runtime.scanning.passed_over import PassedOver, note_forward
from app.wire.arrivals import Arrival, Arrived, CorrectionArrival

_SOUGHT_BYTES: Final = 8 * 1024
"""To look for a text in so many takes less than to read a row."""


class LedgerRows:
    """Rows from where both logs are read on, each once."""

    def __init__(self, number: int, raw_next: int, rekeyed_next: int):
        self._number = number
        self.raw = PassedOver(raw_next)
        self.rekeyed = PassedOver(rekeyed_next)

    def pass_over(self, spans: Sequence[LedgerStretch]) -> None:
        """Note that all that stretches have of what is wanted comes from the ledger."""
        for span in spans:
            self.raw.add(span.raw_from, span.raw_until, span.append_time_ms)
            self.rekeyed.add(span.rekeyed_from, span.rekeyed_until, span.append_time_ms)

    def portion(
        self,
        chunks: Sequence[bytes],
        first: int,
        set_asides: SetAsides,
        work: WorkDone,
        operation: Operation,
        text: bytes = b"",
    ) -> Steps[tuple[int, list[Arrived]]]:
        """Return which chunk comes next, and what those before it hold from the first one on.

        `text`: rows that do not have it need not be read.

        Raises:
            LedgerDamaged: a chunk cannot be read.
        """
        found: list[Arrived] = []
        count = step_rows = 0
        while first < len(chunks) and count < PORTION_EVENTS:
            chunk, first = chunks[first], first + 1
            step_rows += 1 + len(chunk) // _SOUGHT_BYTES
            if text and not may_tell(chunk, text):
                rows: Sequence[Arrival | CorrectionArrival] = ()
            else:
                rows = rows_of(chunk, self._number)
            count, step_rows = count + len(rows), step_rows + len(rows)
            found += [row for row in rows if self._is_read_now(row, set_asides)]
            if step_rows >= STEP_ITEMS:
                step_rows = 0
                yield
        work.add(operation, "ledger_rows", count)
        return first, found

    def _is_read_now(self, row: Arrival | CorrectionArrival, set_asides: SetAsides) -> bool:
        """Return whether a row of the ledger lies where it is passed over in the logs."""
        aside = set_asides.of(row.raw_partition)
        if aside is not None and (
            aside.holds_element(row.raw_offset, row.array_index)
            or (row.raw_partition == self._number and aside.holds(row.raw_offset))
        ):
            return False
        if row.raw_partition == self._number:
            return self.raw.holding(row.raw_offset) is not None
        if isinstance(row, CorrectionArrival):
            return True
        stretch = self.rekeyed.holding(row.rekeyed_offset)
        if stretch is not None:
            note_forward(stretch, row)
        return stretch is not None
