"""What a loop does about brokers that take nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaError

from agents.loop import beginning_again


async def test_what_brokers_do_not_take_begins_again_after_their_pause() -> None:
    paused = list[int]()

    async def pause(attempt: int) -> None:
        paused.append(attempt)

    async def refused() -> None:
        raise KafkaError

    async def defect() -> None:
        raise ValueError("ours")

    owned: Any = SimpleNamespace(
        number=3, shared=SimpleNamespace(brokers=SimpleNamespace(pause=pause))
    )
    await beginning_again(owned, "It begins again: %r", refused)
    assert paused == [0]
    with pytest.raises(ValueError, match="ours"):
        await beginning_again(owned, "It begins again: %r", defect)
