"""A trial: arrivals folded into nothing, to see whether they can be folded at all.

The same fold on a partition of its own that nobody reads: what fails there changes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from app.definitions.state import Definitions
from app.wire.arrivals import Arrival, CorrectionArrival, runs_of
from tables.changelogged.members import Members
from tables.event_index.index import EventIndex
from tables.partition.intake import WaitForDefinitions
from tables.partition.partition import Partition

KEPT_EVENTS = 20_000
"""A table that has tried so many goes; one for each trial would look up every charge again."""


class Trial:
    """Tables that are thrown away."""

    def __init__(self, number: int, definitions: Definitions):
        self._number = number
        self._definitions = definitions
        self._partition: Partition | None = None
        self._offset = -1
        self._tried = 0

    def fold(self, arrivals: Sequence[Arrival | CorrectionArrival]) -> None:
        """Fold them and forget them. Raises whatever folding them raises."""
        partition, self._partition = self._table(), None
        # Whether those are too late is not known yet; that is no fault of theirs.
        with suppress(WaitForDefinitions):
            partition.fold(runs_of(each for each in arrivals if isinstance(each, Arrival)))
        for each in arrivals:
            if isinstance(each, CorrectionArrival):
                partition.corrected.correct(each)
        # What no changelog takes is no state that can be kept.
        deque(partition.rows_of(partition.take_changes()), maxlen=0)
        self._tried += len(arrivals)
        # A failed trial is not kept: half of what was tried may be in it.
        self._partition = partition

    def _table(self) -> Partition:
        definitions = self._definitions
        stands = self._offset == definitions.offset and self._tried < KEPT_EVENTS
        if self._partition is not None and stands:
            return self._partition
        self._offset, self._tried = definitions.offset, 0
        return Partition(self._number, definitions, EventIndex(), Members(capacity=None))
