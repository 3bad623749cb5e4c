"""Chaos: faults on real servers until the goals are reached, then the proof.

    python -m tests.faults.chaos --minutes 10 [--seed 7] [--events 600000] [--kills 90] …

Two workers share a load, and a third comes and goes, while they are killed, stopped, frozen beyond
their session (zombies), and while the broker is killed and Redis emptied. Events and faults are
spread over the minutes; what is not reached then takes longer. Now and then nothing happens until
all is served again, within `SERVING_S`. Afterwards usage equals a recount, the usage records equal
the offline fold of both logs, byte for byte, and `meter verify` finds nothing. One line a fault and
one a minute; exit 1 on a violation, of which the files are kept: what the workers said, and what
they were at.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

import click
from aiohttp import ClientError
from redis.asyncio import Redis

from app.errors import StackError
from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from app.settings import Settings
from tests.world.live.api import Api
from tests.world.live.load import (
    SERVING_S,
    STEP_S,
    NotServing,
    load,
    prove_whole,
    restarted,
    serving,
    spread,
    world_on,
)
from tests.world.live.worker import SESSION_S, WorkerProcess, worker_process
from tests.world.live.world import Traffic, World

Fault = Callable[[], Awaitable[None]]
Goals = Mapping[str, int]

FAULTS_AT_A_STRETCH = (4, 16)
"""At least and at most so many faults between two moments of rest."""
A_MINUTE = {
    "events": 60_000.0,
    "conflicts": 100.0,
    "kills": 9.0,
    "rebalances": 5.0,
    "broker-kills": 1.0,
    "zombies": 1.0,
    "wipes": 1.0,
    "redis-kills": 0.5,
}
"""The goals of a run that is told nothing else.

