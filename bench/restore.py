"""Many cells: how long a worker restarts and closes that has a million, and what they weigh.

Folds events of five metrics in many groups through a worker on a real broker, then starts the
worker anew in a process of its own, lets the month end, and starts it once more. With `--state` the
servers' files stay, so that the second run measures without folding again.

    python -m bench.restore [--subscriptions N] [--groups N] [--state DIRECTORY]
"""

from __future__ import annotations

import asyncio
import gc
import resource
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import psutil
import uvloop
from aiokafka import AIOKafkaProducer

from app.main import Worker, running_worker
from app.settings import Settings
from bench.world import (
    METRICS,
    SINCE_JANUARY,
    ShiftedClock,
    define,
    definitions_log,
    event_value,
    folded_events,
    in_own_process,
    keyed,
    local_servers,
    send_in_batches,
    until_owned,
)

FOLDED_MS = int(datetime(2026, 1, 20, tzinfo=UTC).timestamp() * 1000)
RESTARTED_MS = int(datetime(2026, 1, 31, 23, tzinfo=UTC).timestamp() * 1000)
MONTH_END_MS = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1000)
CLOSED_MS = MONTH_END_MS + 10_000
PREFIX = "scale-"


class Shape(msgspec.Struct):
    """How many cells there are, and of what."""

    subscriptions: int
    groups: int
    events: int

    @property
    def cells(self) -> int:
        """Each metric of each subscription has every group."""
        return self.subscriptions * len(METRICS) * self.groups


@click.command()
@click.option("--subscriptions", default=20_000, show_default=True)
@click.option("--groups", default=10, show_default=True, help="Groups of each metric.")
@click.option("--events", default=2, show_default=True, help="Events of each cell.")
@click.option("--partitions", default=4, show_default=True)
@click.option("--state", type=click.Path(path_type=Path), help="Keep the servers' files there.")
@click.option("--restart-only", is_flag=True, help="Leave the month open.")
def main(
    subscriptions: int,
    groups: int,
    events: int,
    partitions: int,
    state: Path | None,
    restart_only: bool,
) -> None:
    """Measure restart, memory and closing."""
    uvloop.run(_main(Shape(subscriptions, groups, events), partitions, state, restart_only))


async def _main(shape: Shape, partitions: int, state: Path | None, restart_only: bool) -> None:
    own = {"profile": "test", "test_clock": True, "verify_pairs_per_minute": 0}
    async with local_servers(partitions, state, topic_prefix=PREFIX, **own) as settings:
        folded = settings.state_dir / "folded"
        if not folded.exists():
            await asyncio.to_thread(in_own_process, _fold, settings, shape)
            folded.touch()
        await asyncio.to_thread(in_own_process, _restart, settings, shape)
        if not restart_only:
            await asyncio.to_thread(in_own_process, _close, settings, shape)
            await asyncio.to_thread(in_own_process, _restart, settings, shape)


async def _fold(settings: Settings, shape: Shape) -> None:
    clock = ShiftedClock(FOLDED_MS)
    started, cpu_s = time.perf_counter(), time.process_time()
    async with running_worker(settings, clock) as worker:
        groups = ["zone"] if shape.groups > 1 else []
        log = definitions_log(shape.subscriptions, SINCE_JANUARY, groups=groups)
        await define(worker, log)
        await _produce(settings, shape, clock)
        total = shape.cells * shape.events
        while (seen := folded_events(worker)) < total:
            await asyncio.sleep(0.1)
        if seen > total:
            raise ValueError(f"{seen} events folded of {total}")
    _report("folded", shape, time.perf_counter() - started, time.process_time() - cpu_s)


async def _produce(settings: Settings, shape: Shape, clock: ShiftedClock) -> None:
    topic = settings.topic(settings.raw_topic)
    async with AIOKafkaProducer(max_batch_size=1 << 19, **settings.kafka_options()) as producer:
        await send_in_batches(producer, topic, _events(shape, settings.raw_partitions, clock))


def _events(
    shape: Shape, partitions: int, clock: ShiftedClock
) -> Iterator[tuple[int, bytes, bytes, int]]:
    each = shape.events * shape.groups * len(METRICS)
    for i in range(shape.subscriptions):
        key, home = keyed(f"subscription_{i:06d}", partitions)
        for n in range(each):
            zone = f"zone-{n // len(METRICS) // shape.events:03}"
            value = event_value(i * each + n, i, FOLDED_MS / 1000, zone=zone)
            yield home, key, value, clock.now_ms()


async def _restart(settings: Settings, shape: Shape) -> None:
    """From nothing to answering for every partition."""
    async with _restarted(settings, shape, ShiftedClock(RESTARTED_MS)):
        pass


async def _close(settings: Settings, shape: Shape) -> None:
    """From the end of the month to the last usage record, durable."""
    clock = ShiftedClock(RESTARTED_MS)
    async with _restarted(settings, shape, clock) as worker:
        started, cpu_s = time.perf_counter(), time.process_time()
        clock.jump(CLOSED_MS)
        engine = worker.engine
        owned = engine.owned.values()
        while not owned or any(o.state.checkpoint.cut_ms < MONTH_END_MS for o in owned):
            if engine.failure is not None:
                raise engine.failure
            await asyncio.sleep(0.05)
        for one in owned:
            await one.flush()
        _report("closed", shape, time.perf_counter() - started, time.process_time() - cpu_s)


@asynccontextmanager
async def _restarted(
    settings: Settings, shape: Shape, clock: ShiftedClock
) -> AsyncIterator[Worker]:
    started, cpu_s = time.perf_counter(), time.process_time()
    worker = Worker(settings, clock)
    before = asyncio.create_task(_bytes_before_cells(worker))
    try:
        await worker.start()
        await until_owned(worker)
        cells = sum(owned.state.checkpoint.cells for owned in worker.engine.owned.values())
        if cells != shape.cells:
            raise ValueError(f"{cells:,} cells, not {shape.cells:,}")
        _report("restarted", shape, time.perf_counter() - started, time.process_time() - cpu_s)
        _weigh("restarted", shape, await before)
        yield worker
        _weigh("in the end", shape, await before)
    finally:
        before.cancel()
        await worker.stop()


async def _bytes_before_cells(worker: Worker) -> int:
    """Resident memory with every definition applied and no partition restored."""
    while not (worker.engine.restoring or worker.engine.owned):
        await asyncio.sleep(0.001)
    return _resident_bytes()


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _weigh(what: str, shape: Shape, before: int) -> None:
    gc.collect()
    now, peak = _resident_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    click.echo(
        f"{what:12} {(now - before) / shape.cells:10,.0f} bytes a cell   "
        f"(before {before >> 20:,} MB, now {now >> 20:,} MB, at most {peak >> 20:,} MB)"
    )


def _report(what: str, shape: Shape, elapsed_s: float, cpu_s: float) -> None:
    click.echo(f"{what:12} {shape.cells:10,} cells   {elapsed_s:7.2f} s   {cpu_s:7.2f} s CPU")


if __name__ == "__main__":
    main()
