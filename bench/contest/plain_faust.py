"""Plain Faust: count and sum of each key in a table, event by event, as its documentation does."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import faust
import uvloop

from bench.contest.task import Task, Watch, pair_of, told, write_tallies


async def main(task: Task) -> None:
    """Take all records; the table goes to its changelog, offsets are committed."""
    app = faust.App(
        task.group,
        broker=f"kafka://{task.servers}",
        store="memory://",
        topic_partitions=task.partitions,
        topic_replication_factor=1,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        datadir=task.directory,
    )
    events = app.topic(task.topic, value_serializer="json")
    totals = app.Table("totals", default=lambda: (0, 0.0), partitions=task.partitions)
    watch, taken, done = Watch(), 0, asyncio.Event()

    @app.agent(events)
    async def take(stream: Any) -> None:
        nonlocal taken
        async for body in stream:
            if body is None:
                continue
            watch.begin()
            name, code, gb = pair_of(body)
            key = f"{name}|{code}"
            count, total = totals[key]
            totals[key] = (count + 1, total + gb)
            taken += 1
            if taken == task.records:
                done.set()

    app.finalize()
    await app.start()
    await done.wait()
    await app.producer.flush()
    await app.commit({task.topic})
    watch.end()
    tallies = {}
    for key, (count, total) in totals.items():
        name, _, code = key.partition("|")
        tallies[name, code] = count, total
    write_tallies(task, tallies)
    watch.write(task)
    await app.stop()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    uvloop.run(main(told()))