Conflicts are events that repeat an id with something else: each is looked up in the log, and where
the smaller position comes later all of a metric and subscription is folded again. A rebalance is a
worker that comes or goes in order; a wipe empties Redis.
"""
STOPPED = 0.5
"""Share of the rebalances that are one of our two workers stopped, and started again."""
KILLED_WHILE_STARTING = 0.2
"""Share of the kills that may hit a worker that does not answer yet; others wait for one."""
LATE_PAUSE_S = (0.3, 3.0)
"""At least and at most so long between two faults that come later than planned."""
ENDS_WITHIN_S = 60.0
"""After SIGTERM."""


_WATCH_S = 0.5
_STANDSTILL_S = 10.0


class NotEnding(AssertionError):
    """A worker that was told to end goes on."""


class Chaos:
    """The servers and workers of one run, and what may happen to them."""

    def __init__(
        self,
        chance: random.Random,
        kafka: LocalKafka,
        redis: LocalRedis,
        workers: list[WorkerProcess],
        visitor: WorkerProcess,
        world: World,
    ):
        self.chance = chance
        self.kafka = kafka
        self.redis = redis
        self.workers = workers
        self.visitor = visitor
        self.world = world
        self.happened: Counter[str] = Counter()
        self.killed_starting = 0
        """Of the workers killed, those that did not answer yet."""
        self.rests_s: list[float] = []
        """How long after faults all was served again."""
        self.stood_still_s = 0.0
        """How long something stopped the whole run; then no time is to be trusted."""
        self._ending: dict[int, tuple[WorkerProcess, float]] = {}
        """Process id to worker and when it has to be gone."""

    async def run(self, goals: Goals, minutes: float) -> None:
        """So many faults of each kind, in random order, at random moments.

        Raises:
            NotServing: a rest was not enough for the group to come back.
            NotEnding: a stopped worker goes on.
        """
        faults: dict[str, Fault] = {
            "kills": self.kill_worker,
            "rebalances": self.rebalance,
            "broker-kills": self.kill_broker,
            "zombies": self.zombie,
            "wipes": self.empty_redis,
            "redis-kills": self.kill_redis,
        }
        deck = [name for name in faults for _ in range(goals[name])]
        self.chance.shuffle(deck)
        began_s, step_s = self.now_s(), minutes * 60 / max(1, len(deck))
        left = self.chance.randint(*FAULTS_AT_A_STRETCH)
        for number, name in enumerate(deck):
            due_s = began_s + (number + self.chance.random()) * step_s
            # Who is late does not hurry so that nobody comes up in between.
            await asyncio.sleep(max(self.chance.uniform(*LATE_PAUSE_S), due_s - self.now_s()))
            await faults[name]()
            self.happened[name] += 1
            self._all_end_in_time()
            left -= 1
            if not left:
                await self.rest()
                left = self.chance.randint(*FAULTS_AT_A_STRETCH)

    async def end(self) -> None:
        """The third worker goes, and all is served once more."""
        if self.visitor.is_running():
            self._tell_to_end(self.visitor)
        await self.rest()

    async def watch_for_standstills(self) -> None:
        """Note when nothing ran at all, neither the workers nor we: somebody stopped us."""
        while True:
            before_s = time.monotonic()
            await asyncio.sleep(_WATCH_S)
            late_s = time.monotonic() - before_s - _WATCH_S
            if late_s > _STANDSTILL_S:
                _say(f"everything stood still for {late_s:.0f} s")
                self.stood_still_s += late_s

    def now_s(self) -> float:
        """Time in which there was something to see."""
        return time.monotonic() - self.stood_still_s

    async def rest(self) -> None:
        """Nothing happens until all is served again."""
        took_s = await serving(self.world, self._addresses)
        self.rests_s.append(took_s)
        _say(f"all is served {took_s:.1f} s later")

    def _addresses(self) -> list[str]:
        """Where the workers answer, those of our two that do not yet as ""."""
        addresses = []
        for worker in [*self.workers, self.visitor]:
            if worker.is_running():
                worker.look_for_url()
            if worker in self.workers or worker.is_running():
                addresses.append(worker.url if worker.is_running() else "")
        self._all_end_in_time()
        return addresses

    async def kill_worker(self) -> None:
        """SIGKILL; somebody starts it again, the third one when it is due to come again."""
        anyone = self.chance.random() < KILLED_WHILE_STARTING
        worker = await self._one_of(self._running if anyone else self._answering)
        worker.look_for_url()
        self.killed_starting += not worker.url
        _say(f"{worker.name} killed{'' if worker.url else ' while it started'}")
        worker.signal(signal.SIGKILL)

    async def rebalance(self) -> None:
        """A worker comes or goes in order."""
        if self.chance.random() < STOPPED:
            await self.stop_worker()
        else:
            await self.visit()

    async def stop_worker(self) -> None:
        """SIGTERM; somebody starts it again: two rebalances."""
        worker = await self._one_of(self._ours)
        _say(f"{worker.name} stopped")
        self._tell_to_end(worker)

    async def visit(self) -> None:
        """The third worker starts, or is told to end."""
        if self.visitor.is_running():
            _say(f"{self.visitor.name} goes")
            self._tell_to_end(self.visitor)
        else:
            _say(f"{self.visitor.name} comes")
            self.visitor.launch()

    def _running(self) -> list[WorkerProcess]:
        return [worker for worker in [*self.workers, self.visitor] if worker.is_running()]

    def _answering(self) -> list[WorkerProcess]:
        """Those that answer and are not told to end."""
        workers = self._running()
        for worker in workers:
            worker.look_for_url()
        return [worker for worker in workers if worker.url and worker.pid not in self._ending]

    def _ours(self) -> list[WorkerProcess]:
        return [worker for worker in self._answering() if worker is not self.visitor]

    async def _one_of(self, find: Callable[[], list[WorkerProcess]]) -> WorkerProcess:
        """One of those that there are, or will soon be."""
        deadline_s = time.monotonic() + SERVING_S
        while not (workers := find()):
            if time.monotonic() > deadline_s:
                raise NotServing(f"no worker is up after {SERVING_S} s")
            await asyncio.sleep(0.1)
            self._all_end_in_time()
        return self.chance.choice(workers)

    def _tell_to_end(self, worker: WorkerProcess) -> None:
        worker.signal(signal.SIGTERM)
        self._ending.setdefault(worker.pid, (worker, time.monotonic() + ENDS_WITHIN_S))

    def _all_end_in_time(self) -> None:
        for pid, (worker, deadline_s) in list(self._ending.items()):
            if worker.pid != pid or not worker.is_running():
                del self._ending[pid]
            elif time.monotonic() > deadline_s:
                raise NotEnding(f"{worker.log_file.stem} ({pid}) goes on after {ENDS_WITHIN_S} s")

    async def zombie(self) -> None:
        """Frozen for longer than its session, then on again as if nothing had been."""
        worker = await self._one_of(self._answering)
        _say(f"{worker.name} frozen")
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(2 * SESSION_S)
        if worker.is_running():
            worker.signal(signal.SIGCONT)

    async def kill_broker(self) -> None:
        """SIGKILL, and away for some seconds."""
        _say("broker killed")
        self.kafka.process.kill()
        await asyncio.sleep(self.chance.uniform(1.0, 6.0))
        began_s = time.monotonic()
        while True:
            try:
                await self.kafka.start()
            except StackError:
                _say("the broker was too slow to start: once more")
            else:
                _say(f"the broker is back {time.monotonic() - began_s:.1f} s after its start")
                return

    async def empty_redis(self) -> None:
        """FLUSHALL."""
        _say("redis emptied")
        client = Redis.from_url(self.redis.url)
        try:
            await client.flushall()
        finally:
            await client.aclose()

    async def kill_redis(self) -> None:
        """SIGKILL, and away for some seconds."""
        _say("redis killed")
        self.redis.process.kill()
        await asyncio.sleep(self.chance.uniform(0.5, 5.0))
        await self.redis.start()

    async def tell_progress(self, traffic: Traffic, goals: Goals) -> None:
        """How far each goal is, every minute."""
        while True:
            await asyncio.sleep(60)
            done = {
                **self.happened,
                "events": traffic.acknowledged,
                "conflicts": traffic.conflicting,
            }
            told = ", ".join(
                f"{name} {done.get(name, 0):,}/{goal:,}" for name, goal in goals.items()
            )
            _say(f"-- {told}; to fold: {await self._behind()}")

    async def _behind(self) -> str:
        """How many records the workers have still to fold, as far as one of them knows."""
        for worker in self._answering():
            with suppress(ClientError, TimeoutError, KeyError, ValueError):
                async with Api(worker.url) as api:
                    partitions = (await api.overview())["partitions"]
                    lags = [p["lag"] + p["rekeyed_lag"] for p in partitions if p["lag"] is not None]
                    return f"{sum(lags):,} on {len(lags)} partitions"
        return "nobody knows"

    async def tell_tasks(self) -> None:
        """Let every worker write to its log what it is at."""
        for worker in [*self.workers, self.visitor]:
            if worker.is_running():
                worker.signal(signal.SIGUSR1)
        await asyncio.sleep(2)


def _say(what: str) -> None:
    click.echo(f"{time.strftime('%H:%M:%S')} {what}")


async def run(goals: Goals, minutes: float, seed: int, directory: Path) -> bool:
    """Whether the run ended without a violation."""
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
        visitor = WorkerProcess(settings, directory, "third")
        async with (
            worker_process(settings, directory, "first") as first,
            worker_process(settings, directory, "second") as second,
            world_on(settings, first.url) as world,
        ):
            chance = random.Random(seed)
            chaos = Chaos(chance, kafka, redis, [first, second], visitor, world)
            watching = asyncio.create_task(chaos.watch_for_standstills())
            try:
                async with restarted(first), restarted(second):
                    traffic = await _faults_under_load(chaos, goals, minutes, seed)
                    return await _proved(chaos, traffic, directory)
            except (AssertionError, ClientError, TimeoutError) as error:
                what = "no verdict" if chaos.stood_still_s else "violation"
                _say(f"{what}: {type(error).__name__}: {error}")
                click.echo("\n".join(getattr(error, "__notes__", ())))
                await chaos.tell_tasks()
                return False
            finally:
                watching.cancel()
                await visitor.kill()


async def _faults_under_load(chaos: Chaos, goals: Goals, minutes: float, seed: int) -> Traffic:
    due = spread(goals["events"], minutes * 60, chaos.now_s)
    conflicts = goals["conflicts"] / goals["events"]
    async with load(chaos.world, seed, due, conflicts) as traffic:
        telling = asyncio.create_task(chaos.tell_progress(traffic, goals))
        try:
            await chaos.run(goals, minutes)
            _say(f"all faults happened, beside {traffic.acknowledged:,} events")
            while traffic.acknowledged < goals["events"]:
                await asyncio.sleep(STEP_S)
            await chaos.end()
        finally:
            telling.cancel()
    return traffic


async def _proved(chaos: Chaos, traffic: Traffic, directory: Path) -> bool:
    rests = chaos.rests_s
    _say(f"{traffic.acknowledged:,} events, {dict(chaos.happened)}")
    click.echo(
        f"of the workers killed {chaos.killed_starting} while they started\n"
        f"{len(rests)} rests, all was served within {max(rests):.1f} s of them"
    )
    chaos.world.api.url = chaos.workers[0].url
    ledger = await prove_whole(chaos.world, directory, traffic.acknowledged, _say)
    _say(f"no violation; {len(ledger.bodies)} records, none twice")
    return True


def _goal_options(command: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(A_MINUTE):
        text = f"Default: {A_MINUTE[name]:g} a minute."
        command = click.option(f"--{name}", name.replace("-", "_"), type=int, help=text)(command)
    return command


@click.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--seed", default=7, show_default=True)
@_goal_options
def main(minutes: float, seed: int, **wanted: int | None) -> None:
    """Faults on real servers until all goals are reached, then the proof."""
    logging.basicConfig(level=logging.CRITICAL)
    os.environ["TEST_LOG"] = "INFO"
    given = {name: wanted[name.replace("-", "_")] for name in A_MINUTE}
    goals = {
        name: round(A_MINUTE[name] * minutes) if goal is None else goal
        for name, goal in given.items()
    }
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    well = False
    try:
        well = asyncio.run(run(goals, minutes, seed, directory))
    finally:
        if well:
            shutil.rmtree(directory)
        else:
            named = " ".join(f"--{name} {goal}" for name, goal in goals.items())
            click.echo(
                f"again: python -m tests.faults.chaos --minutes {minutes:g} --seed {seed} {named}\n"
                f"files: {directory}"
            )
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
