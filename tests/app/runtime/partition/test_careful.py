"""How records of who was killed are tried: of a few partitions at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from app.definitions.state import Definitions
from app.kafka.record_batch import RecordBatch
from app.runtime.context import CAREFUL_BATCHES
from app.runtime.partition import careful
from app.settings import Settings
from tests.app.runtime.alone import context_of


async def test_records_of_few_batches_are_at_hand_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    at_once, most, tried = 0, 0, list[int]()

    async def trying(owned: Any, batch: RecordBatch) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0)
        at_once -= 1
        tried.append(batch.tp.partition)

    monkeypatch.setattr(careful, "_examine_raw", trying)
    shared = context_of(Definitions())
    topic = Settings(profile="test").raw_topic
    owned = cast(Any, SimpleNamespace(shared=shared, wants_care=lambda *_: True))
    batches = [
        RecordBatch([], TP(shared.settings.topic(topic), number), 0, 1, 0)
        for number in range(3 * CAREFUL_BATCHES)
    ]
    await asyncio.gather(*(careful.examine(owned, batch) for batch in batches))
    assert sorted(tried) == list(range(3 * CAREFUL_BATCHES))
    assert most == CAREFUL_BATCHES
    assert all(batch.examined for batch in batches)
