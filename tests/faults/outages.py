"""Brokers away for long (bounded-work §2.2, §5): no process ends, nothing is restored.

    python -m tests.faults.outages [--of one|three] [--away 60] [--frozen 130]

One broker frozen, killed, and gone in the middle of a commit, a close and a rebalance; of three
brokers one or two away, the active controller lost, all frozen, all restarted one after another.
Always under load, and after each the worker folds again within `GOES_ON_S`. Afterwards usage equals
a recount, and the usage records the offline fold, byte for byte. One line an outage; exit 1 on a
violation, of which the files are kept.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import click
from aiokafka.errors import KafkaError

from app.kafka.topics import admin_client
from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from app.settings import Settings
from tests.faults.cluster import cluster
from tests.world.live.api import text_of
from tests.world.live.load import load, prove, world_on
from tests.world.live.paused import pause, resume
from tests.world.live.worker import WorkerProcess, worker_process

GOES_ON_S = 15.0 * (2 if "PYTEST_VERSION" in os.environ else 1)
"""Within so many seconds of the return every partition folds again.

Two other processes of the suite want the same two cores, so there it has twice the time.
"""
IN_SYNC_S = 60.0
RUNS_BEFORE_S = 2.0
REACHED_S = 180.0
"""A failpoint of a close is passed after some cuts, which a busy machine takes late."""

PLACES = {"mid-commit": 20, "mid-close": 20, "between-cut-flushes": 2}
"""Failpoint, and how often it is passed before."""

TOGETHER = {"group.initial.rebalance.delay.ms": "3000"}
"""As Kafka has it by default: a group that a frozen broker has given up forms anew of all members.
Else the first to come back restores what the others have."""

TOO_FEW = "two away, too few in sync"

Brokers = Mapping[int, LocalKafka]
"""By node id."""
Outage = Callable[[], Awaitable[None]]
"""Ends when the brokers are back."""
Say = Callable[[str], None]


async def through(
    name: str,
    outage: Outage,
    *workers: WorkerProcess,
    say: Say = click.echo,
    owed: float | None = None,
) -> dict[str, float]:
    """Let brokers go and come back; the workers go on, the first of them as if nothing had been.

    `owed`: what the first restores from its start on; None: it has restored all it will.

    Returns the flushes of the first that were not taken meanwhile, by reason.
    """
    first, pids = workers[0], [worker.pid for worker in workers]
    known = await restores(first) if owed is None else owed
    refused = await retries(first)
    began_s, partitions = time.monotonic(), await folded_by_partition(*workers)
    await outage()
    back_s, now = time.monotonic(), await folded_by_partition(*workers)
    # Whatever is not among them now has to be again.
    took_s = await goes_on({each: now.get(each, 0.0) for each in partitions}, *workers)
    assert [worker.pid for worker in workers] == pids, name
    assert await restores(first) == known, f"{name}: restored\n{first.tail()}"
    reasons = {reason: n - refused.get(reason, 0) for reason, n in (await retries(first)).items()}
    reasons = {reason: n for reason, n in reasons.items() if n}
    say(
        f"{time.strftime('%H:%M:%S')} {name}: {back_s - began_s:.0f} s, all fold {took_s:.1f} s "
        f"later, flushes not taken: {reasons}"
    )
    return reasons


async def goes_on(before: Mapping[str, float], *workers: WorkerProcess) -> float:
    """Wait until events of every partition are folded and flushed again; how long it took."""
    began_s, since_s = time.monotonic(), time.time()
    while True:
        now = await folded_by_partition(*workers)
        flushed = [await _samples(each, "meter_last_flush_timestamp_seconds{") for each in workers]
        waiting = [
            number
            for number in before
            if now.get(number, 0.0) <= before[number]
            or max(each.get(number, 0.0) for each in flushed) <= since_s
        ]
        took_s = time.monotonic() - began_s
        if not waiting:
            return took_s
        assert all(worker.is_running() for worker in workers), workers[0].tail()
        if took_s > GOES_ON_S:
            stuck = await workers[0].stuck_at()
            raise AssertionError(f"{waiting} do not go on {took_s:.0f} s after:\n{stuck}")
        await asyncio.sleep(0.1)


async def folded_by_partition(*workers: WorkerProcess) -> dict[str, float]:
    """Events folded since the workers started."""
    total: defaultdict[str, float] = defaultdict(float)
    for worker in workers:
        for partition, count in (await _samples(worker, "meter_events_folded_total{")).items():
            total[partition] += count
    return total


async def restores(worker: WorkerProcess) -> float:
    """Partitions that were restored since the worker started."""
    found = await _samples(worker, "meter_restore_seconds_count{")
    return sum(found[source] for source in found if "parked" not in source)


async def retries(worker: WorkerProcess) -> dict[str, float]:
    """Flushes that were not taken since the worker started, by reason."""
    return await _samples(worker, "meter_flush_retries_total{")


async def _samples(worker: WorkerProcess, start: str) -> dict[str, float]:
    lines = (await text_of(f"{worker.url}/metrics")).splitlines()
    found = (line.rsplit(" ", 1) for line in lines if line.startswith(start))
    return {each.removeprefix(start).rstrip("}"): float(value) for each, value in found}


async def frozen(brokers: Collection[LocalKafka], away_s: float) -> None:
    """SIGSTOP: their connections stay open."""
    for broker in brokers:
        pause(broker.process)
    try:
        await asyncio.sleep(away_s)
    finally:
        for broker in brokers:
            resume(broker.process)


async def killed(brokers: Collection[LocalKafka], away_s: float) -> None:
    """SIGKILL."""
    for broker in brokers:
        broker.kill()
    try:
        await asyncio.sleep(away_s)
    finally:
        await asyncio.gather(*(broker.start() for broker in brokers))


async def stopped(brokers: Collection[LocalKafka], away_s: float) -> None:
    """In order, one after another: each leaves the replicas in sync."""
    for broker in brokers:
        await broker.stop()
    await asyncio.sleep(away_s)
    await asyncio.gather(*(broker.start() for broker in brokers))


async def through_at(
    place: str, worker: WorkerProcess, broker: LocalKafka, away_s: float, say: Say = click.echo
) -> None:
    """The broker freezes when the worker, started again, comes to a failpoint."""
    await worker.kill()
    await worker.start(f"{place}:{PLACES[place]}:stop")
    await worker.stopped(REACHED_S)
    pause(broker.process)
    worker.signal(signal.SIGCONT)
    # A partition may come to the failpoint before another is restored; each is restored once.
    owed = worker.settings.raw_partitions
    await through(f"frozen {place}", lambda: frozen([broker], away_s), worker, say=say, owed=owed)


async def of_one(
    worker: WorkerProcess,
    other: WorkerProcess,
    broker: LocalKafka,
    away_s: float,
    frozen_s: float,
    say: Say,
) -> None:
    """Every way in which the only broker is away, wherever the worker is then."""
    await asyncio.sleep(RUNS_BEFORE_S)
    await through("frozen", lambda: frozen([broker], frozen_s), worker, say=say)
    await through("killed", lambda: killed([broker], away_s), worker, say=say)
    for place in PLACES:
        await through_at(place, worker, broker, away_s, say)
    await other.start()
    rebalance = "frozen while a worker joins"
    await through(rebalance, lambda: frozen([broker], away_s), worker, other, say=say)
    assert await other.stop() == 0, other.tail()
    await goes_on(await folded_by_partition(worker), worker)


def active_controller(brokers: Brokers) -> int:
    """The node that leads the others, as the newest of their files says."""
    told = [
        json.loads(file.read_text())
        for broker in brokers.values()
        for file in broker.directory.glob("data/__cluster_metadata-0/quorum-state")
    ]
    return int(max(told, key=lambda state: state["leaderEpoch"])["leaderId"])


async def restarted_one_by_one(settings: Settings, brokers: Brokers, away_s: float) -> None:
    """A rolling restart: leaders move at each step, and come back by preferred election."""
    for broker in brokers.values():
        await stopped([broker], away_s)
        await all_in_sync(settings)


async def all_in_sync(settings: Settings) -> None:
    """Until every copy of everything is whole, and every leader is the one it should be."""
    nodes, found = len(settings.kafka_bootstrap_servers), ""
    with suppress(TimeoutError):
        async with asyncio.timeout(IN_SYNC_S):
            while True:
                with suppress(KafkaError, OSError):
                    async with admin_client(settings) as admin:
                        topics = await admin.describe_topics()
                    found = "; ".join(
                        f"{topic['topic']} {each}"
                        for topic in topics
                        for each in topic["partitions"]
                        if len(each["isr"]) < nodes or each["leader"] != each["replicas"][0]
                    )
                    if not found:
                        return
                await asyncio.sleep(0.2)
    raise AssertionError(f"not in sync after {IN_SYNC_S:g} s: {found}")


async def controller_killed(brokers: Brokers, away_s: float) -> None:
    """Whoever leads the others now."""
    await killed([brokers[active_controller(brokers)]], away_s)


async def of_three(
    worker: WorkerProcess,
    settings: Settings,
    brokers: Brokers,
    away_s: float,
    say: Say,
    only: Collection[str] = (),
) -> None:
    """Every way in which some of three brokers are away, or all of them; or some of the ways."""
    nodes = list(brokers.values())
    outages: dict[str, Outage] = {
        "one frozen": lambda: frozen(nodes[:1], away_s),
        "one killed": lambda: killed(nodes[1:2], away_s),
        "active controller killed": lambda: controller_killed(brokers, away_s),
        TOO_FEW: lambda: stopped(nodes[:2], away_s),
        "all frozen": lambda: frozen(nodes, away_s),
        "all killed": lambda: killed(nodes, away_s),
        "restarted one by one": lambda: restarted_one_by_one(settings, brokers, away_s / 10),
    }
    for name in only or outages:
        await all_in_sync(settings)
        await through(name, outages[name], worker, say=say)
    text = worker.log_file.read_text()
    assert re.search("kafka_refuses_writes: .* has 1 of 3 replicas", text)


async def run(of: str, away_s: float, frozen_s: float, directory: Path) -> None:
    """Servers, workers and load; then all outages of one broker or of three; then the proof."""
    async with AsyncExitStack() as servers:
        redis = await servers.enter_async_context(LocalRedis(directory / "redis"))
        if of == "three":
            brokers = await servers.enter_async_context(cluster(directory / "kafka"))
        else:
            kafka = await servers.enter_async_context(
                LocalKafka(directory / "kafka", properties=TOGETHER)
            )
            brokers = {1: kafka}
        settings = Settings(
            profile="test",
            kafka_bootstrap_servers=tuple(broker.address for broker in brokers.values()),
            kafka_dir=brokers[1].directory,
            redis_url=redis.url,
            state_dir=directory / "state",
            raw_partitions=4,
            replication_factor=len(brokers),
            flush_interval_s=0.3,
            flush_max_changes=5,
            revise_every_s=5,
        )
        other = WorkerProcess(settings, directory, "other")
        worker = await servers.enter_async_context(worker_process(settings, directory))
        world = await servers.enter_async_context(world_on(settings, worker.url))
        try:
            async with load(world):
                if of == "three":
                    await of_three(worker, settings, brokers, away_s, click.echo)
                else:
                    await of_one(worker, other, brokers[1], away_s, frozen_s, click.echo)
            world.api.url = worker.url
            ledger = await prove(world, directory)
            click.echo(f"{world.acknowledged} events, {len(ledger.bodies)} records, byte for byte")
        finally:
            await other.kill()


@click.command()
@click.option("--of", "among", type=click.Choice(["one", "three"]), multiple=True)
@click.option("--away", default=60.0, show_default=True, help="Seconds of an absence.")
@click.option("--frozen", "frozen_s", default=130.0, show_default=True, help="Of the longest one.")
def main(among: tuple[str, ...], away: float, frozen_s: float) -> None:
    """Long absences of the only broker, and of some of three."""
    logging.basicConfig(level=logging.CRITICAL)
    for of in among or ("one", "three"):
        directory, well = Path(tempfile.mkdtemp(prefix="outages-")), False
        try:
            asyncio.run(run(of, away, frozen_s, directory))
            well = True
        except AssertionError as error:
            click.echo(f"violation: {error}")
            click.echo("\n".join(getattr(error, "__notes__", ())))
        finally:
            if well:
                shutil.rmtree(directory)
            else:
                click.echo(f"files: {directory}")
        if not well:
            sys.exit(1)


if __name__ == "__main__":
    main()
