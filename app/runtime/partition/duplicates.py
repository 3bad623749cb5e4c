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
from app.wire.arrivals import Arrival, Arrived
from app.wire.identity import comparing_bodies
from app.wire.refusals import Refusal, RefusalCode, quoted
from tables.event_index.rows import ROW_BYTES
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
                arrival, first = duplicate.arrival, self._firsts[duplicate.known[1:4]]
                identical = False
                if isinstance(first, Arrival):
                    identical = yield from comparing_bodies(first.event, arrival.event)
                self._suspects.popleft()
                if identical:
                    self._context.tally.duplicates["identical"] += 1
                else:
                    loser = first if duplicate.replaced and isinstance(first, Arrival) else arrival
                    refused.append(self._refuse_repeated(arrival, loser, first))
                    if len(refused) == _JUDGED_A_STEP:
                        self._verdicts.refuse(refused)
                        refused.clear()
                yield
        finally:
            self._verdicts.refuse(refused)

    def _refuse_repeated(
        self, arrival: Arrival, loser: Arrival, first: Arrived | None
    ) -> tuple[Refusal, Source]:
        told = "was sent before with another body; the first one counts"
        if first is None:
            told = (
                "was sent before; the first one counts. It is deleted from the raw topic, so "
                "nobody can tell whether its body is the same"
            )
        named = f"transaction_id {quoted(arrival.event.transaction_id)}"
        message = f"{named} {told}. Send a correction to change it"
        code = RefusalCode.CONFLICTING_DUPLICATE
        self._context.tally.duplicates["conflicting"] += 1
        return self._verdicts.letter_of(loser, code, message)
