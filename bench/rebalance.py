"""What a worker that comes, goes or is killed costs the others: the pauses of 64 partitions.

One worker folds many cells, and every partition gets an event each tenth of a second. A second
worker joins, leaves, joins again and is killed. Of each partition the longest time is told in which
none of its events was folded by anyone: for those that stay, and for those that move with their
cells. After a kill the others wait for the session first; that is told beside it.

    python -m bench.rebalance [--subscriptions N] [--groups N] [--partitions N]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import struct
import time
from collections import defaultdict
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import click
import uvloop
from aiokafka import AIOKafkaProducer

from app.local_servers.ports import free_ports
from app.main import running_worker
from app.settings import Settings
from bench.world import (
    METRICS,
    define,
    definitions_log,
    event_value,
    folded_events,
    keyed,
    local_servers,
)

LOOKED_EVERY_S = 0.01
SENT_EVERY_S = 0.1
CALM_S = 4.0
"""So long nothing is changed before and after."""
MOMENT = struct.Struct("<id")


@click.command()
@click.option("--subscriptions", default=400, show_default=True)
@click.option("--groups", default=100, show_default=True, help="Of each of five metrics.")
@click.option("--partitions", default=64, show_default=True)
def main(subscriptions: int, groups: int, partitions: int) -> None:
    """Measure pauses."""
    uvloop.run(_main(subscriptions, groups, partitions))


async def _main(subscriptions: int, groups: int, partitions: int) -> None:
    async with local_servers(partitions) as settings:
        first = _Process(settings, "first", subscriptions)
        await first.until_owning(partitions)
        sender = AIOKafkaProducer(linger_ms=5, **settings.kafka_options())
        await sender.start()
        load = _Load(settings, sender, subscriptions)
        await load.fill(groups)
        cells = len(METRICS) * subscriptions * groups
        await first.until_folded(cells)
        click.echo(f"{cells:,} cells of {partitions} partitions")
        sending = asyncio.create_task(load.send())
        try:
            await _measure(settings, first)
        finally:
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending
            await sender.stop()
            first.kill()


async def _measure(settings: Settings, first: _Process) -> None:
    partitions = settings.raw_partitions
    everyone = [first]
    began_s = await _calm()
    await _calm()
    _tell("nobody comes", everyone, set(), began_s)
    for ending in (_Process.leave, _Process.kill):
        began_s = await _calm()
        second = _Process(settings, f"second-{len(everyone)}")
        everyone.append(second)
        while len(await first.owned() | await second.owned()) < partitions or not (
            moved := await second.owned()
        ):
            await asyncio.sleep(SENT_EVERY_S)
        await _calm()
        _tell("one joins", everyone, moved, began_s)
        began_s = time.monotonic()
        ending(second)
        await first.until_owning(partitions)
        await _calm()
        _tell("it leaves" if ending is _Process.leave else "it is killed", everyone, moved, began_s)


async def _calm() -> float:
    await asyncio.sleep(CALM_S)
    return time.monotonic()


def _tell(what: str, workers: list[_Process], moved: set[int], began_s: float) -> None:
    moments: defaultdict[int, list[float]] = defaultdict(list)
    for worker in workers:
        for number, at_s in MOMENT.iter_unpack(worker.whole()):
            moments[number].append(at_s)
    gaps = {number: _longest_gap(sorted(seen), began_s) for number, seen in moments.items()}
    for kind, numbers in (("stay", gaps.keys() - moved), ("move", gaps.keys() & moved)):
        pauses = sorted(gaps[number] for number in numbers)
        if not pauses:
            continue
        click.echo(
            f"{what:14} {len(pauses):3} partitions {kind}   "
            f"pause {pauses[len(pauses) // 2]:6.2f} s at the median, {pauses[-1]:6.2f} s at most"
        )


def _longest_gap(moments: list[float], began_s: float) -> float:
    later = [max(moment, began_s) for moment in moments]
    return max(after - before for before, after in pairwise(later))


class _Load:
    """Events: one of each cell first, then one of each partition again and again."""

    def __init__(self, settings: Settings, sender: AIOKafkaProducer, subscriptions: int):
        self._settings, self._sender = settings, sender
        names = (f"subscription_{number:06d}" for number in range(subscriptions))
        self._homes = [keyed(name, settings.raw_partitions)[1] for name in names]
        self._sent = 0

    async def fill(self, groups: int) -> None:
        for number in range(len(self._homes)):
            for metric in METRICS:
                for group in range(groups):
                    await self._one(number, str(metric["code"]), group)
        await self._sender.flush()

    async def send(self) -> None:
        first = [self._homes.index(home) for home in set(self._homes)]
        while True:
            for number in first:
                await self._one(number, "calls", 0)
            await asyncio.sleep(SENT_EVERY_S)

    async def _one(self, number: int, code: str, group: int) -> None:
        self._sent += 1
        topic = self._settings.topic(self._settings.raw_topic)
        value = event_value(self._sent, number, time.time(), code, zone=f"z{group}")
        await self._sender.send(topic, value, partition=self._homes[number])


class _Process:
    """A worker in a process of its own; it notes when it has folded events of a partition."""

    def __init__(self, settings: Settings, name: str, subscriptions: int = 0):
        own = {"http_port": free_ports(1)[0], "state_dir": settings.state_dir / name}
        self._moments = Path(f"{settings.state_dir}-{name}-moments")
        self._there, here = multiprocessing.Pipe()
        self._process: BaseProcess = multiprocessing.get_context("spawn").Process(
            target=_run,
            args=(settings.model_copy(update=own), self._moments, here, subscriptions),
        )
        self._process.start()

    async def _asked(self) -> tuple[set[int], int]:
        """Return the partitions that it folds now, and how many events it has folded."""
        self._there.send("")
        while not self._there.poll():
            if not self._process.is_alive():
                raise SystemExit("the worker ended")
            await asyncio.sleep(LOOKED_EVERY_S)
        owned, folded = self._there.recv()
        return owned, folded

    async def owned(self) -> set[int]:
        return (await self._asked())[0]

    async def until_owning(self, count: int) -> None:
        while len(await self.owned()) != count:
            await asyncio.sleep(SENT_EVERY_S)

    async def until_folded(self, count: int) -> None:
        while (await self._asked())[1] < count:
            await asyncio.sleep(SENT_EVERY_S)

    def whole(self) -> bytes:
        seen = self._moments.read_bytes()
        return seen[: len(seen) - len(seen) % MOMENT.size]

    def leave(self) -> None:
        self._there.send("leave")

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _run(settings: Settings, moments: Path, asked: Connection, subscriptions: int) -> None:
    uvloop.run(_work(settings, moments, asked, subscriptions))


async def _work(settings: Settings, moments: Path, asked: Connection, subscriptions: int) -> None:
    began_cpu_s = time.process_time()
    with moments.open("ab", buffering=0) as noted:
        async with running_worker(settings) as worker:
            if subscriptions:
                await define(worker, definitions_log(subscriptions, groups=["zone"]))
            owned, last = worker.engine.owned, dict[int, tuple[int, int]]()
            while True:
                now_s = time.monotonic()
                for number, one in owned.items():
                    seen = id(one), one.folded_events
                    if last.get(number, seen) != seen:
                        noted.write(MOMENT.pack(number, now_s))
                    last[number] = seen
                if asked.poll():
                    if asked.recv() == "leave":
                        break
                    asked.send((set(owned), folded_events(worker)))
                await asyncio.sleep(LOOKED_EVERY_S)
    click.echo(f"   {moments.name}: {time.process_time() - began_cpu_s:.1f} s CPU")


if __name__ == "__main__":
    main()
