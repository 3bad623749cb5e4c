"""Partitions that are given and not at hand yet: held, while the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.types import TP

from app.kafka.placing import LOG_START, DeliveryBroken
from app.settings import Settings
from tests.app.kafka.workers import (
    Durable,
    Owner,
    committed,
    numbers,
    send,
    worker,
)
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers

LATE = frozenset({1, 3})


class Late(Owner):
    """Has to restore some of the partitions first."""

    late = LATE

    @property
    def coming(self) -> frozenset[int]:
        return self.partitions & self.late

    def values_of(self, *partitions: int) -> list[bytes]:
        of = self.durable.values.items()
        return sorted(value for tp, each in of if tp.partition in partitions for value in each)


def of_partitions(values: list[bytes], *partitions: int) -> list[bytes]:
    return [value for value in values if int(value) % 4 in partitions]


async def test_the_others_go_on_while_a_partition_is_restored(ready: Settings) -> None:
    raw, sent = ready.topic(ready.raw_topic), numbers(400)
    await send(ready, raw, sent)
    async with worker("a", ready, Durable(), Late) as owner:
        assert isinstance(owner, Late)
        await until(lambda: owner.values_of(0, 2) == of_partitions(sent, 0, 2))
        await asyncio.sleep(0.5)
        assert owner.values_of(*LATE) == []
        assert not {tp for tp in await committed(ready) if tp.partition in LATE}
        assert await owner.restored(1)
        await until(lambda: owner.values_of(1) == of_partitions(sent, 1))
        await asyncio.sleep(0.5)
        assert owner.values_of(3) == []
        assert await owner.restored(3)
        await until(lambda: owner.values_of(3) == of_partitions(sent, 3))
        assert sorted(owner.durable.all_values()) == sent
        await until(lambda: not owner.folded)
    assert (await committed(ready))[TP(raw, 3)] == 100


async def test_a_rebalance_begins_while_partitions_are_restored(ready: Settings) -> None:
    raw, durable, sent = ready.topic(ready.raw_topic), Durable(), numbers(400)
    await send(ready, raw, sent)
    async with worker("a", ready, durable, Late) as first:
        assert isinstance(first, Late)
        await until(lambda: first.coming == LATE)
        async with worker("b", ready, durable) as second:
            await until(lambda: len(second.partitions) == 2 and len(first.partitions) == 2)
            assert not any([await first.restored(number) for number in second.partitions])
            here = second.partitions | (first.partitions - LATE)
            await until(lambda: first.values_of(*here) == of_partitions(sent, *here))
            assert first.values_of(*first.coming) == []
        # What the other had comes back, and its part of `LATE` has to be restored now.
        await until(lambda: first.coming == LATE)
        assert all([await first.restored(number) for number in LATE])
        await until(lambda: len(durable.all_values()) == 400)
    assert sorted(durable.all_values()) == sent


async def test_a_partition_goes_on_with_all_of_its_logs_or_not_at_all(ready: Settings) -> None:
    async with worker("a", ready, Durable(), Late) as owner:
        assert isinstance(owner, Late)
        await until(lambda: owner.coming == LATE)
        with pytest.raises(DeliveryBroken):
            await owner.app.batches.deliver_from(1, {TP(owner.topics[0], 1): LOG_START})


async def test_partitions_that_are_ready_at_once_are_asked_for_at_once(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, each answer waits for a fetch: 64 partitions took ten seconds."""
    asked: list[set[int]] = []

    class All(Late):
        late = frozenset(range(4))

    async with worker("a", ready, Durable(), All) as owner:
        assert isinstance(owner, All)
        await until(lambda: owner.coming == All.late)
        consumer: Any = owner.app.batches._thread._ensure_consumer()
        tell = consumer.led_bounds

        async def told(tps: Collection[TP]) -> Any:
            asked.append({tp.partition for tp in tps})
            return await tell(tps)

        monkeypatch.setattr(consumer, "led_bounds", told)
        assert all(await asyncio.gather(*map(owner.restored, range(4))))
    # Of a topic that is new a leader may be asked again.
    assert asked[:2] == [{0}, {1, 2, 3}] or asked[0] == {0, 1, 2, 3}


async def test_a_partition_that_nobody_tells_of_is_no_matter_of_the_others(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker("a", ready, Durable(), Late) as owner:
        assert isinstance(owner, Late)
        await until(lambda: owner.coming == LATE)
        consumer: Any = owner.app.batches._thread._ensure_consumer()
        tell = consumer.led_bounds

        async def told(tps: Collection[TP]) -> Any:
            if any(tp.partition == 3 for tp in tps):
                raise KafkaTimeoutError
            return await tell(tps)

        monkeypatch.setattr(consumer, "led_bounds", told)
        both = await asyncio.gather(*map(owner.restored, (3, 1)), return_exceptions=True)
        assert [type(both[0]), both[1]] == [KafkaTimeoutError, True]


async def test_a_crash_waits_for_no_partition_that_begins(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for the consumer's thread, which answers nobody any more."""
    asked = asyncio.Event()

    async def never(_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    async with worker("a", ready, Durable(), Late) as owner:
        assert isinstance(owner, Late)
        await until(lambda: owner.coming == LATE)
        monkeypatch.setattr(owner.app.batches, "seek_wait", never)
        beginning = asyncio.create_task(owner.restored(1))
        await asked.wait()
        await owner.app.crash(ValueError("another partition cannot be restored"))
        async with asyncio.timeout(PATIENCE_S):
            await owner.app.stop()
        beginning.cancel()
