"""What a large refold costs the worker's loop, fed there and fed by a child of the worker.

One subscription's events are in the ledger on disk; both ways take turns. Told are the CPU of the
worker's process and of its child, how long it takes, and how late the loop was at most.

    python -m bench.large_refold [--events 10000 100000 1000000] [--share 0.5]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from app.bounds.turns import Turns, Work
from app.runtime.homes import HomePartitions
from app.runtime.refolder import Refolder
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import ScanTurn, feeding
from bench.ledger import World
from bench.world import Lateness
from tests.app.runtime.alone import settings_of

ROUNDS = 3


async def measured(world: World, refolder: Refolder) -> tuple[float, float, float, float]:
    """Refold once; return seconds of CPU here and in the child, of time, and of lateness."""
    lateness = Lateness(0.01)
    partition = world.partition
    turn, homes = ScanTurn(Turns(), Work("refold")), HomePartitions(partition.definitions, 1)
    gc.collect()
    child = resource.getrusage(resource.RUSAGE_CHILDREN)
    began, began_s = time.process_time(), time.perf_counter()
    job = world.refold()
    scanning = Scan(settings_of(), 0, homes, partition.definitions, partition.work, world.ledger)
    async with scanning as scan:
        scan.seek_only(*job.sought())
        scan.start(partition.checkpoint, 0, 0)
        await refolder.feed(job, scan, turn)
        async for part in scan.read(partition.checkpoint, turn):
            await turn.run(feeding(job.feed)(part))
    if not await turn.run(job.swapping()):
        raise RuntimeError("a refold is not swapped in")
    spent, spent_s = time.process_time() - began, time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    beside = after.ru_utime + after.ru_stime - child.ru_utime - child.ru_stime
    return spent, beside, spent_s, lateness.end()


async def told(events: int, share: float) -> None:
    """Tell the best of some rounds, both ways by turns."""
    with TemporaryDirectory() as directory:
        world = World(events, 1, Path(directory))
        await world.take()
        world.checkpoint.raw_next = events
        world.ledger.pack()
        world.ledger.commit()
        await world.ledger.rest()
        gc.freeze()
        ways = {"loop": Refolder(0, lambda: False), "child": Refolder(share, lambda: False)}
        found = {
            name: [await measured(world, refolder) for _ in range(ROUNDS)]
            for name, refolder in ways.items()
        }
        gc.unfreeze()
        if events and ways["child"].fed["child"] != ROUNDS:
            print(f"{'':>9}         of {ROUNDS} refolds the child fed {ways['child'].fed['child']}")
        for name, rounds in found.items():
            cpu, beside, took_s, late_s = (min(each) for each in zip(*rounds, strict=True))
            print(
                f"{events:>9,} events: {name:>5} {cpu:>7.2f} s of CPU in the worker, "
                f"{beside:>6.2f} beside it, {took_s:>6.2f} s in all, "
                f"the loop at most {late_s * 1e3:>5.1f} ms late"
            )


def main() -> None:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--share", type=float, default=0.5)
    options = parser.parse_args()
    with patch("app.runtime.refolder.REFOLD_ON_LOOP_BYTES", 0):
        for events in options.events:
            asyncio.run(told(events, options.share))


if __name__ == "__main__":
    main()
