"""What is forwarded ahead of a fold, step by step."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from app.bounds.turns import Turns
from app.definitions.state import Definitions
from app.kafka.names import TopicPartition
from app.runtime.partition.ahead import Ahead, Coming
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
        homes=SimpleNamespace(of=lambda *_: 1),
        definitions=Definitions(),
        turns=Turns(),
        reports=SimpleNamespace(tell=told.append),
    )
    coming = Coming(0, cast(Any, shared))
    coming.forwarded, coming.is_careful = (7, 50), False
    before, progress = Progress(0, 50, 90, 3, "before", 7), ProgressTable()
    progress.note(before)
    forwarder = SimpleNamespace(producer=object(), forwarded=0, send=send)
    record = SimpleNamespace(offset=7, timestamp=60, key=None, value=EVENT, headers=())
    ahead = Ahead(cast(Any, forwarder), progress)
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
    ((_, _, headers),) = sent[0].records
    assert (sent[0].home, headers) == (1, [("meter-position", b"60:0:7:0")])
