"""Who takes part: how each is started, and what its output is compared with."""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Awaitable, Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from app.local_servers.redis import LocalRedis
from bench.contest.arena import PARTITIONS, Arena, Run, Runner, Wrong, measured, run_all
from bench.contest.loads import PERIOD_TEXT
from bench.contest.ours import PROFILE, USAGE, prepare
from bench.contest.recount import Pair, Usage, difference
from bench.contest.task import TALLIES, Tally, Task
from bench.contest.tools import peer_python, streams_command

QUIET = {"JAVA_TOOL_OPTIONS": "", "PYTHONDONTWRITEBYTECODE": "1"}


class Contestant(NamedTuple):
    """A system that takes part."""

    short: str
    """What it is called on the command line."""
    name: str
    job: str
    take: Callable[[Arena, str], Awaitable[Run]]
    """Run it once under a name that no other run has; raises Wrong or Missing."""
    slow: bool = False
    """It takes ten times as long as the others: it runs in the first round alone."""


async def _one(arena: Arena, task: Task, command: list[str]) -> Run:
    results, rss_bytes = await run_all([Runner(task, command, QUIET)])
    return measured(arena.records, results, rss_bytes)


def _own(module: str) -> list[str]:
    return [sys.executable, "-m", f"bench.contest.{module}"]


async def _reading(arena: Arena, name: str) -> Run:
    # It compares the count itself.
    return await _one(arena, arena.task(name), _own("reading"))


def _ours(workers: int) -> Callable[[Arena, str], Awaitable[Run]]:
    async def take(arena: Arena, name: str) -> Run:
        return await ours_once(arena, name, workers, closing=False)

    return take


async def require_closed(arena: Arena, name: str) -> None:
    """Let ours fold and close a month, and compare its usage records; the last of an arena.

    Raises:
        Wrong: they are other ones.
    """
    await ours_once(arena, name, 1, closing=True)
    await _require_records(arena, f"{name}-usage-records")


async def ours_once(arena: Arena, name: str, workers: int, *, closing: bool) -> Run:
    """Let ours fold and answer once; raises Wrong when an answer is another one."""
    async with LocalRedis(arena.room / f"{name}-redis") as redis:
        tasks = [
            arena.task(
                f"{name}/{n}",
                redis_url=redis.url,
                kafka_dir=str(arena.kafka_dir),
                subscriptions=arena.load.subscriptions,
                partitions_each=PARTITIONS // workers,
                events_at_home=arena.recount.events_at_home,
                closing=closing,
                profile=arena.profile,
            )._replace(group=name)
            for n in range(workers)
        ]
        await prepare(tasks[0], arena.load)
        runners = [Runner(task, _own("ours"), QUIET) for task in tasks]
        results, rss_bytes = await run_all(runners)
    if arena.profile:
        for task in tasks:
            print((task.room / PROFILE).read_text())
    answered = _answered(task.room / USAGE for task in tasks)
    require_equal("current usage", answered, arena.recount.usage)
    return measured(sum(arena.recount.events_at_home), results, rss_bytes)


def _answered(files: Iterable[Path]) -> dict[Pair, Usage]:
    rows = (json.loads(line) for file in files for line in file.read_text().splitlines())
    return {(name, code): Usage(Decimal(units), events) for name, code, units, events in rows}


async def _require_records(arena: Arena, topic: str) -> None:
    """Raise Wrong unless the newest records of both months are those of the recount."""
    newest: dict[str, dict[str, Any]] = {}
    for value in await arena.values(topic):
        record = msgspec.json.decode(value)
        if record["type"].startswith("usage."):
            cell = record["cell_id"]
            if cell not in newest or newest[cell]["revision"] < record["revision"]:
                newest[cell] = record
    months: tuple[dict[Pair, Usage], dict[Pair, Usage]] = {}, {}
    for record in newest.values():
        pair = record["external_subscription_id"], record["billable_metric"]["code"]
        usage = Usage(Decimal(record["units"]), record["events_count"])
        running = record["period"]["from"] >= PERIOD_TEXT
        months[running][pair] = usage
    require_equal("usage records", months[True], arena.recount.usage)
    require_equal("usage records of the month before", months[False], arena.recount.late)


