"""Plays a script on simulated servers and workers, and says what it came to.

It has over 500 lines: a method for each kind of step and fault, over the same few servers.
"""

from __future__ import annotations

import asyncio
import logging
import random
import tempfile
from collections.abc import Awaitable, Callable
from functools import cache, partial, partialmethod
from pathlib import Path
from shutil import rmtree
from typing import TypeVar, cast
from unittest.mock import patch

import msgspec
from aiokafka.errors import KafkaError

from app.bounds.limits import UNDEFINED_NAMES
from app.definitions.periods import NEVER_MS
from app.failpoints import Name
from app.kafka.topics import (
    CELLS_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    DAILY_CHANGELOG,
    EVALUATIONS_CHANGELOG,
    FIGURES_CHANGELOG,
    INDEX_CHANGELOG,
    INSTANTS_CHANGELOG,
    MEMBERS_CHANGELOG,
    METER_DEFINITIONS,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
)
from app.kafka.transactions import Fenced
from app.ledger.blocks import _SLAB_BYTES
from app.ledger.ledger import MEMORY_BYTES
from app.meter.errors import NotSetAside
from app.runtime.flush_pace import FEW, MANY
from app.runtime.partition.commit import OutputLost
from app.runtime.partition.member_sync import MembersTorn
from app.runtime.partition.owned import OwnedPartition
from app.runtime.set_aside import set_aside
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from app.settings import Settings
from app.wire.arrivals import ADMIT_HEADER, SubscriptionKey
from app.wire.keys import home_partition, message_key
from tables.cells.noted import FEW_CELLS
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.instants import CHAIN_AT_HAND_MS
from tables.changelogged.members import MemberKey, unpack_member
from tables.changelogged.piece_store import PiecesLost
from tables.changelogged.presence import LogsKept
from tables.closing.close import next_cut
from tables.event_index.row_log import RowsLost
from tables.partition.staleness import Staleness
from tables.reading.usage import current_usage
from tables.unique_count import WHOLE_OPERATIONS, Member
from tests.simulation.asking import Answers, usage_at
from tests.simulation.check import Outcome, arrivals_in
from tests.simulation.few import FEW_FROM, few_are_many
from tests.simulation.kafka import Broker, Log
from tests.simulation.loop import VirtualLoop, run
from tests.simulation.members import forgotten_of, members_of
from tests.simulation.process import SimulatedClock
from tests.simulation.redis import Redis
from tests.simulation.second import SECOND_FROM
from tests.simulation.steps import (
    Appended,
    Aside,
    Ask,
    AtOnce,
    Binary,
    Correction,
    Define,
    Dies,
    Event,
    Fault,
    OfOther,
    Pass,
    Poison,
    Priced,
    Retain,
    Script,
    Several,
    Step,
    binary_event,
    correction_json,
    event_json,
)
from tests.simulation.verifying import verified
from tests.simulation.worker import Worker, remember_tasks, simulated
from tests.world.clock import HOUR_MS, START_MS
from tests.world.definitions import ORG
from tests.world.partition import sum_of

T = TypeVar("T")

MINUTE_MS = 60_000
APPLIED_S = 2.5
REST_S = 600.0
"""Nothing may take longer than this once the faults are over."""

_KILLED_AT: dict[Fault, Name] = {
    Fault.CRASH_AFTER_FETCH: "after-fetch",
    Fault.CRASH_AFTER_FOLD: "after-fold",
    Fault.CRASH_BEFORE_COMMIT: "before-commit",
    Fault.CRASH_AFTER_COMMIT: "after-commit",
    Fault.CRASH_MID_CLOSE: "mid-close",
    Fault.CRASH_MID_DEAD_LETTERS: "mid-dead-letters",
}
_TORN = (
    CELLS_CHANGELOG,
    INDEX_CHANGELOG,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    INSTANTS_CHANGELOG,
    DAILY_CHANGELOG,
    MEMBERS_CHANGELOG,
)
"""Seeds that are odd tear the log of figures in place of the changelog of instants."""
_OUTPUT_LOST = 0.3
"""How often usage-records is torn together with a changelog."""
_COMMITS = {Fault.COMMIT_LOST: "lost", Fault.COMMIT_UNKNOWN: "unknown"}


class NeverAtRest(Exception):
    """The faults are over, and yet something does not come to its end."""


