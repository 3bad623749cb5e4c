"""How long a start takes for one event index: with its local disk, and without.

Writes random rows to an index log on a real broker, and opens an index on it, with an empty
directory first, then with what that left. Each start is a process of its own.

    python -m bench.index_start [ROWS ...]
"""

from __future__ import annotations

import asyncio
import resource
import time

import click
import numpy as np
import uvloop

from app.bounds.work_done import WorkDone
from app.kafka.names import TopicPartition
from app.kafka.topics import INDEX_CHANGELOG
from app.kafka.transactions import PartitionProducer, Record
from app.runtime.restoring.index_log import load_index
from app.runtime.topics.changelogs import PLACE_HEADER
from app.settings import Settings
from bench.world import in_own_process, local_servers
from tables.event_index.index import EventIndex
from tables.event_index.log import LOG_START, RECORD_BYTES, log_records
from tables.event_index.rows import ROW_BYTES


@click.command()
@click.argument("rows", type=int, nargs=-1)
def main(rows: tuple[int, ...]) -> None:
    """Measure starts at so many rows of the log."""
    uvloop.run(_main(rows or (100_000, 1_000_000)))


async def _main(sizes: tuple[int, ...]) -> None:
    async with local_servers(len(sizes)) as settings:
        for number, size in enumerate(sizes):
            await _write(settings, number, size)
            for what in ("without disk", "with disk"):
                await asyncio.to_thread(in_own_process, _start, settings, number, what)


async def _write(settings: Settings, number: int, size: int) -> None:
    producer, place = PartitionProducer(settings, number), LOG_START
    random = np.random.default_rng(number)
    await producer.start()
    topic = settings.topic(INDEX_CHANGELOG)
    while place.length < size:
        count = min(size - place.length, 10 * RECORD_BYTES // ROW_BYTES)
        rows = random.bytes(count * ROW_BYTES)
        await producer.commit(
            [
                Record(topic, number, b"", part, [(PLACE_HEADER, at.packed())])
                for at, part in log_records(place, rows)
            ]
        )
        place = place.after(rows)
    await producer.stop()


async def _start(settings: Settings, number: int, what: str) -> None:
    work, before = WorkDone(), _peak_mb()
    started, cpu_s = time.perf_counter(), time.process_time()
    index = EventIndex(settings.state_dir / str(number), memory_bytes=64 << 20)
    await load_index(settings, work, TopicPartition(settings.topic(INDEX_CHANGELOG), number), index)
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    click.echo(
        f"{what:14} {index.length:12,} rows   {work.counts['restore', 'index_rows']:12,} read   "
        f"{elapsed_s:7.2f} s   {cpu_s:7.2f} s CPU   {_peak_mb() - before:5,} MB"
    )
    index.close()


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


if __name__ == "__main__":
    main()
