"""What an agent refuses to fold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from agents.ingest import take_raw, take_rekeyed
from app.transport import DeliveryBroken, RecordBatch
from tables.partition import PartitionRecord


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "rekeyed"])
async def test_a_batch_that_leaves_a_gap_is_not_folded(raw: bool) -> None:
    record = PartitionRecord(raw_next=41, rekeyed_next=41)
    owned = cast(Any, SimpleNamespace(table=SimpleNamespace(record=record)))
    batch = RecordBatch([], TP("events", 3), 42, 50, 0)
    with pytest.raises(DeliveryBroken, match=r"partition=3.*folded up to 41.*begins at 42"):
        await (take_raw(owned, batch, cast(Any, None)) if raw else take_rekeyed(owned, batch))
    assert (record.raw_next, record.rekeyed_next) == (41, 41)