@cache
def _settings(partitions: int) -> Settings:
    return Settings(
        profile="test",
        kafka_bootstrap_servers=("simulated",),
        redis_url="redis://simulated",
        raw_partitions=partitions,
        close_grid_s=60,
        flush_interval_s=1.0,
        # So that cuts spread over flushes, in the middle of a period, too.
        flush_max_changes=2,
        dedupe_memory_bytes=1 << 20,
    )


SELDOM_FROM = 30_000_000
"""Seeds from here on flush seldom by turns: much comes between two flushes, cuts as well."""
_FLUSH_INTERVAL_S = (1.0, 10.0, 40.0)
_FLUSH_MAX_CHANGES = (2, 6, 50_000)
STEPS_FROM = 40_000_000
"""Seeds from here on have steps that take their time: others go on between any two of them."""
_STEP_S = (0.0, 0.002, 0.005)
_UNDEFINED_NAMES = (UNDEFINED_NAMES, 0, 1)
"""How many are kept one by one, by turns."""
_CHAIN_AT_HAND_MS = (CHAIN_AT_HAND_MS, 0, HOUR_MS)
"""For how long chains that nothing moves do not rest, by turns."""
_WHOLE_OPERATIONS = (WHOLE_OPERATIONS, 1, 2)
"""How many operations a member keeps that is paid in advance, by turns."""


