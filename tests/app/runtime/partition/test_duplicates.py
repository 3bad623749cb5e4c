"""Repeated ids, compared to the events that they repeat."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

from app.bounds.work_done import Operation
from app.definitions.judging import Judging
from app.definitions.state import Definitions
from app.runtime.partition.duplicates import Duplicates
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.verdicts import Verdicts
from app.runtime.raw_lookup import RawPlace
from app.wire.arrivals import Arrival, Arrived, arrivals_of
from app.wire.refusals import RefusalCode
from tables.event_index.entries import Entry
from tables.partition.copies import Duplicate
from tables.partition.intake import RefusedArrival
from tests.app.runtime.alone import Alone, context_of
from tests.world.live.producer import encoded, raw_event

SUSPECTS = 1_000


class _Log(Alone):
    """Notes of how many places events are wanted together."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def find_many(
        self, places: Iterable[RawPlace], operation: Operation = "query"
    ) -> dict[RawPlace, Arrived]:
        self.asked.append(len(list(places)))
        return {}


async def test_few_of_the_first_ones_are_in_memory_together() -> None:
    """Each may have a megabyte."""
    log, definitions = _Log(), Definitions()
    context = replace(context_of(definitions), raw_lookup=cast(Any, log))
    duplicates = Duplicates(0, context, Verdicts(0, context, NextFlush()))
    value = encoded(raw_event("s", "e", "c"))
    (arrival,) = arrivals_of(value, (), 1, 0, 2 * SUSPECTS, Judging.by(definitions))
    assert isinstance(arrival, Arrival)
    known = [Entry(1, 0, offset, 0, -1, 0) for offset in range(SUSPECTS)]
    duplicates.note([Duplicate(arrival, each, identical=None) for each in known])
    await duplicates.judge()
    assert context.tally.duplicates["conflicting"] == SUSPECTS
    assert sum(log.asked) == SUSPECTS
    assert max(log.asked) <= 256


async def test_what_repeats_a_deleted_event_is_told_so() -> None:
    """Nobody knows whether it has the same body."""
    definitions = Definitions()
    context = replace(context_of(definitions), raw_lookup=cast(Any, _Log()))
    flush = NextFlush()
    duplicates = Duplicates(0, context, Verdicts(0, context, flush))
    value = encoded(raw_event("s", "e", "c"))
    (arrival,) = arrivals_of(value, (), 1, 0, 2, Judging.by(definitions))
    assert isinstance(arrival, Arrival)
    duplicates.note([Duplicate(arrival, Entry(1, 0, 0, 0, -1, 0), identical=None)])
    await duplicates.judge()
    (letter,) = flush.records
    assert b"deleted" in (dict(letter.headers)["meter-error-message"] or b"")


async def test_a_letter_that_is_refused_again_says_of_which_it_was_made() -> None:
    """Whoever replays all letters once more replays it, and not the first one beside it."""
    definitions, flush = Definitions(), NextFlush()
    context = context_of(definitions)
    verdicts = Verdicts(0, context, flush)
    value = encoded(raw_event("s", "e", "c"))
    headers: tuple[tuple[str, bytes], ...]
    for headers in ((("meter-replayed", b"0:7"),), ()):
        (arrival,) = arrivals_of(value, headers, 1, 0, 2, Judging.by(definitions))
        assert isinstance(arrival, Arrival)
        verdicts.refuse_arrivals([RefusedArrival(arrival, RefusalCode.TOO_LATE, "late")])
    letters = [dict(letter.headers).get("meter-replayed") for letter in flush.records]
    assert letters == [b"0:7", None]
