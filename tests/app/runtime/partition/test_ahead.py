"""What is forwarded ahead of a fold, step by step."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bounds.turns import Turns
from app.definitions.state import Definitions
from app.kafka.names import TopicPartition
from app.runtime.partition.ahead import Ahead, RestoringPartition
from app.runtime.progress import Progress, ProgressTable
from app.settings import Settings
from tests.world.waiting import until

EVENT = b'{"organization_id":"o","external_subscription_id":"s","transaction_id":"t","code":"c"}'


async def test_progress_is_told_once_all_of_it_is_acknowledged() -> None:
    """The owner before told its own; how far it had folded stays as it told it."""
    told, sent = list[Progress](), list[Any]()

    async def send(producer: object, forward: Any) -> None:
        forward.sending = asyncio.get_running_loop().create_future()
        sent.append(forward)

    shared = SimpleNamespace(
        settings=Settings(profile="test", test_clock=True),
        homes=SimpleNamespace(of_all=lambda names: [1] * len(names)),
        definitions=Definitions(),
        turns=Turns(),
        reports=SimpleNamespace(tell=told.append),
        progress=ProgressTable(),
    )
    coming = RestoringPartition(0, cast(Any, shared))
    coming.forwarded, coming.is_careful = (7, 50), False
    before = Progress(0, 50, 90, 3, "before", 7)
    shared.progress.note(before)
    forwarder = SimpleNamespace(producer=object(), forwarded=0, send=send)
    record = SimpleNamespace(offset=7, timestamp=60, key=None, value=EVENT, headers=())
    ahead = Ahead(cast(Any, forwarder))
    raw = TopicPartition("raw", 0)
    forwarding = asyncio.create_task(ahead.forward(coming, raw, cast(Any, [record]), 9))
    await until(lambda: len(sent) == 1, every_s=0)
    for _ in range(10):
        await asyncio.sleep(0)
    assert (told, coming.forwarded) == ([], (7, 50))
    sent[0].sending.set_result(None)
    await forwarding
    assert told == [before._replace(append_time_ms=60)]
    assert coming.forwarded == (9, 60)
    ((_, _, position, kept),) = sent[0].records
    assert (sent[0].home, position, list(kept)) == (1, b"60:0:7:0", [])


async def test_nothing_is_looked_at_until_the_fold_stands_or_others_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.runtime.partition.ahead.LOOKS_S", 0.05)
    progress, cut_ms = ProgressTable(), 100
    ahead = Ahead(cast(Any, None))
    late, held = (
        RestoringPartition(number, cast(Any, SimpleNamespace(progress=progress)))
        for number in (0, 1)
    )
    looks: list[int] = []
    monkeypatch.setattr(
        progress,
        "is_waited_for",
        lambda number, _: looks.append(number) or number == 0,  # type: ignore[func-returns-value]
    )
    needed = [asyncio.create_task(ahead._needed(each)) for each in (late, held)]
    await asyncio.sleep(0.2)
    assert not looks
    progress.note(Progress(2, cut_ms + 1, cut_ms, 1, "", 0))
    await needed[0]
    # It took two looks in a row.
    assert looks.count(0) == 2
    progress.note(Progress(2, cut_ms + 1, cut_ms + 50, 1, "", 0))
    await asyncio.sleep(0.1)
    looks.clear()
    await asyncio.sleep(0.2)
    assert not looks
    assert not needed[1].done()
    held.stalled.set()
    await needed[1]