def play(script: Script, seed: int = 0) -> Outcome:
    """Play a script; `seed` draws whom faults hit, and how calls interleave."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with tempfile.TemporaryDirectory() as directory:
            return run(in_simulation(script, seed, Path(directory), _to_the_end))
    finally:
        logging.disable(before)


async def in_simulation(
    script: Script, seed: int, directory: Path, act: Callable[[Player], Awaitable[T]]
) -> T:
    """Do something with a cluster that has not been started."""
    remember_tasks(cast(VirtualLoop, asyncio.get_running_loop()))
    player = Player(script, seed, directory)
    few = patch("tables.changelogged.presence_table.UNDEFINED_NAMES", _UNDEFINED_NAMES[seed % 3])
    apart = patch("tables.unique_count.WHOLE_OPERATIONS", _WHOLE_OPERATIONS[seed // 3 % 3])
    chains = patch("tables.changelogged.instants.CHAIN_AT_HAND_MS", _CHAIN_AT_HAND_MS[seed % 3])
    # What the ledger has of a refold is fed by its child, or on the loop.
    large = patch("app.runtime.refolder.REFOLD_ON_LOOP_BYTES", -1 if seed % 2 else 1 << 40)
    # Flushes wait as where very many cells change.
    many = patch("app.runtime.flush_pace.MANY", 0 if seed % 7 == 1 else MANY)
    none = patch("app.runtime.flush_pace.FEW", 0 if seed % 7 == 1 else FEW)
    # Some of what comes finds no room in the ledgers' memory, and leaves holes in them.
    room = patch("app.ledger.ledger.MEMORY_BYTES", 3_000 if seed % 7 == 3 else MEMORY_BYTES)
    # Or is packed in memory.
    slab = patch("app.ledger.blocks._SLAB_BYTES", 300 if seed % 7 == 3 else _SLAB_BYTES)
    # It is noted which cells change of however few, and published cells stay packed.
    noted = patch("tables.cells.cell.FEW_CELLS", 0 if seed // 2 % 2 else FEW_CELLS)
    packed = patch("tables.changelogged.published_period.FEW_CELLS", 0 if seed // 2 % 2 else 16)
    servers = simulated(player.broker, player.redis)
    bounds = few_are_many(seed)
    parking = patch.object(Staleness, "park", partialmethod(_parked, player.parked))
    with servers, few, apart, chains, large, many, none, room, slab, noted, packed, bounds, parking:
        return await act(player)


_park = Staleness.park


def _parked(
    staleness: Staleness, parked: set[SubscriptionKey], name: SubscriptionKey, reason: str
) -> None:
    parked.add(name)
    _park(staleness, name, reason)


async def _to_the_end(player: Player) -> Outcome:
    await player.begin()
    player.waits = False
    for step in player.steps:
        await player.step(step)
    player.waits = True
    return await player.end()


def tear_files(directory: Path, choose: random.Random) -> None:
    """Take one of the files there away, cut it short or flip a bit of it, now and then."""
    # Their names are numbers here. Two of one moment have no order in time.
    files = sorted(directory.rglob("*.*"), key=lambda path: path.name)
    if not files or choose.random() < 0.5:
        return
    path = choose.choice(files)
    content = bytearray(path.read_bytes())
    if not content:
        return
    match choose.randrange(3):
        case 0:
            path.unlink()
        case 1:
            path.write_bytes(content[: choose.randrange(len(content))])
        case _:
            content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
            path.write_bytes(content)


class Player:
    """The cluster: brokers, workers, and who owns what."""

    def __init__(self, script: Script, seed: int, directory: Path):
        self.script = script
        self.steps = list(script.steps)
        self.seed = seed
        self.choose = random.Random(seed)
        self.directory = directory
        # What is read again comes from the ledger, or from Kafka alone.
        ledger_bytes = 0 if seed % 5 == 4 else 1 << 30
        update: dict[str, object] = {"ledger_bytes": ledger_bytes}
        if seed >= SELDOM_FROM:
            flushes = random.Random(f"flushes {seed}")
            update["flush_interval_s"] = flushes.choice(_FLUSH_INTERVAL_S)
            update["flush_max_changes"] = flushes.choice(_FLUSH_MAX_CHANGES)
        self.settings = _settings(script.partitions).model_copy(update=update)
        steps = random.Random(f"steps {seed}")
        self.step_s = steps.choice(_STEP_S) if seed >= STEPS_FROM else 0.0
        if seed >= FEW_FROM:
            # They have many more.
            self.step_s /= 20
        self.clock = SimulatedClock(START_MS - HOUR_MS)
        self.broker = Broker(self.clock)
        self.redis = Redis()
        self.workers: list[Worker] = []
        self.slow: set[int] = set()
        self.started = 0
        self.waits = True
        """Whether a rebalance is over only when all partitions are restored."""
        self.violations: list[str] = []
        self._torn: set[str] = set()
        """Changelogs that lost records."""
        self.parked: set[SubscriptionKey] = set()
        """Whose figures stood as they were, at any time, because retention took their events."""

    async def begin(self) -> None:
        """Start the workers; the settings are in the log before anything else."""
        while self.steps and isinstance(self.steps[0], Define) and self.steps[0].kind == "settings":
            self._append(self.steps.pop(0))  # type: ignore[arg-type]
        for _ in range(self.script.workers):
            await self._start(len(self.workers))
        await self._rebalance()

    async def _start(self, slot: int) -> None:
        self.started += 1
        settings = self.settings.model_copy(update={"state_dir": self.directory / str(slot)})
        choose = random.Random(f"{self.seed} {slot} {self.started}")
        for kind in ("ledger", "figures"):
            choose_file = random.Random(f"{kind} {self.seed} {slot} {self.started}")
            tear_files(settings.state_dir / kind, choose_file)
        name = f"worker {slot}"
        worker = Worker(name, settings, self.broker, self.clock, choose, self.step_s)
        self.workers[slot : slot + 1] = [worker]
        await worker.start()

    async def _rebalance(self) -> None:
        """All partitions are dealt out anew to the workers that answer."""
        answering = [w for w in self.workers if w.alive and not w.process.stopped]
        for worker in answering:
            await self._survives(worker, worker.release)
        answering = [worker for worker in answering if worker.alive]
        if not answering:
            return
        for worker in self.workers:
            if worker not in answering:
                worker.left_behind()
        homes = {p: self.choose.choice(answering) for p in range(self.script.partitions)}
        for worker in answering:
            partitions = frozenset(p for p, owner in homes.items() if owner is worker)
            take = worker.assign if self.waits else worker.given
            await self._survives(worker, partial(take, partitions))
        self._spread_slowness()

    async def _survives(self, worker: Worker, call: Callable[[], Awaitable[None]]) -> None:
        """Run a part of a rebalance; a worker that fails over it is started again later."""
        if not worker.alive:
            return
        try:
            await call()
        except asyncio.CancelledError:
            if worker.alive:
                raise
        except Exception as error:
            worker.engine.note_failure(error)
            worker.process.kill()

    async def _heal(self) -> None:
        """Start what has died; deal the partitions out again."""
        dead = [slot for slot, worker in enumerate(self.workers) if not worker.alive]
        for slot in dead:
            self._note_death(self.workers[slot])
            await self._start(slot)
        if dead:
            await self._rebalance()

    def _note_death(self, worker: Worker) -> None:
        failure = worker.engine.failure
        # Who publishes to a topic that has lost records is to be started again. So is who finds,
        # once Redis is empty, that the changelog of members has lost some.
        remedied: tuple[type[Exception], ...] = (OutputLost,)
        if MEMBERS_CHANGELOG in self._torn:
            remedied = (OutputLost, MembersTorn)
        if failure is not None and not isinstance(failure, remedied):
            self.violations.append(f"{worker.name} failed: {failure!r}")

    def _spread_slowness(self) -> None:
        for worker in self.workers:
            worker.slow = frozenset(self.slow)

    async def step(self, step: Step) -> None:
        """Play one step, and let some time pass."""
        # What a step draws is its own, so that a script can be shortened.
        self.choose.seed(f"{self.seed} {step!r}")
        if isinstance(step, Fault):
            await self._strike(step)
        elif isinstance(step, Pass):
            self._leap(step)
        elif isinstance(step, Ask):
            await self._ask()
        elif isinstance(step, Aside):
            await self._set_aside(step)
        elif isinstance(step, Dies):
            for worker in self.workers:
                worker.process.dies_at = step.at
        elif isinstance(step, Retain):
            self._retain(step)
        elif isinstance(step, AtOnce):
            self._leap(Pass(-step.past_ms, step.grid_ms))
            self.clock.leapt_ms += step.past_ms
            for element in step.elements:
                self._append(element)
        else:
            self._append(step)
        if isinstance(step, Define) and self.script.known_at_once:
            await asyncio.sleep(APPLIED_S)
        elif not isinstance(step, Event | Define) or self.choose.random() < 0.4:
            await asyncio.sleep(self.choose.choice(_PAUSES_S))
        if self.choose.random() < 0.5:
            await self._heal()
        if self.choose.random() < 0.2:
            await self._recover()

    def _leap(self, step: Pass) -> None:
        at_ms = self.clock.now_ms() + step.by_ms
        self.clock.leapt_ms += step.by_ms + -at_ms % step.grid_ms

    def _append(self, step: Appended) -> None:
        now_ms = self.clock.now_ms()
        match step:
            case Define(_, value):
                self.broker.append(METER_DEFINITIONS, 0, None, value)
            case Poison(value, place):
                self.broker.append("events-raw", place, None, value)
            case Several(elements):
                value = b"[" + b",".join(event_json(e, now_ms) for e in elements) + b"]"
                place = self.choose.randrange(self.script.partitions)
                self.broker.append("events-raw", place, None, value)
            case Correction():
                place = self._place(step.external_id, step.place)
                self.broker.append("events-raw", place, None, correction_json(step, now_ms))
            case Binary(event):
                place = self._place(event.external_id, event.place)
                value, headers = binary_event(step, now_ms)
                self.broker.append("events-raw", place, None, value, headers)
            case Priced(event, cents):
                place = self._place(event.external_id, event.place)
                value = event_json(event, now_ms, precise_total_amount_cents=cents)
                self.broker.append("events-raw", place, None, value)
            case OfOther(sent, organization_id):
                place = self._place(sent.external_id, sent.place, organization_id)
                if isinstance(sent, Correction):
                    value = correction_json(sent, now_ms, organization_id)
                else:
                    value = event_json(sent, now_ms, organization_id=organization_id)
                self.broker.append("events-raw", place, None, value)
            case Event():
                place = self._place(step.external_id, step.place)
                admit = [(ADMIT_HEADER, b"true")] if step.admitted else []
                self.broker.append("events-raw", place, None, event_json(step, now_ms), admit)

    async def _set_aside(self, step: Aside) -> None:
        """Whoever has the partition is fenced, and may have folded them before."""
        answering = [w for w in self.workers if w.alive and not w.process.stopped]
        number = step.place % self.script.partitions
        end = self.broker.log("events-raw", number).end
        if not answering or not end:
            return
        worker = self.choose.choice(answering)
        first = max(0, end - step.newest)
        setting = partial(
            set_aside,
            self.settings,
            worker.engine.definitions,
            number,
            first,
            end,
            code="set_aside",
            message="no fold ends",
        )
        try:
            await worker.run(setting)
        except asyncio.CancelledError:
            if worker.alive:
                raise
        except (NotSetAside, KafkaError, Fenced):
            pass

    def _retain(self, step: Retain) -> None:
        """What nobody has folded stays, as it has to; so nothing goes while a worker stands."""
        number = step.place % self.script.partitions
        entries = self.broker.log(CELLS_CHANGELOG, number).entries
        packed = next((e.value for e in reversed(entries) if e.key == CHECKPOINT_KEY), None)
        if packed is None or any(worker.process.stopped for worker in self.workers):
            return
        checkpoint = msgspec.msgpack.decode(packed, type=Checkpoint)
        folded = {"events-raw": checkpoint.raw_next, "events-rekeyed": checkpoint.rekeyed_next}
        for topic, next_offset in folded.items():
            self.broker.log(topic, number).delete_before(next_offset - step.left)
        self.parked |= self._unnamed()

    def _unnamed(self) -> set[SubscriptionKey]:
        """Whose deleted events no worker has noted one by one: whoever defines them finds none."""
        owned, deleted = self._owned(), set[tuple[int, int]]()
        for number in range(self.script.partitions):
            log = self.broker.log("events-raw", number)
            deleted |= {(entry.partition, entry.offset) for entry in log.deleted}
        return {
            arrival.name
            for arrival in arrivals_in(self.broker, self.script.partitions)
            if (arrival.raw_partition, arrival.raw_offset) in deleted
            and not any(
                one.state.event_ranges.find(arrival.name, arrival.event.code) for one in owned
            )
        }

    def _place(self, external_id: str, place: int | None, organization_id: str = ORG) -> int:
        if place is not None:
            return place % self.script.partitions
        key = message_key(organization_id, external_id)
        return home_partition(key, self.script.partitions, "crc32")

    async def _ask(self) -> None:
        """Ask again and again while what was defined just now comes in."""
        for pause_s in _PAUSES_S[:3]:
            for worker in [w for w in self.workers if w.alive and not w.process.stopped]:
                await self._asked(worker, worker.clock.now_ms())
            await asyncio.sleep(pause_s)

    async def _asked(self, worker: Worker, at_ms: int) -> Answers:
        try:
            return await worker.run(partial(usage_at, worker.engine, at_ms))
        except asyncio.CancelledError:
            if worker.alive:
                raise
        except Exception as error:
            self.violations.append(f"a query broke off: {error!r}")
        return {}

    async def _strike(self, fault: Fault) -> None:
        choose = self.choose
        answering = [w for w in self.workers if w.alive and not w.process.stopped]
        if not answering:
            await self._heal()
            return
        worker = choose.choice(answering)
        partition = choose.randrange(self.script.partitions)
        match fault:
            case Fault.CRASH:
                worker.process.kill()
            case _ if fault in _KILLED_AT:
                worker.process.dies_at = _KILLED_AT[fault]
            case _ if fault in _COMMITS:
                worker.process.next_commit = _COMMITS[fault]
            case Fault.REBALANCE:
                await self._rebalance()
            case Fault.ZOMBIE:
                await self._make_zombie(worker)
            case Fault.RESTART:
                await self._survives(worker, worker.stop)
            case Fault.REDIS_LOSS:
                self.redis.lose()
            case Fault.REDIS_SAVE:
                self.redis.save()
            case Fault.REDIS_ROLLBACK:
                self.redis.roll_back()
            case Fault.REDIS_EVICTION:
                self.redis.evict(choose.randrange(1000))
            case Fault.REDIS_ALTERED:
                self.redis.alter(choose.randrange(1000))
            case Fault.REPLAY:
                self._replay()
            case Fault.REDELIVERY:
                worker.redeliver()
            case Fault.CLOCK_JUMP:
                self._jump(worker)
            case Fault.SLOW:
                self.slow.add(partition)
                self._spread_slowness()
            case Fault.TORN:
                if self.choose.random() < _OUTPUT_LOST:
                    self.lose_output(partition, self.choose.choice((0.0, 0.3, 0.7, 0.95)))
                self._tear(partition)
            case Fault.INDEX_LOST:
                worker.process.kill()
                rmtree(worker.directory, ignore_errors=True)

    async def _make_zombie(self, worker: Worker) -> None:
        if not any(w is not worker and w.alive and not w.process.stopped for w in self.workers):
            await self._start(len(self.workers))
        worker.process.stop()
        await asyncio.sleep(self.choose.choice(_PAUSES_S))
        await self._rebalance()

    def _replay(self) -> None:
        raw = [self.broker.log("events-raw", p) for p in range(self.script.partitions)]
        entries = [entry for log in raw for entry in log.entries if entry.value is not None]
        for entry in self.choose.sample(entries, min(len(entries), 4)):
            place = self.choose.choice((entry.partition, len(raw) - 1))
            self.broker.append("events-raw", place, entry.key, entry.value, entry.headers)

    def _jump(self, worker: Worker) -> None:
        if self.choose.random() < 0.5:
            worker.clock.skew_ms = self.choose.randint(-25, 25) * MINUTE_MS
        else:
            self.clock.back_ms = self.choose.randint(0, 25) * MINUTE_MS

    def lose_output(self, partition: int, left: float) -> int:
        """Take the newest transactions out of usage-records, or all; how many records went."""
        known, log = self.broker.log("usage-records", partition), Log()
        kept = int(left * len(known.entries))
        # A marker stands between two transactions.
        while 0 < kept < len(known.entries) and (
            known.entries[kept - 1].offset + 1 == known.entries[kept].offset
        ):
            kept -= 1
        log.entries = known.entries[:kept]
        log.end = log.entries[-1].offset + 2 if kept else 0
        self.broker.logs["usage-records", partition] = log
        return len(known.entries) - kept

    def _tear(self, partition: int) -> None:
        """Take records out of a changelog, and let somebody restore from it."""
        more = (EVALUATIONS_CHANGELOG,) if self.seed >= SECOND_FROM else ()
        changelog = self.choose.choice((*_TORN, *more))
        if changelog == INSTANTS_CHANGELOG and self.seed % 2:
            changelog = FIGURES_CHANGELOG
        self._torn.add(changelog)
        log = self.broker.log(changelog, partition)
        torn = [e for e in log.entries if e.key != CHECKPOINT_KEY]
        most = self.choose.choice((1, 3, len(torn)))
        for entry in self.choose.sample(torn, min(len(torn), most)):
            log.entries.remove(entry)
        if most == len(torn) and self.choose.random() < 0.5:
            # Emptied, and the checkpoint with it.
            log.entries.clear()
        for worker in self.workers:
            worker.process.kill()

    async def _recover(self) -> None:
        """Some faults end by themselves."""
        self.slow.clear()
        self._spread_slowness()
        stopped = [worker for worker in self.workers if worker.alive and worker.process.stopped]
        for worker in stopped:
            worker.process.go_on()
        if stopped:
            # It goes on writing until it hears that it is no member any more.
            await asyncio.sleep(self.choose.choice(_PAUSES_S))
            await self._heal()
            await self._rebalance()

    async def end(self) -> Outcome:
        """Faults are over: wait for rest, and say what is to be seen."""
        self.clock.back_ms = 0
        for worker in self.workers:
            worker.clock.skew_ms = 0
            worker.process.dies_at = worker.process.next_commit = None
        self._leap(Pass(self.script.rest_ms, HOUR_MS))
        self._leap(Pass(10 * MINUTE_MS))
        end_ms = self.clock.now_ms()
        await self._recover()
        await self._heal()
        await self._rebalance()
        try:
            await self._rest(end_ms)
        except NeverAtRest as error:
            self.violations.append(str(error))
        for worker in self.workers:
            self._note_death(worker)
        try:
            outcome = await self._looked(end_ms)
        except (PiecesLost, RowsLost):
            # Nobody read before what was torn on local disk: the owner makes it again.
            await self._heal()
            await self._rest(end_ms)
            outcome = await self._looked(end_ms)
        for worker in self.workers:
            worker.process.kill()
        return outcome

    async def _looked(self, end_ms: int) -> Outcome:
        owned = self._owned()
        homes = [
            (partition, name)
            for partition in owned
            for name in sorted(partition.shared.definitions.all_subscription_keys())
            if partition.shared.homes.of(*name) == partition.number
        ]
        usage = {
            name: self._owner(owned).here(partial(current_usage, owned.state, name, end_ms))
            for owned, name in homes
        }
        kept = {p.number: self._kept_members(p) for p in owned}
        members = {
            name: (members_of(partition.state, name, known, end_ms, gone), gone)
            for partition, name in homes
            if (known := kept[partition.number]) is not None
            for gone in (forgotten_of(partition.state, name),)
        }
        answers: Answers | None = None
        if any(isinstance(step, Ask) for step in self.steps):
            answers = {}
            for worker in self.workers:
                answers |= await self._asked(worker, end_ms)
        self._verify(owned)
        return Outcome(
            self.broker,
            self.script.partitions,
            end_ms,
            usage,
            members,
            answers,
            self.violations,
            self.parked,
        )

    def _verify(self, owned: list[OwnedPartition]) -> None:
        """Let the program look for itself: it must find nothing."""
        arrivals = arrivals_in(self.broker, self.script.partitions)
        raw, rekeyed = (
            [self.broker.log(topic, n).start for n in range(self.script.partitions)]
            for topic in ("events-raw", "events-rekeyed")
        )
        for one in owned:
            home = [a for a in arrivals if one.shared.homes.of(*a.name) == one.number]
            ranges, kept = one.state.event_ranges, LogsKept(max(raw), max(rekeyed))
            lacking = ranges.names_lacking(ranges.all_meter_keys(), kept) if any(raw) else set()
            found = verified(one.state, home, self.parked | lacking)
            self.violations += self._owner(one).here(partial(list[str], found))

    def _kept_members(self, owned: OwnedPartition) -> dict[MemberKey, Member] | None:
        """What the changelog has; None if it was torn, which is looked at when it is needed."""
        entries = self.broker.log(MEMBERS_CHANGELOG, owned.number).entries
        newest = {entry.key or b"": entry.value for entry in entries}
        packed = {key: value for key, value in newest.items() if value is not None}
        if sum_of(packed.items()) != owned.state.members.sum:
            return None
        return {
            msgspec.msgpack.decode(key, type=tuple[bytes, str]): unpack_member(value)
            for key, value in packed.items()
        }

    def _owner(self, owned: OwnedPartition) -> Worker:
        return next(w for w in self.workers if owned in w.engine.owned.values())

    def _owned(self) -> list[OwnedPartition]:
        return [
            owned
            for worker in self.workers
            if worker.alive
            for _, owned in sorted(worker.engine.owned.items())
        ]

    async def _rest(self, end_ms: int) -> None:
        # Of what was not folded, but moved, it is told after some flushes only.
        until_s = self.clock.monotonic_s() + REST_S + 10 * self.settings.flush_interval_s
        while True:
            await asyncio.sleep(1.0)
            await self._heal()
            waiting = self._waits_for(end_ms)
            if waiting is None:
                return
            if self.clock.monotonic_s() > until_s:
                raise NeverAtRest(waiting)

    def _waits_for(self, end_ms: int) -> str | None:
        owned = self._owned()
        if sorted(o.number for o in owned) != list(range(self.script.partitions)):
            return f"owned are {[o.number for o in owned]}"
        for one in owned:
            checkpoint, number = one.state.checkpoint, one.number
            if checkpoint.raw_next < self.broker.log("events-raw", number).end:
                return f"partition {number} does not fold its events"
            if checkpoint.rekeyed_next < self.broker.log("events-rekeyed", number).end:
                return f"partition {number} does not fold what is forwarded to it"
            if one.refold_queue.meter_keys or one.refold_queue.since_ms is not None:
                return f"partition {number} goes on refolding ({one.cuts.blocked})"
            since_ms = one.state.standing.behind_since_ms
            if since_ms is not None and since_ms <= min(end_ms, one.state.standing.looks_until_ms):
                return f"partition {number} does not look at its definitions"
            # While a cut is taken, the schedule does not have those whose cut it is.
            names = {
                *one.state.event_ranges.codes,
                *one.shared.definitions.all_subscription_keys(),
            }
            homes = one.shared.homes
            cuts = [next_cut(one.state, name) for name in names if homes.of(*name) == number]
            if min(one.cuts.schedule.next_ms(), *cuts, NEVER_MS) <= end_ms:
                return f"partition {number} does not close: {one.cuts.blocked}"
            waiting = one.next_flush
            # While a flush is packed, what it takes out is in neither.
            is_packed = one.commits.flush != checkpoint.flush or one.lock.locked()
            if waiting.moved or waiting.records or is_packed:
                return f"partition {number} does not flush"
        return None


_PAUSES_S = (0.0, 0.02, 0.3, 1.2, 2.5)
