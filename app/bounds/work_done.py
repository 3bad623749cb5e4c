"""Work done: how much of each kind an operation touches, whatever the machine.

Counts are added up for a batch or an operation, never for an event. What costs more as more exists,
though nothing more is touched, shows here before it shows in seconds.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

Operation = Literal[
    "fold", "duplicate", "correction", "refold", "definition", "close", "cool", "query", "restore"
]
"""What work is done for."""

TouchedKind = Literal[
    "log_records", "ledger_rows", "index_rows", "names", "periods", "cells", "broker_requests"
]
"""What is touched: read, looked up or changed."""


class WorkDone:
    """Counts of one worker since it started."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[Operation, TouchedKind]] = Counter()

    def add(self, operation: Operation, kind: TouchedKind, count: int) -> None:
        """Count what an operation has touched."""
        self.counts[operation, kind] += count
