"""Questions to brokers that are put together: each answer is of after the question."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest
from aiokafka.errors import LeaderNotAvailableError

from app.kafka.joined import Joined
from app.kafka.names import KafkaError
from tests.world.waiting import PATIENCE_S, until


class Brokers:
    """Answer how often they were asked; one key nobody leads."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.go = asyncio.Event()

    async def ask(self, keys: Collection[str]) -> dict[str, int]:
        """Answer when they may."""
        self.asked.append(set(keys))
        number = len(self.asked)
        await self.go.wait()
        if "leaderless" in keys:
            raise KafkaError("no leader")
        return dict.fromkeys(keys, number)


async def test_who_waits_is_asked_for_in_the_next_question() -> None:
    brokers = Brokers()
    joined = Joined(brokers.ask)
    first = asyncio.create_task(joined.answers(["a"]))
    await asyncio.sleep(0)
    # The one under way may have been answered before they ask.
    others = [asyncio.create_task(joined.answers(keys)) for keys in (["a", "b"], ["c"], [])]
    await asyncio.sleep(0)
    brokers.go.set()
    assert await first == {"a": 1}
    assert await asyncio.gather(*others) == [{"a": 2, "b": 2}, {"c": 2}, {}]
    assert brokers.asked == [{"a"}, {"a", "b", "c"}]


async def test_what_cannot_be_answered_is_no_matter_of_the_others() -> None:
    brokers = Brokers()
    joined = Joined(brokers.ask)
    asking = [asyncio.create_task(joined.answers([key])) for key in ("a", "leaderless", "b")]
    await asyncio.sleep(0)
    brokers.go.set()
    first, refused, other = await asyncio.gather(*asking, return_exceptions=True)
    assert first == {"a": 1}
    assert isinstance(refused, KafkaError)
    assert isinstance(other, dict)
    assert set(other) == {"b"}


async def test_who_is_told_nothing_of_is_left_out() -> None:
    asked = list[set[str]]()

    async def ask(keys: Collection[str]) -> dict[str, int]:
        asked.append(set(keys))
        return {key: 1 for key in keys if key != "leaderless"}

    assert await Joined(ask).answers(["a", "leaderless"]) == {"a": 1}
    assert asked == [{"a", "leaderless"}]


async def test_who_waits_for_a_leader_holds_nobody_else() -> None:
    asked, led = list[set[str]](), {"a"}

    async def ask(keys: Collection[str]) -> dict[str, int]:
        asked.append(set(keys))
        return {key: 1 for key in keys if key in led}

    joined = Joined(ask)
    waiting = asyncio.create_task(joined.all_answers(["leaderless"], PATIENCE_S))
    await until(lambda: asked == [{"leaderless"}])
    assert await joined.all_answers(["a"], PATIENCE_S) == {"a": 1}
    assert not waiting.done()
    with pytest.raises(LeaderNotAvailableError, match="leaderless"):
        await joined.all_answers(["a", "leaderless"], 0.0)
    led.add("leaderless")
    assert await waiting == {"leaderless": 1}


async def test_who_is_cancelled_leaves_the_others_their_answers() -> None:
    brokers = Brokers()
    joined = Joined(brokers.ask)
    first = asyncio.create_task(joined.answers(["a"]))
    second = asyncio.create_task(joined.answers(["b"]))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    brokers.go.set()
    assert (await second)["b"] == 2
