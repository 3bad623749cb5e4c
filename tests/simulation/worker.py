"""A worker: the real engine, its agents and tables, on simulated servers.

What is modelled instead of run is Faust and its consumer group: partitions are released and
assigned as a rebalance does, and one task delivers batches of the partitions owned, one at a time,
as the ingest agent takes them. A worker whose engine fails is gone, as its process would be.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar, cast
from unittest.mock import patch

from faust.types import TP

from agents import PARTITION_AGENTS, WORKER_AGENTS
from agents.ingest import take_raw, take_rekeyed
from agents.probe import probe
from app.bounds.cancellation import asked_to_end
from app.bounds.turns import Turns
from app.kafka.brokers import Brokers
from app.kafka.record_batch import RecordBatch
from app.runtime.apart import first_failure_here
from app.runtime.engine import Engine
from app.runtime.partition.careful import examine
from app.settings import Settings
from tests.simulation.kafka import Admin, Broker, Consumer, PartitionProducer, Producer
from tests.simulation.loop import VirtualLoop
from tests.simulation.process import PROCESS, Process, SimulatedClock, SkewedClock, failpoint
from tests.simulation.redis import Members, Redis
from tests.simulation.refolds import ChildHere
from tests.world.batches import split_records

T = TypeVar("T")

POLL_S = 0.5
PATIENCE_S = 300.0
"""A worker that is not done by then never will be."""


@contextmanager
def simulated(broker: Broker, redis: Redis) -> Iterator[None]:
    """Let the clients of engine, scans and stores be simulated ones."""
    numbers = count(1)

    def next_id() -> uuid.UUID:
        return uuid.UUID(int=next(numbers))

    replaced: dict[str, Any] = {
        "app.runtime.engine.gc": _Collector,
        "app.runtime.ownership.gc": _Collector,
        "app.runtime.engine.InOrderProducer": lambda **_: Producer(broker),
        "app.kafka.appender.Producer": lambda **_: Producer(broker),
        "app.runtime.offsets.Consumer": lambda **_: Consumer(broker),
        "app.ledger.ledger.to_thread": _at_once,
        "app.queries.explain.to_thread": _at_once,
        "app.ledger.ledger.uuid4": next_id,
        "app.definitions.shapes.uuid4": next_id,
        "app.ledger.ledger.MERGED_CHUNKS": 8,
        "app.kafka.log_readers.Consumer": lambda **_: Consumer(broker),
        "app.runtime.restoring.restorer.PartitionProducer": lambda _, number: PartitionProducer(
            broker, number
        ),
        "app.runtime.set_aside.PartitionProducer": lambda _, number: PartitionProducer(
            broker, number
        ),
        "app.runtime.engine.MemberStore": lambda _: Members(redis),
        "app.runtime.restoring.rebuild.admin_client": Admin(broker).connected,
        "app.runtime.partition.commit.failpoint": failpoint,
        "app.runtime.partition.verdicts.failpoint": failpoint,
        "agents.ingest.failpoint": failpoint,
        "agents.close.failpoint": failpoint,
        "app.runtime.partition.cuts.POLL_S": POLL_S,
        "agents.tick.POLL_S": POLL_S,
        "agents.cool.LOOK_S": 0.5,
        "tables.partition.cooling.IDLE_MS": 1_000,
        "tables.partition.cooling.GRAIN_MS": 100,
        "app.runtime.tasks.asked_to_end": _asked_to_end,
        "app.runtime.engine.Brokers": _Brokers,
        "app.runtime.apart.first_failure": first_failure_here,
        # A row each: then nearly all are on the shelf.
        "app.definitions.indexes.rows._FULL": 1,
        "app.runtime.refolder.ChildProcess": ChildHere,
        "app.runtime.partition.commit.monotonic": _loop_s,
        "app.runtime.partition.flush.monotonic": _loop_s,
        "app.runtime.delivery.monotonic": _loop_s,
        "app.runtime.ownership.monotonic": _loop_s,
        "app.runtime.restoring.restorer.monotonic": _loop_s,
    }
    patches = [patch(name, new) for name, new in replaced.items()]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in patches:
            each.stop()


async def _at_once(call: Callable[..., T], /, *told: object, **named: object) -> T:
    """In place of `to_thread`: the loop knows no threads."""
    await asyncio.sleep(0)
    return call(*told, **named)


class _Collector:
    """In place of `gc`: memory is of all simulated processes, and not for one of them to freeze."""

    disable = enable = collect = freeze = unfreeze = staticmethod(lambda: None)


class _Brokers(Brokers):
    """Nobody probes: there are no connections."""

    async def watch(self) -> None:
        """Nothing is looked at."""


def looked_at_clock(step_s: float) -> float:
    """Return the time of the loop, once so much of it has passed."""
    loop = cast(VirtualLoop, asyncio.get_running_loop())
    loop.spend(step_s)
    return loop.time()


def _loop_s() -> float:
    return asyncio.get_running_loop().time()


def _asked_to_end() -> bool:
    """Whether a cancellation was meant: here also the end of a process that was killed."""
    return PROCESS.get().dead or asked_to_end()


class Worker:
    """One process, from its start to its end."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        broker: Broker,
        clock: SimulatedClock,
        choose: random.Random,
        step_s: float = 0.0,
    ):
        """Take `step_s`: what it takes to look at the clock, which is done around each step."""
        self.name = name
        self.step_s = step_s
        self.settings = settings
        self.broker = broker
        self.clock = SkewedClock(clock)
        self.choose = choose
        self.process = Process(choose)
        self.slow: frozenset[int] = frozenset()
        """Partitions that nothing is delivered of for the time being."""
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, self.process)
        self._positions: dict[TP, int] = {}
        self._delivering = False
        self._era = 0
        """Grows with every assignment, as that of the transport does with every seek."""
        self._eras: Counter[int] = Counter()
        self._held: set[int] = set()
        self._given: frozenset[int] = frozenset()
        self._ownership = asyncio.Lock()
        self._out_of_group_s: float | None = None
        """Since when the others have gone on without it."""
        self.engine: Engine

    @property
    def directory(self) -> Path:
        """Its local disk."""
        return self.settings.state_dir

    @property
    def alive(self) -> bool:
        """Whether the process runs, stopped or not."""
        return not self.process.dead

    async def run(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run something in the process; CancelledError when it dies over it."""

        async def awaited() -> T:
            return await call()

        task = asyncio.get_running_loop().create_task(awaited(), context=self._context)
        done, _ = await asyncio.wait([task], timeout=PATIENCE_S)
        if not done:
            task.cancel()
            raise TimeoutError(f"{self.name} is not done after {PATIENCE_S} s: {call}")
        return task.result()

    def here(self, call: Callable[[], T]) -> T:
        """Call something in the process that waits for nothing."""
        return self._context.run(call)

    async def start(self) -> None:
        """Start the engine; it owns nothing yet."""

        async def start() -> None:
            self.engine = Engine(
                self.settings,
                self.clock,
                url=self.name,
                # The probe asks real servers in real time; nothing of the fold asks it.
                worker_agents=[agent for agent in WORKER_AGENTS if agent is not probe],
                partition_agents=PARTITION_AGENTS,
                # How long a step takes on this machine must change nothing.
                turns=Turns(partial(looked_at_clock, self.step_s)),
            )
            self.engine.delivery.attach(self)
            await self.engine.start()
            asyncio.ensure_future(self._deliver())  # noqa: RUF006  # the process holds its tasks
            asyncio.ensure_future(self._fail())  # noqa: RUF006

        await self.run(start)

    async def release(self) -> None:
        """A rebalance begins: everything is given back."""
        self._delivering = False
        given, self._given = self._given, frozenset()

        async def release() -> None:
            async with self._ownership:
                await self.engine.ownership.release(given)

        await self.run(release)

    @property
    def batches(self) -> Worker:
        """What it delivers it delivers by itself."""
        return self

    def acknowledge(self, batch: RecordBatch) -> bool:
        """Nobody commits offsets here: the state decides."""
        return False

    async def crash(self, error: BaseException) -> None:
        """The process ends by the engine's failure."""

    @property
    def group_heard_s(self) -> float:
        """Heartbeats are answered at once, unless the others have gone on without us."""
        now_s = _loop_s()
        return now_s + 1e-6 if self._out_of_group_s is None else self._out_of_group_s

    def left_behind(self) -> None:
        """The group goes on without it."""
        self._out_of_group_s = _loop_s()

    def fetched_ends(self, tp: TP) -> tuple[int, int] | None:
        """Nothing is fetched: whoever wants to know asks."""
        return None

    def hold(self, partition: int) -> None:
        """Deliver nothing of a partition."""
        self._held.add(partition)
        self._eras[partition] += 1

    async def deliver_from(self, partition: int, offsets: Mapping[TP, int]) -> bool:
        """Deliver a held partition again."""
        async with self._ownership:
            await self.process.passes()
            if not self._delivering or partition not in self._given:
                return False
            self.hold(partition)
            self._positions |= {tp: max(0, offset) for tp, offset in offsets.items()}
            self._held.discard(partition)
            return True

    async def assign(self, partitions: frozenset[int]) -> None:
        """A rebalance ends: these are ours now, and all of them fold."""
        await self.given(partitions)
        await self.run(self._whole)

    async def _whole(self) -> None:
        while self.engine.coming:
            await asyncio.sleep(0.01)

    async def given(self, partitions: frozenset[int]) -> None:
        """A rebalance ends: these are ours now. Each is brought yet."""
        self._out_of_group_s = None

        async def assign() -> None:
            async with self._ownership:
                self._given = partitions
                await self.engine.ownership.assign(partitions)
                self._positions.clear()
                self._held = set(partitions)
                self._era += 1
                self._delivering = True

        await self.run(assign)

    async def stop(self) -> None:
        """SIGTERM: hand over cleanly and end."""
        await self.release()
        await self.run(lambda: self.engine.stop())
        self.process.kill()

    def redeliver(self) -> None:
        """Read everything again from the start, as after a lost offset commit."""
        self._positions = dict.fromkeys(self._positions, 0)

    async def _fail(self) -> None:
        await self.engine.failed.wait()
        self.process.kill()

    async def _deliver(self) -> None:
        while True:
            batch = self._next_batch() if self._delivering else None
            if batch is None:
                with_timeout = asyncio.wait_for(self.broker.next_append.wait(), 0.5)
                try:
                    await with_timeout
                except TimeoutError:
                    continue
                await self.process.passes()
                continue
            await self.process.passes()
            owned = self.engine.owned.get(batch.tp.partition)
            try:
                await self._take(batch)
            except Exception as error:
                if owned is None:
                    await self.engine.crash(error)
                    return
                self.engine.ownership.fail(owned, error)
            # The next batch may be long in coming, and the partition given up meanwhile.
            del owned

    async def _take(self, batch: RecordBatch) -> None:
        # As `BatchConsumer.take`: what was on its way when a rebalance began is void.
        number = batch.tp.partition
        if not self._delivering or batch.era != self._era + self._eras[number]:
            return
        owned = self.engine.owned.get(batch.tp.partition)
        if owned is None:
            return
        await examine(owned, batch)
        if batch.tp.topic == self.settings.raw_topic:
            while await take_raw(owned, batch, self.engine.forwarder):
                if self.engine.owned.get(number) is not owned:
                    return
        else:
            while await take_rekeyed(owned, batch):
                if self.engine.owned.get(number) is not owned:
                    return
        owned.next_flush.keep([batch])

    def _next_batch(self) -> RecordBatch | None:
        ready = [
            tp
            for tp, position in self._positions.items()
            if tp.partition not in self.slow | self._held
            and self.broker.log(tp.topic, tp.partition).end > position
        ]
        if not ready:
            return None
        tp = self.choose.choice(ready)
        log, start = self.broker.log(tp.topic, tp.partition), self._positions[tp]
        size = self.choose.choice((1, 2, 5, 100))
        entries = log.read(start, size)
        end = log.end if len(entries) < size else entries[-1].offset + 1
        self._positions[tp] = end
        # Either way the same is folded.
        part = split_records(entries) if start % 2 else entries
        return RecordBatch([part], tp, start, end, self._era + self._eras[tp.partition])


def remember_tasks(loop: VirtualLoop) -> None:
    """Let every process know its tasks, so that they end with it."""

    def make(
        coroutine: Any, context: contextvars.Context | None = None, **options: Any
    ) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coroutine, context=context, **options)
        process = PROCESS.get(None) if context is None else context.get(PROCESS)
        if process is not None:
            process.hold(task)
            if process.dead:
                task.cancel()
        return task

    loop.set_task_factory(make)