async def _faust(arena: Arena, name: str) -> Run:
    task = arena.task(name)
    run = await _one(arena, task, _own("plain_faust"))
    require_equal("its table", _told(task), arena.recount.tallies)
    return run


async def _duckdb(arena: Arena, name: str) -> Run:
    task = arena.task(name)
    run = await _one(arena, task, [str(peer_python()), "-m", "bench.contest.duck"])
    require_equal("its answer", _told(task), arena.recount.tallies)
    return run


def _told(task: Task) -> dict[Pair, Tally]:
    rows = (json.loads(line) for line in (task.room / TALLIES).read_text().splitlines())
    return {(name, code): (count, total) for name, code, count, total in rows}


async def _quix(arena: Arena, name: str) -> Run:
    run = await _one(arena, arena.task(name), [str(peer_python()), "-m", "bench.contest.quix"])
    newest = await arena.newest(f"changelog__{name}--{arena.topic}--default")
    require_equal("its changelog", _added(map(_quix_entry, newest.items())), arena.recount.tallies)
    return run


def _streams(store: str) -> Callable[[Arena, str], Awaitable[Run]]:
    async def take(arena: Arena, name: str) -> Run:
        run = await _one(arena, arena.task(name, store=store), streams_command())
        newest = await arena.newest(f"{name}-totals-changelog")
        found = _added(map(_streams_entry, newest.items()))
        require_equal("its changelog", found, arena.recount.tallies)
        return run

    return take


_Entry = tuple[Pair, Tally]


def _quix_entry(entry: tuple[tuple[int, bytes], bytes]) -> _Entry:
    """Read an entry: message key, a bar, the code as JSON; then count and sum as JSON."""
    (_, key), value = entry
    message, _, code = key.rpartition(b"|")
    count, total = json.loads(value)
    return (message.decode().rpartition("-")[2], json.loads(code)), (count, total)


def _streams_entry(entry: tuple[tuple[int, bytes], bytes]) -> _Entry:
    """Read an entry: subscription, a bar, the code; then count and sum as 8 bytes each."""
    (_, key), value = entry
    name, _, code = key.decode().rpartition("|")
    count, total = struct.unpack(">qd", value)
    return (name, code), (count, total)


def _added(entries: Iterable[_Entry]) -> dict[Pair, Tally]:
    """Return the entries by key; of what lies on two partitions, the sum."""
    found: dict[Pair, Tally] = {}
    for pair, (count, total) in entries:
        before, sum_before = found.get(pair, (0, 0.0))
        found[pair] = before + count, sum_before + total
    return found


def require_equal(what: str, found: dict[Pair, Any], expected: dict[Pair, Any]) -> None:
    """Raise Wrong when an output is another one than the recount."""
    differing = difference(found, expected)
    if differing:
        raise Wrong(f"{what}: {differing}")


COUNTS = "count and sum of each key"
CONTESTANTS = {
    each.short: each
    for each in (
        Contestant("reading", "reading alone", "fetch and count records", _reading),
        Contestant("ours", "Meterstream, 1 worker", "the whole exact job", _ours(1)),
        Contestant("ours-2", "Meterstream, 2 workers", "the whole exact job", _ours(2)),
        Contestant(
            "faust", "plain Faust", f"{COUNTS}, event by event, in a table", _faust, slow=True
        ),
        Contestant("quix", "Quix Streams", f"{COUNTS}, exactly once, RocksDB", _quix),
        Contestant(
            "streams-memory",
            "Kafka Streams, in memory",
            f"{COUNTS}, exactly_once_v2, 2 threads",
            _streams("memory"),
        ),
        Contestant(
            "streams-rocksdb",
            "Kafka Streams, RocksDB",
            f"{COUNTS}, exactly_once_v2, 2 threads",
            _streams("rocksdb"),
        ),
        Contestant("duckdb", "DuckDB", f"{COUNTS}, of a file, by GROUP BY", _duckdb),
    )
}
"""All contestants, in the order of the first round."""

OURS = ("ours", "ours-2")
