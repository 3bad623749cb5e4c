"""What an agent refuses to fold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from agents.ahead import _forward
from agents.ingest import MAX_AHEAD_MS, ClockAhead, take_raw, take_rekeyed
from app.definitions.state import Definitions
from app.settings import Settings
from app.transport import DeliveryBroken, RawRecord, RecordBatch
from tables.partition import PartitionRecord


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "rekeyed"])
async def test_a_batch_that_leaves_a_gap_is_not_folded(raw: bool) -> None:
    record = PartitionRecord(raw_next=41, rekeyed_next=41)
    owned = cast(Any, SimpleNamespace(table=SimpleNamespace(record=record)))
    batch = RecordBatch([], TP("events", 3), 42, 50, 0)
    with pytest.raises(DeliveryBroken, match=r"partition=3.*folded up to 41.*begins at 42"):
        await (take_raw(owned, batch, cast(Any, None)) if raw else take_rekeyed(owned, batch))
    assert (record.raw_next, record.rekeyed_next) == (41, 41)


@pytest.mark.parametrize("ahead", [False, True], ids=["in turn", "ahead"])
async def test_a_broker_whose_clock_is_hours_ahead_is_not_followed(ahead: bool) -> None:
    """Neither by the fold nor by the progress that others close by."""
    shared = SimpleNamespace(
        settings=Settings(profile="test"),
        clock=SimpleNamespace(now_ms=lambda: 0),
        homes=None,
        definitions=Definitions(),
    )
    record = PartitionRecord(append_time_ms=-1)
    table = SimpleNamespace(record=record)
    owned = cast(Any, SimpleNamespace(number=3, shared=shared, table=table, forwarded=(0, -1)))
    raw = SimpleNamespace(offset=0, timestamp=MAX_AHEAD_MS + 1, key=None, value=b"{}", headers=())
    stamped = [cast(RawRecord, raw)]
    nobody = cast(Any, None)
    batch = RecordBatch(stamped, TP("events", 3), 0, 1, 0)
    reading = _forward(owned, nobody, stamped, 1, nobody)
    taking = take_raw(owned, batch, nobody)
    read, left = (reading, taking) if ahead else (taking, reading)
    left.close()
    with pytest.raises(ClockAhead, match="Offset 0 of raw partition 3"):
        await read
