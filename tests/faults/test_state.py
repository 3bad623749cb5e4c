"""State lost or damaged between two runs: noticed, and rebuilt from raw (faults F13)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import PolicyViolationError

from app.definitions.model import FOLD_VERSION
from app.kafka.log_readers import plain_consumer, read_to_end
from app.kafka.topics import (
    CELLS_CHANGELOG,
    INDEX_CHANGELOG,
    MEMBERS_CHANGELOG,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
    admin_client,
    topic_specs,
)
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from app.settings import Settings
from tables.changelogged.checkpoint import Checkpoint
from tests.world.live.committed import all_of, markers_written
from tests.world.live.load import load, prove, serving, world_on
from tests.world.live.producer import foreign_producer
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import World
from tests.world.waiting import PATIENCE_S

pytestmark = [pytest.mark.servers, pytest.mark.slow]

Damage = Callable[[WorkerProcess], Awaitable[None]]


async def deleted(worker: WorkerProcess) -> None:
    """Local state is gone."""
    shutil.rmtree(worker.state_dir)


async def flipped(worker: WorkerProcess) -> None:
    """A byte in the middle of every local file is another one."""
    files = [file for file in worker.state_dir.rglob("*") if file.is_file()]
    assert files
    for file in files:
        content = bytearray(file.read_bytes())
        if content:
            content[len(content) // 2] ^= 0x10
            file.write_bytes(content)


def truncated(changelog: str, share: float) -> Damage:
    """The older part of a changelog is gone, as if somebody had set a retention."""

    async def damage(worker: WorkerProcess) -> None:
        await _delete(worker.settings, changelog, share)

    return damage


async def _delete(settings: Settings, changelog: str, share: float) -> None:
    topic = settings.topic(changelog)
    tps = [TopicPartition(topic, number) for number in range(settings.raw_partitions)]
    (spec,) = (spec for spec in topic_specs(settings) if spec.name == topic)
    deleting = spec.configs | {"cleanup.policy": "compact,delete"}
    async with admin_client(settings) as admin:
        ends = await _ends(settings, tps)
        # Nobody may delete from a topic that is only compacted; the change takes a moment.
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, deleting)])
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(PolicyViolationError):
                    await admin.delete_records(
                        {tp: RecordsToDelete(int(ends[tp] * share)) for tp in tps}
                    )
                    break
                await asyncio.sleep(0.05)
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, spec.configs)])


async def _ends(settings: Settings, tps: list[TopicPartition]) -> dict[TopicPartition, int]:
    consumer = plain_consumer(settings)
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(tps)
        return ends
    finally:
        await consumer.stop()


async def test_local_state(live_settings: Settings, tmp_path: Path) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world):
            for damage in (deleted, flipped):
                await hit(world, worker, damage)
                assert "is torn" not in worker.said()
        world.api.url = worker.url
        await prove(world, tmp_path)


async def test_changelogs(live_settings: Settings, tmp_path: Path) -> None:
    damages = [
        (truncated(CELLS_CHANGELOG, 0.95), True),
        (truncated(CELLS_CHANGELOG, 1.0), False),
        (truncated(INDEX_CHANGELOG, 0.95), True),
        (truncated(MEMBERS_CHANGELOG, 0.95), False),
        (truncated(PRESENCE_CHANGELOG, 0.95), True),
        (truncated(PUBLISHED_CHANGELOG, 0.95), True),
    ]
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world):
            for damage, torn in damages:
                await hit(world, worker, damage, also_local=torn)
                assert torn == ("is torn" in worker.said()), worker.tail()
        world.api.url = worker.url
        await prove(world, tmp_path)


async def hit(
    world: World, worker: WorkerProcess, damage: Damage, *, also_local: bool = False
) -> None:
    """Stop the worker in order, damage something, and start it again until all is restored."""
    await asyncio.sleep(1)
    # In order, so that local state is as complete as it ever is.
    assert await worker.stop() == 0, worker.tail()
    await damage(worker)
    if also_local:
        await deleted(worker)
    await worker.start()
    await serving(world, lambda: [worker.url])
    assert worker.is_running(), worker.tail()


async def test_state_of_a_newer_program_is_refused(live_settings: Settings, tmp_path: Path) -> None:
    """As after an upgrade that was taken back: the older program touches nothing."""
    topic = live_settings.topic(CELLS_CHANGELOG)
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world):
            await asyncio.sleep(1)
        assert await worker.stop() == 0, worker.tail()
        before = await _checkpoint_of(live_settings)
        newer = msgspec.structs.replace(before, fold_version=FOLD_VERSION + 1)
        async with foreign_producer(live_settings) as producer:
            value = msgspec.msgpack.encode(newer)
            await producer.send_and_wait(topic, value, key=CHECKPOINT_KEY, partition=0)
        worker.launch()
        assert await worker.wait() != 0
        assert f"partition 0 was written by fold version {FOLD_VERSION + 1}" in worker.said()
        assert "start the newer program" in worker.said()
        assert await _checkpoint_of(live_settings) == newer


async def _checkpoint_of(settings: Settings) -> Checkpoint:
    """The newest of partition 0."""
    found = b""
    tp = TopicPartition(settings.topic(CELLS_CHANGELOG), 0)
    await markers_written(settings, [tp])
    for _, records in await all_of(read_to_end(settings, [tp])):
        for _, key, value in records:
            found = value or b"" if key == CHECKPOINT_KEY else found
    return msgspec.msgpack.decode(found, type=Checkpoint)
