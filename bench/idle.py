"""Many empty partitions: how long a start takes, what a worker costs that has nothing to do.

And what it costs to hear of a new customer, or of a new subscription, each second.

python -m bench.idle [--seconds N] [PARTITIONS ...]
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial

import click
import uvloop

from app.definitions import commands
from app.definitions.command import Command
from app.main import Worker, running_worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from bench.world import (
    define,
    definitions_log,
    in_own_process,
    local_servers,
    subscription_of,
    until_owned,
)

DEFINED = 10


@click.command()
@click.option("--seconds", default=20, show_default=True, help="How long the worker is idle.")
@click.argument("partitions", type=int, nargs=-1)
def main(seconds: int, partitions: tuple[int, ...]) -> None:
    """Measure start and idle CPU with so many partitions."""
    for count in partitions or (4, 64):
        uvloop.run(_main(count, seconds))


async def _main(partitions: int, seconds: int) -> None:
    async with local_servers(partitions) as settings:
        for what in ("first start", "start again"):
            await asyncio.to_thread(in_own_process, _measure, settings, what, seconds)


async def _measure(settings: Settings, what: str, seconds: int) -> None:
    began_s, cpu = time.perf_counter(), time.process_time()
    async with running_worker(settings) as worker:
        await until_owned(worker)
        started_s, started_cpu = time.perf_counter() - began_s, time.process_time() - cpu
        click.echo(
            f"{settings.raw_partitions:4} partitions   {what:12} {started_s:7.2f} s   "
            f"{started_cpu:6.2f} s CPU"
        )
        if what == "first start":
            # Idle with something defined, as a worker is.
            await define(worker, definitions_log(DEFINED))
            return
        await asyncio.sleep(3)
        cpu = time.process_time()
        await asyncio.sleep(seconds)
        share = (time.process_time() - cpu) / seconds
        click.echo(f"{settings.raw_partitions:4} partitions   idle         {share:7.2%} of a core")
        customer = partial(commands.upsert_customer, LOCAL_ORGANIZATION_ID)
        await _defining(worker, seconds, "customers", lambda n: customer({"external_id": f"c{n}"}))
        subscription = partial(commands.create_subscription, LOCAL_ORGANIZATION_ID)
        await _defining(
            worker, seconds, "subscriptions", lambda n: subscription(subscription_of(DEFINED + n))
        )


async def _defining(
    worker: Worker, seconds: int, what: str, made: Callable[[int], Command]
) -> None:
    """Define something each second; say what it takes, and how many flushes it makes."""
    engine, definer = worker.engine, worker.gateway.definer

    def flushes() -> int:
        return sum(owned.commits.flush for owned in engine.owned.values())

    before, cpu = flushes(), time.process_time()
    for number in range(seconds):
        await definer.define(made(number))
        await asyncio.sleep(1)
    share, made_flushes = (time.process_time() - cpu) / seconds, flushes() - before
    click.echo(
        f"{len(engine.owned):4} partitions   {what:12} {share:7.2%} of a core, one a second, "
        f"{made_flushes / seconds:.1f} flushes of partitions for each"
    )


if __name__ == "__main__":
    main()
