"""One application writes a set of topics, whichever others are started or stand still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from aiokafka import TopicPartition
from pydantic import SecretStr

from app.kafka.appender import Appender
from app.kafka.claim import CLAIM_KEY, Claim, TopicsTaken, claim_in
from app.kafka.log_readers import LogReader, newest_value, whole
from app.kafka.topics import CELLS_CHANGELOG, METER_PROGRESS, admin_client, ensure_topics
from app.kafka.transactions import Fenced, PartitionProducer, Record
from app.runtime.claims import Claims
from app.runtime.progress import Seal
from app.settings import Settings
from tests.world.live.committed import all_of
from tests.world.live.group_member import group_member
from tests.world.waiting import PATIENCE_S, until

FIRST, OTHER = "first", "other"


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings whose topics exist."""
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    return settings.model_copy(update={"application_id": FIRST})


def under(settings: Settings, application: str) -> Settings:
    """The same topics, written by another application."""
    return settings.model_copy(update={"application_id": application})


class Following:
    """A worker as far as claims go: it follows the log, and fails as that does."""

    def __init__(self, settings: Settings):
        self._log = LogReader(settings, settings.topic(METER_PROGRESS))
        self._appender = Appender(settings)
        self.claims = Claims(settings, Seal(settings), self._appender.append)
        self.failing = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async for batch in self._log.batches():
            for record in batch:
                assert record.key == CLAIM_KEY
                self.claims.note(record)

    async def caught_up(self) -> None:
        """Return once all that there was is noted."""
        await asyncio.wait_for(self._log.caught_up.wait(), PATIENCE_S)

    @property
    def next(self) -> int:
        """Offset after all that it has noted."""
        return self._log.next

    async def ends(self) -> None:
        """Return once it fails, with that."""
        async with asyncio.timeout(PATIENCE_S):
            await self.failing

    async def stop(self) -> None:
        """End it, whether it has failed or not."""
        self.failing.cancel()
        await asyncio.wait([self.failing])
        await self._log.stop()
        await self._appender.stop()


@asynccontextmanager
async def following(*of: Settings) -> AsyncIterator[list[Following]]:
    """Such for each, once all have read what there is."""
    async with AsyncExitStack() as stack:
        workers = []
        for settings in of:
            workers.append(Following(settings))
            stack.push_async_callback(workers[-1].stop)
        for worker in workers:
            await worker.caught_up()
        yield workers


async def claimed(settings: Settings) -> Claim:
    """The newest claim in the log."""
    tp = TopicPartition(settings.topic(METER_PROGRESS), 0)
    found = claim_in(await newest_value(settings, tp, CLAIM_KEY))
    assert found is not None
    return found[0]


async def test_the_first_claims_the_topics_and_its_next_workers_find_that(ready: Settings) -> None:
    async with following(ready) as (worker,):
        await worker.claims.hold()
    first = await claimed(ready)
    assert (first.application, first.former) == (FIRST, "")
    async with following(ready, ready) as workers:
        for worker in workers:
            await worker.claims.hold()
    assert await claimed(ready) == first


async def test_another_is_refused_while_there_are_workers(ready: Settings) -> None:
    other = under(ready, OTHER)
    async with following(ready, other) as (worker, refused):
        await worker.claims.hold()
        first = await claimed(ready)
        async with group_member(ready):
            with pytest.raises(TopicsTaken, match=f"Set METER_APPLICATION_ID={FIRST} to share"):
                await refused.claims.hold()
        assert not worker.failing.done()
        assert await claimed(ready) == first


async def test_another_goes_on_where_no_worker_is_left_and_fences_who_stands_still(
    ready: Settings,
) -> None:
    producers = [PartitionProducer(ready, number) for number in range(ready.raw_partitions)]
    topic = ready.topic(CELLS_CHANGELOG)
    try:
        for producer in producers:
            await producer.start()
        async with following(ready) as (worker,):
            await worker.claims.hold()
        async with following(under(ready, OTHER)) as (heir,):
            await heir.claims.hold()
        now = await claimed(ready)
        assert (now.application, now.former) == (OTHER, "")
        for number, producer in enumerate(producers):
            with pytest.raises(Fenced):
                await producer.commit([Record(topic, number, b"k", b"of who stood still")])
    finally:
        for producer in producers:
            await producer.stop()


async def test_who_was_killed_before_it_fenced_does_so_at_its_next_start(ready: Settings) -> None:
    heir, producer = under(ready, OTHER), PartitionProducer(ready, 0)
    await producer.start()
    try:
        async with following(heir) as (killed,):
            await killed.claims._tell(FIRST)
        async with following(heir) as (worker,):
            await worker.claims.hold()
        assert (await claimed(ready)).former == ""
        with pytest.raises(Fenced):
            await producer.commit([Record(ready.topic(CELLS_CHANGELOG), 0, b"k", b"v")])
    finally:
        await producer.stop()


async def test_of_two_that_start_at_once_the_last_to_claim_goes_on(ready: Settings) -> None:
    other = under(ready, OTHER)
    async with following(ready, other) as workers:
        await asyncio.gather(*(worker.claims.hold() for worker in workers))
        last = await claimed(ready)
        first, heir = workers if last.application == OTHER else reversed(workers)
        with pytest.raises(TopicsTaken, match="give all workers the same METER_APPLICATION_ID"):
            await first.ends()
        assert not heir.failing.done()
        # It found the other claim right before its own, and fenced those.
        topic = ready.topic(METER_PROGRESS)
        values = [r.value for _, records in await all_of(whole(ready, topic)) for r in records]
        told = [found[0].application for found in map(claim_in, values) if found is not None]
        assert told[-2:] == [last.application] * 2
        assert last.former == ""


async def test_a_claim_without_the_secret_ends_nobody(ready: Settings) -> None:
    secret = SecretStr("not theirs")
    stranger = ready.model_copy(update={"application_id": OTHER, "peer_secret": secret})
    async with following(ready, stranger) as (worker, scribbling):
        await worker.claims.hold()
        await scribbling.claims._tell("")
        await until(lambda: worker.next == scribbling.next)
        assert not worker.failing.done()
    async with following(ready) as (worker,):
        await worker.claims.hold()
    assert (await claimed(ready)).application == FIRST
