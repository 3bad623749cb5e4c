"""Ours: a whole worker on the task's topic, with definitions, Redis, changelogs and closing.

When everything is durable it answers for each subscription. If it is told so, the month ends then
and it closes, which leaves ticks of the next month in the topic.
"""

from __future__ import annotations

import asyncio
import cProfile
import json
import logging
import pstats
import sys
from pathlib import Path

import uvloop
from aiokafka import AIOKafkaProducer

from app.definitions import commands
from app.kafka.topics import METER_DEFINITIONS, admin_client, ensure_topics
from app.local_servers.ports import free_ports
from app.main import Worker, running_worker
from app.runtime.agreement import settings_record
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from bench.contest.loads import NOW_MS, PERIOD_END_MS, Load
from bench.contest.task import Task, Watch, told
from bench.world import ShiftedClock, definitions_log, send_in_batches

USAGE = "usage.jsonl"
"""Lines [subscription, code, units, events]: what a worker answers for its subscriptions."""
PROFILE = "profile.txt"
CLOSED_MS = PERIOD_END_MS + 10_000
ENDED_MS = PERIOD_END_MS - 1
AT_ONCE = 200


class ContestSettings(Settings):
    """A worker whose raw topic is everybody's and whose other topics are its own."""

    def topic(self, name: str) -> str:
        """Return the full name of a topic; the raw topic has no prefix."""
        return name if name == self.raw_topic else super().topic(name)


def settings_of(task: Task) -> ContestSettings:
    """Return the settings of a worker of a run; workers of one run share the prefix."""
    return ContestSettings(
        profile="test",
        test_clock=True,
        topic_prefix=f"{task.group}-",
        raw_topic=task.topic,
        raw_partitions=task.partitions,
        kafka_bootstrap_servers=(task.servers,),
        kafka_dir=Path(task.options["kafka_dir"]),
        redis_url=task.options["redis_url"],
        state_dir=task.room / "meter",
        http_port=free_ports(1)[0],
        implicit_plan=False,
        verify_pairs_per_minute=0,
    )


def definitions_of(load: Load, settings: Settings) -> list[bytes]:
    """Return the records of a definitions log: settings, metrics, a plan, subscriptions."""
    since = {"billing_time": "calendar", "subscription_at": load.since_text}
    log = definitions_log(load.subscriptions, since)
    in_force = commands.set_settings(settings_record(settings))
    return [command.encode() for command in (in_force, *log)]


async def prepare(task: Task, load: Load) -> None:
    """Make the topics of a run, and write its definitions log."""
    settings = settings_of(task)
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    topic = settings.topic(METER_DEFINITIONS)
    async with AIOKafkaProducer(max_batch_size=1 << 19, **settings.kafka_options()) as producer:
        log = ((0, None, value, load.since_ms) for value in definitions_of(load, settings))
        await send_in_batches(producer, topic, log)


async def main(task: Task) -> None:
    """Fold, answer, close, and stay until the standard input ends."""
    clock, watch = ShiftedClock(NOW_MS), Watch()
    profiler = cProfile.Profile() if task.options.get("profile") else None
    async with running_worker(settings_of(task), clock) as worker:
        await _fold(worker, task, watch, profiler)
        watch.write(task)
        await _answer(worker, task)
        if task.options["closing"]:
            clock.jump(CLOSED_MS)
            await _close(worker)
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.read)
    if profiler:
        with (task.room / PROFILE).open("w") as file:
            pstats.Stats(profiler, stream=file).sort_stats("tottime").print_stats(45)


async def _fold(
    worker: Worker, task: Task, watch: Watch, profiler: cProfile.Profile | None
) -> None:
    owned, share = worker.engine.owned, task.options["partitions_each"]
    at_home = task.options["events_at_home"]
    while not any(one.folded_events for one in owned.values()):
        _require_sound(worker)
        await asyncio.sleep(0.001)
    watch.begin(sum(one.folded_events for one in owned.values()))
    if profiler:
        profiler.enable()
    while len(owned) < share or any(o.folded_events < at_home[n] for n, o in owned.items()):
        _require_sound(worker)
        await asyncio.sleep(0.01)
    # Figures of pairs that are folded again, for an earlier copy, are stale until then.
    while any(one.refold_queue.since_ms is not None for one in owned.values()):
        _require_sound(worker)
        await asyncio.sleep(0.01)
    for one in owned.values():
        await one.flush()
    watch.end()
    if profiler:
        profiler.disable()
    if len(owned) != share:
        raise SystemExit(f"It had {len(owned)} partitions, not {share}: a rebalance came between.")


def _require_sound(worker: Worker) -> None:
    if worker.engine.failure is not None:
        raise worker.engine.failure


async def _answer(worker: Worker, task: Task) -> None:
    """Write what the usage of each subscription at home here will be when the month ends."""
    engine, org = worker.engine, LOCAL_ORGANIZATION_ID
    names = [
        name
        for n in range(task.options["subscriptions"])
        if engine.homes.of(org, name := f"subscription_{n:06d}") in engine.owned
    ]
    with (task.room / USAGE).open("w") as file:
        for start in range(0, len(names), AT_ONCE):
            asked = (
                worker.gateway.usage.current_usage(org, name, ENDED_MS)
                for name in names[start : start + AT_ONCE]
            )
            for usage in await asyncio.gather(*asked):
                if usage is None:
                    continue
                name = usage.subscription.external_id
                codes = {each.charge.id: each.metric.code for each in usage.charges}
                for row in usage.rows:
                    line = [name, codes[row.charge_id], str(row.units), row.events_count]
                    file.write(json.dumps(line) + "\n")


async def _close(worker: Worker) -> None:
    owned = worker.engine.owned
    while not owned or any(o.state.checkpoint.cut_ms < PERIOD_END_MS for o in owned.values()):
        _require_sound(worker)
        await asyncio.sleep(0.02)
    for one in owned.values():
        await one.flush()


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    uvloop.run(main(told()))
