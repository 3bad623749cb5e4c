"""Events read again from where they lie, in records of any size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from app.bounds.turns import STEP_ITEMS, Steps, T, Turns, Work
from app.bounds.work_done import Operation
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord, RecordReader
from app.runtime.raw_lookup import RawLookup
from app.settings import Settings
from tests.world.live.producer import encoded, raw_event

ELEMENTS = 1_000
RECORDS = 3


class _Log:
    """Records of thousands of elements; gives one at a time."""

    def __init__(self) -> None:
        self.reads = 0
        events = [raw_event("s", f"e{number}", "c") for number in range(ELEMENTS)]
        self._value = encoded(events)

    async def read_some(
        self, topic: str, partition: int, offsets: Sequence[int], operation: Operation = "query"
    ) -> tuple[dict[int, LogRecord], list[int]]:
        self.reads += 1
        first, *left = offsets
        return {first: LogRecord(None, self._value, (), 1_700_000_000_000, first)}, left


class _Counting(Turns):
    """Counts the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    async def run(self, work: Work, steps: Steps[T]) -> T:
        return await super().run(work, self._counted(work, steps))

    def _counted(self, work: Work, steps: Steps[T]) -> Steps[T]:
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outcome: T = end.value
                return outcome
            self.steps.append(work.kind)
            yield


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("query", "request"), ("duplicate", "duplicates"), ("correction", "refold")],
)
async def test_records_of_thousands_of_elements_are_decoded_by_small_steps(
    operation: Operation, kind: str
) -> None:
    by_query, by_fold, turns = _Log(), _Log(), _Counting()
    readers = (cast(RecordReader, by_query), cast(RecordReader, by_fold))
    lookup = RawLookup(Settings(profile="test"), Definitions(), turns, *readers)
    places = [(0, offset, ELEMENTS - 1) for offset in range(RECORDS)]
    found = await lookup.find_many(places, operation)
    assert list(found) == places
    assert turns.steps.count(kind) >= RECORDS * (ELEMENTS // STEP_ITEMS)
    reads = (RECORDS, 0) if operation == "query" else (0, RECORDS)
    assert (by_query.reads, by_fold.reads) == reads, "what is folded waits for no query"
