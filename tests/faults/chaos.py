"""Chaos: faults on real servers for as many minutes as asked, then the proof.

    python -m tests.faults.chaos --minutes 10 [--seed 7]

Two workers share a load while they are killed, stopped, frozen beyond their session (zombies), and
while the broker is killed and Redis emptied. Afterwards usage equals a recount, and the usage
records equal the offline fold of both logs, byte for byte. One line a fault; exit 1 on a violation.
"""

from __future__ import annotations

import asyncio
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import click
from redis.asyncio import Redis

from app.settings import Settings
from app.stack.kafka import LocalKafka
from app.stack.redis import LocalRedis
from tests.faults.load import load, prove, supervised, world_on
from tests.live.worker import SESSION_S, WorkerProcess, worker_process

Fault = Callable[[], Awaitable[None]]


class Chaos:
    """The servers and workers of one run, and what may happen to them."""

    def __init__(
        self,
        chance: random.Random,
        kafka: LocalKafka,
        redis: LocalRedis,
        workers: list[WorkerProcess],
    ):
        self.chance = chance
        self.kafka = kafka
        self.redis = redis
        self.workers = workers
        self.happened: Counter[str] = Counter()

    async def run(self, minutes: float) -> None:
        """One fault after another, at random moments."""
        faults: dict[str, tuple[int, Fault]] = {
            "worker killed": (10, self.kill_worker),
            "worker stopped": (4, self.stop_worker),
            "zombie": (2, self.zombie),
            "broker killed": (2, self.kill_broker),
            "redis emptied": (2, self.empty_redis),
            "redis killed": (1, self.kill_redis),
        }
        names = list(faults)
        weights = [weight for weight, _ in faults.values()]
        over_s = time.monotonic() + minutes * 60
        while time.monotonic() < over_s:
            await asyncio.sleep(self.chance.uniform(0.3, 3.0))
            (name,) = self.chance.choices(names, weights)
            self.happened[name] += 1
            click.echo(f"{time.strftime('%H:%M:%S')} {name}")
            await faults[name][1]()

    async def kill_worker(self) -> None:
        """SIGKILL; somebody starts it again."""
        worker = self.chance.choice(self.workers)
        if worker.is_running():
            worker.signal(signal.SIGKILL)

    async def stop_worker(self) -> None:
        """SIGTERM; somebody starts it again: two rebalances."""
        worker = self.chance.choice(self.workers)
        if worker.is_running():
            worker.signal(signal.SIGTERM)

    async def zombie(self) -> None:
        """Frozen for longer than its session, then on again as if nothing had been."""
        worker = self.chance.choice(self.workers)
        if not worker.is_running():
            return
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(2 * SESSION_S)
        if worker.is_running():
            worker.signal(signal.SIGCONT)

    async def kill_broker(self) -> None:
        """SIGKILL, and away for some seconds."""
        self.kafka.process.kill()
        await asyncio.sleep(self.chance.uniform(1.0, 6.0))
        await self.kafka.start()

    async def empty_redis(self) -> None:
        """FLUSHALL."""
        client = Redis.from_url(self.redis.url)
        try:
            await client.flushall()
        finally:
            await client.aclose()

    async def kill_redis(self) -> None:
        """SIGKILL, and away for some seconds."""
        self.redis.process.kill()
        await asyncio.sleep(self.chance.uniform(0.5, 5.0))
        await self.redis.start()


async def run(minutes: float, seed: int) -> bool:
    """Whether the run ended without a violation."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with (
            LocalKafka(directory / "kafka") as kafka,
            LocalRedis(directory / "redis") as redis,
        ):
            settings = Settings(
                profile="test",
                kafka_bootstrap_servers=kafka.bootstrap_servers,
                kafka_dir=kafka.directory,
                redis_url=redis.url,
                state_dir=directory / "state",
                raw_partitions=4,
                flush_interval_s=0.3,
                revise_every_s=5,
            )
            async with (
                worker_process(settings, directory, "first") as first,
                worker_process(settings, directory, "second") as second,
                world_on(settings, first.url) as world,
                supervised(first),
                supervised(second),
            ):
                chaos = Chaos(random.Random(seed), kafka, redis, [first, second])
                async with load(world, seed) as traffic:
                    await chaos.run(minutes)
                click.echo(f"{traffic.sent} events sent; {dict(chaos.happened)}")
                await first.until_ready()
                world.api.url = first.url
                try:
                    ledger = await prove(world, directory)
                except AssertionError as error:
                    click.echo(f"violation: {error} {getattr(error, '__notes__', '')}")
                    click.echo(
                        f"again: python -m tests.faults.chaos --minutes {minutes} --seed {seed}"
                    )
                    return False
                click.echo(f"no violation; {len(ledger.bodies)} records, none twice")
                return True


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--seed", default=7, show_default=True)
def main(minutes: float, seed: int) -> None:
    """Run it."""
    logging.basicConfig(level=logging.CRITICAL)
    sys.exit(0 if asyncio.run(run(minutes, seed)) else 1)


if __name__ == "__main__":
    main()
