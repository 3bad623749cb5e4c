"""Listed events are read again many at a time, and handed out few at a time."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bounds.turns import STEP_ITEMS, Turns
from app.bounds.work_done import Operation
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord, RecordReader
from app.meter.events import ListedEvent
from app.queries.events import Events
from app.runtime.raw_lookup import RawLookup
from app.settings import Settings
from tests.world.live.producer import encoded, raw_event

LISTED = 3_000
AT_MS = 1_700_000_000_000


class _Log:
    """A record for each event; notes how many are read together."""

    def __init__(self, large: range) -> None:
        self.reads: list[int] = []
        self._large = large

    async def read_some(
        self, topic: str, partition: int, offsets: Sequence[int], operation: Operation = "query"
    ) -> tuple[dict[int, LogRecord], list[int]]:
        self.reads.append(len(offsets))
        return {offset: self._record(offset) for offset in offsets}, []

    def _record(self, offset: int) -> LogRecord:
        text = "x" * (50_000 if offset in self._large else 10)
        value = encoded(raw_event("s", f"e{offset}", "c", v=text))
        return LogRecord(None, value, (), AT_MS, offset)


async def read(log: _Log) -> list[int]:
    """Read all that is listed, the newest first; return how many are handed out together."""
    reader = cast(RecordReader, log)
    lookup = RawLookup(Settings(profile="test"), Definitions(), Turns(), reader, reader)
    asking = Events(cast(Any, SimpleNamespace(raw_lookup=lookup)), cast(Any, None))
    listed = [ListedEvent(-AT_MS, f"e{n}", 0, n, 0, AT_MS) for n in reversed(range(LISTED))]
    ids, parts = list[str](), list[int]()
    async for some in asking.read_events(listed):
        ids += (event.transaction_id for event in some)
        parts.append(len(some))
    assert ids == [event.transaction_id for event in listed]
    return parts


async def test_small_events_are_read_many_at_a_time_and_handed_out_few_at_a_time() -> None:
    log = _Log(large=range(0))
    assert max(await read(log)) == STEP_ITEMS
    assert log.reads == [64, 256, 1024, 1024, 632]


@pytest.mark.parametrize(
    ("large", "refused"),
    [(range(LISTED), [256]), (range(2_000, LISTED), [256]), (range(1_000), [1024, 256])],
    ids=["all", "those read first", "those read last"],
)
async def test_large_events_are_read_few_at_a_time(large: range, refused: list[int]) -> None:
    """All of a page may be of the greatest size, in the memory of whoever reads them."""
    log = _Log(large)
    assert max(await read(log)) == STEP_ITEMS
    assert log.reads.count(64) >= len(large) // 64
    assert sum(log.reads) == LISTED + sum(refused), "what is too much is not tried again"
