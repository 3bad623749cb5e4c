"""Reading alone: the records fetched, split and counted, and nothing done with them."""

from __future__ import annotations

import uvloop
from aiokafka import TopicPartition

from app.kafka.log_readers import plain_consumer
from app.settings import Settings
from bench.contest.task import Task, Watch, told


async def main(task: Task) -> None:
    """Count the records."""
    watch, seen = Watch(), 0
    settings = Settings(profile="test", kafka_bootstrap_servers=(task.servers,))
    consumer = plain_consumer(settings)
    await consumer.start()
    consumer.assign([TopicPartition(task.topic, p) for p in range(task.partitions)])
    await consumer.seek_to_beginning()
    # What is fetched before the first record is seen is reading, too.
    watch.begin()
    while seen < task.records:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            seen += sum(1 for record in records if record.value is not None)
    watch.end()
    await consumer.stop()
    if seen != task.records:
        raise SystemExit(f"{seen:,} records, not {task.records:,}")
    watch.write(task)


if __name__ == "__main__":
    uvloop.run(main(told()))
