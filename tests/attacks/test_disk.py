"""A full disk: bounded-work M24, on a file system of 8 MB under METER_STATE_DIR."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from app.settings import Settings
from tests.attacks.test_expressions import CUSTOMER, define, event, units
from tests.attacks.victim import ATTACKER, KEYS, MEBIBYTE, Victim, restores, victim_on
from tests.world.live.api import text_of
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

AT_ONCE = 1_000
IN_MEMORY = 5_000
"""Events whose index rows are within the memory of the index; the disk has been asked by then."""
AT_MOST = 300_000
"""Far more than that memory holds: 240 bytes a new one, 42 a settled one."""


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of its own."""
    place = tmp_path_factory.mktemp("disk")
    mounting = ["mount", "-t", "tmpfs", "-o", "size=8m", "meterstream", str(place)]
    made = subprocess.run(mounting, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"NOT TESTED, no file system can be mounted here: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture(scope="module")
async def victim(
    local_kafka: LocalKafka,
    local_redis: LocalRedis,
    disk: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Victim]:
    """A worker of one partition whose index has 1 MiB of memory, and then needs the disk."""
    settings = Settings(
        profile="production",
        topic_prefix=f"a{uuid.uuid4().hex[:10]}-",
        kafka_bootstrap_servers=local_kafka.bootstrap_servers,
        kafka_dir=local_kafka.directory,
        redis_url=local_redis.url,
        raw_partitions=1,
        replication_factor=1,
        flush_interval_s=0.3,
        http_host="127.0.0.1",
    )
    environment = {
        "METER_STATE_DIR": str(disk / "state"),
        "METER_DEDUPE_MEMORY_BYTES": str(MEBIBYTE),
    }
    async with victim_on(settings, tmp_path_factory.mktemp("victim"), environment) as victim:
        yield victim


async def _tells(victim: Victim, reason: str) -> bool:
    return reason in await reasons(victim)


async def _page_says(victim: Victim, words: str) -> bool:
    """Whether the first line of the page begins so."""
    page = f"{victim.url}/page/view"
    headers = {"Authorization": f"Bearer {KEYS['read', ATTACKER]}"}
    async with aiohttp.ClientSession() as session, session.get(page, headers=headers) as told:
        text = await told.text()
    return f'data-status="bad">{words}' in text


async def test_a_full_disk_takes_nothing_away(victim: Victim, disk: Path) -> None:
    """Folding goes on in memory, then stands and says what it wants; with room it goes on."""
    code = await define(victim, "m24", aggregation_type="count_agg")
    pid, before = victim.worker.pid, restores(await victim.metrics())
    ballast = disk / "ballast"
    filled(ballast)
    await send(victim, code, 0, IN_MEMORY)
    await eventually(lambda: units(victim, code), IN_MEMORY)
    assert not await disk_full(victim)
    await eventually(lambda: _tells(victim, "disk_low"), True)
    # A file that was replaced meanwhile leaves a block or two.
    assert (await victim.metrics())["meter_disk_free_bytes"] < 64 * 1024
    sent = IN_MEMORY
    while not await disk_full(victim):
        assert sent < AT_MOST, victim.worker.tail()
        await send(victim, code, sent, sent + 5 * AT_ONCE)
        sent += 5 * AT_ONCE
        await eventually(partial(counted_or_full, victim, code, sent), True)
    await send(victim, code, sent, sent + 20 * AT_ONCE)
    sent += 20 * AT_ONCE
    assert f"METER_STATE_DIR ({disk}" in await text_of(f"{victim.url}/health/ready")
    await eventually(
        lambda: _page_says(victim, f"METER_STATE_DIR ({disk}/state) takes no more"), True
    )
    await asyncio.sleep(1)
    stood = (await victim.attacker.units(CUSTOMER, code))[code]
    ballast.unlink()
    await eventually(lambda: units(victim, code), sent)
    await eventually(lambda: disk_full(victim), False)
    assert IN_MEMORY < stood < sent
    assert victim.worker.is_running(), victim.worker.tail()
    assert victim.worker.pid == pid
    assert restores(await victim.metrics()) == before
    # What came again is known, wherever its row is by now.
    await send(victim, code, 0, sent)
    await victim.produce(event(code, "one more"))
    await eventually(lambda: units(victim, code), sent + 1)
    assert not (await victim.tell()).wrong
    log = victim.worker.log_file.read_text()
    for code in ("disk_low", "disk_full"):
        lost = log.count(f"WARNING app.runtime.health: {code}: METER_STATE_DIR ({disk}")
        assert lost == log.count(f"INFO app.runtime.health: {code}: over after") >= 1


def filled(file: Path) -> None:
    """Write until nothing more is taken."""
    with file.open("wb", buffering=0) as ballast, suppress(OSError):
        while True:
            ballast.write(bytes(4096))


async def send(victim: Victim, code: str, first: int, end: int) -> None:
    for start in range(first, end, AT_ONCE):
        await victim.produce([event(code, f"t{n}") for n in range(start, start + AT_ONCE)], code)


async def counted_or_full(victim: Victim, code: str, count: int) -> bool:
    return await units(victim, code) == count or await disk_full(victim)


async def disk_full(victim: Victim) -> bool:
    """Whether the worker says so."""
    return "disk_full" in await reasons(victim)


async def reasons(victim: Victim) -> list[str]:
    """Codes of what is not as it should be; only a full disk makes it unready."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{victim.url}/health/ready") as told,
    ):
        codes = [reason["code"] for reason in (await told.json()).get("reasons", ())]
        assert told.status == (503 if "disk_full" in codes else 200)
        return codes
