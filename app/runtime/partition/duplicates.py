"""Repeated ids with other bytes, compared to the events that they repeat."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice

from app.bounds.turns import Steps, Work
from app.runtime.context import WorkerContext
from app.runtime.dead_letters import Source
from app.runtime.partition.verdicts import Verdicts
from app.runtime.raw_lookup import RawPlace
from app.wire.arrivals import Arrived
from app.wire.refusals import Refusal
from tables.event_index.rows import ROW_BYTES
from tables.partition.conflicts import judging
from tables.partition.copies import Copies, Duplicate

_JUDGED_A_STEP = 64
_READ_AT_ONCE = 256
"""Suspects whose first arrivals are in memory together; each of those may have a megabyte."""


class Duplicates:
    """Repeated ids of one partition, until they are judged."""

    def __init__(self, number: int, context: WorkerContext, verdicts: Verdicts):
        self._number = number
        self._context = context
        self._verdicts = verdicts
        self._suspects: deque[Duplicate] = deque()
        self._firsts: dict[RawPlace, Arrived | None] = {}

    def note(self, duplicates: Iterable[Duplicate]) -> None:
        """Take repeated ids; those whose bytes are not known to be the same are judged later."""
        for duplicate in duplicates:
            if duplicate.identical is None:
                self._suspects.append(duplicate)
            else:
                self._context.tally.duplicates["identical"] += 1

    def note_copies(self, copies: Copies) -> None:
        """Take repeated ids whose bytes are known to be the same."""
        self._context.tally.duplicates["identical"] += len(copies.rows) // ROW_BYTES

    async def judge(self) -> None:
        """Compare repeated ids with other bytes to the events they repeat, a turn at a time."""
        while self._suspects:
            first = islice(self._suspects, _READ_AT_ONCE)
            places: set[RawPlace] = {duplicate.known[1:4] for duplicate in first}
            found = await self._context.raw_lookup.find_many(places, "duplicate")
            self._firsts = {place: found.get(place) for place in places}
            await self._context.turns.run(
                Work(
                    "duplicates",
                    f"partition {self._number}",
                    self._suspects[0].arrival.organization_id,
                ),
                self._judging(),
            )
        self._firsts.clear()

    def _judging(self) -> Steps[None]:
        """Judge suspects whose first arrivals are read already; each once, or it is left."""
        refused: list[tuple[Refusal, Source]] = []
        try:
            while self._suspects and self._suspects[0].known[1:4] in self._firsts:
                duplicate = self._suspects[0]
                conflict = yield from judging(duplicate, self._firsts[duplicate.known[1:4]])
                self._suspects.popleft()
                if conflict is None:
                    self._context.tally.duplicates["identical"] += 1
                else:
                    self._context.tally.duplicates["conflicting"] += 1
                    refused.append(self._verdicts.letter_of(*conflict))
                    if len(refused) == _JUDGED_A_STEP:
                        self._verdicts.refuse(refused)
                        refused.clear()
                yield
        finally:
            self._verdicts.refuse(refused)
