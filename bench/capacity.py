"""Capacity: what rates and years need, by arithmetic from unit costs that were measured.

python -m bench.capacity             writes the tables of docs/capacity.md from bench/units.json
python -m bench.capacity --measure   measures the units that are counts of bytes, then writes
python -m bench.capacity --cpu       takes CPU an event from bench/results.json, then writes
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import uvloop
from redis.asyncio import Redis

from app.bounds.turns import drained
from app.kafka.topics import COMPACTED_CHANGELOGS, INDEX_CHANGELOG
from app.local_servers.redis import LocalRedis
from bench.contest.arena import Arena, arena, broker
from bench.contest.contestants import OURS, ours_once
from bench.contest.loads import LOADS
from bench.contest.results import read, with_region
from bench.contest.tools import ROOT
from bench.markdown import table
from tables.changelogged.piece_store import PieceStore
from tables.changelogged.published import PublishedTable, Stands
from tables.changelogged.published_period import PublishedCell

UNITS = ROOT / "bench" / "units.json"
PAGE = ROOT / "docs" / "capacity.md"
RATES = (10_000, 100_000, 1_000_000)
YEARS = (1, 3, 5)
SUBSCRIPTIONS = (100_000, 1_000_000, 10_000_000)
YEAR_S = 31_557_600
MEMBERS = 10
"""So many unique members a set of the measurement has."""
SETS = 20_000
PERIODS = 12
"""Of a subscription in a year."""

BY_RATE = (
    "events/s",
    "years",
    "events",
    "Kafka: events",
    "Kafka: index log",
    "workers' disks: index",
    "workers' memory: index",
    "cores narrow / wide",
    "written to brokers narrow / wide",
)
BY_SUBSCRIPTIONS = (
    "subscriptions",
    "memory in every worker",
    "memory of cells, all workers",
    "workers' disks: published figures, each year",
    "Redis",
    "records a month in Kafka",
)


def units() -> dict[str, Any]:
    """Return each unit with its value, what it says and what measures it."""
    found: dict[str, Any] = json.loads(UNITS.read_text())
    return found


def tables(units: dict[str, Any]) -> str:
    """Return the three tables of the page."""
    cost = {name: unit["value"] for name, unit in units.items()}
    rows = []
    for name, unit in units.items():
        by = unit["by"]
        by = by if by.startswith(("a ", "an ")) else f"`{by}`"
        rows.append((f"`{name}`", f"{unit['value']:,}", unit["says"], by))
    of_units = table(("unit", "value", "what it is", "measured by"), rows)
    lines = [*of_units, "", *_by_rate(cost), "", *_by_subscriptions(cost), ""]
    return "\n".join(lines)


def _by_rate(cost: dict[str, float]) -> list[str]:
    rows = []
    for rate in RATES:
        cores = [rate * cost[f"cpu_{load}_us"] / 1e6 / cost["load"] for load in ("narrow", "wide")]
        per_event = cost["event_bytes"] + cost["index_log_bytes"]
        written = [
            rate * (per_event + cost[f"changelog_{load}_bytes"]) * cost["replicas"]
            for load in ("narrow", "wide")
        ]
        for years in YEARS:
            events = rate * YEAR_S * years
            sizes = (
                cost["event_bytes"] * cost["replicas"],
                cost["index_log_bytes"] * cost["replicas"],
                cost["index_disk_bytes"],
                cost["index_ram_bytes"],
            )
            columns = [
                f"{rate:,}",
                str(years),
                f"{events:.1e}".replace("e+", "e"),
                *(_size(events * each) for each in sizes),
                " / ".join(f"{max(1, -(-each // 1)):,.0f}" for each in cores),
                " / ".join(f"{_size(each)}/s" for each in written),
            ]
            rows.append(columns)
    return table(BY_RATE, rows)


def _by_subscriptions(cost: dict[str, float]) -> list[str]:
    rows = []
    for count in SUBSCRIPTIONS:
        cells = count * cost["cells"]
        sizes = (
            count * cost["subscription_bytes"],
            cells * cost["cell_bytes"],
            cells * PERIODS * cost["published_disk_bytes"],
            count * cost["members"] * cost["member_bytes"],
            cells * cost["record_bytes"] * cost["replicas"],
        )
        rows.append((f"{count:,}", *map(_size, sizes)))
    return table(BY_SUBSCRIPTIONS, rows)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} PB"


async def measured(events: int) -> dict[str, float]:
    """Return the units that are counts of bytes, from one worker on a narrow and a wide load."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-kafka-") as directory:
        async with broker(Path(directory) / "kafka") as kafka:
            for load in ("narrow", "wide"):
                async with arena(kafka, LOADS[load], events) as here:
                    await ours_once(here, load, 1, closing=load == "narrow")
                    found |= await _bytes_of(here, load)
    async with LocalRedis(Path(tempfile.mkdtemp()) / "redis") as server:
        found["member_bytes"] = await _member_bytes(server.url)
    found["published_disk_bytes"] = _published_disk_bytes(int(units()["cells"]["value"]))
    return {name: round(value) for name, value in found.items()}


async def _bytes_of(here: Arena, name: str) -> dict[str, float]:
    data = here.kafka_dir / "data"

    def bytes_in(topic: str) -> int:
        return _bytes(data.glob(f"{topic}-[0-9]/*.log"))

    changelogs = sum(bytes_in(f"{name}-{topic}") for topic in COMPACTED_CHANGELOGS)
    found = {f"changelog_{name}_bytes": changelogs / here.records}
    if name == "narrow":
        closed = await here.values(f"{name}-usage-records")
        found |= {
            "event_bytes": bytes_in(here.topic) / here.records,
            "index_log_bytes": bytes_in(f"{name}-{INDEX_CHANGELOG}") / here.records,
            "record_bytes": bytes_in(f"{name}-usage-records") / len(closed),
        }
    return found


def _bytes(files: Iterable[Path]) -> int:
    return sum(os.stat(file).st_size for file in files)


async def _member_bytes(url: str) -> float:
    """Return what Redis takes for a member: a short text, a seal and its operations."""
    async with Redis.from_url(url) as redis:
        before = (await redis.info("memory"))["used_memory"]
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(SETS):
                name = f"members:{{{number % 4}}}:{number:032x}"
                pipe.hset(name, mapping={f"u{n:07}": os.urandom(24) for n in range(MEMBERS)})
            await pipe.execute()
        after = (await redis.info("memory"))["used_memory"]
    return float(after - before) / (SETS * MEMBERS)


def _published_disk_bytes(cells: int) -> float:
    """Return what a published figure takes on disk, of those that close a period a month."""
    subscriptions, charges = 2_000, [str(uuid.uuid4()) for _ in range(cells)]
    with tempfile.TemporaryDirectory() as directory:
        table = PublishedTable(PieceStore(Path(directory) / "published.db", "", Stands))
        for period in range(PERIODS):
            start_ms = YEAR_S * 1000 * (50 * PERIODS + period) // PERIODS
            for _ in range(subscriptions):
                name = str(uuid.uuid4()), start_ms
                for charge in charges:
                    cell = PublishedCell(0, "123.5", None, "123.5", None, 42, os.urandom(16), 0)
                    table.put_cell(name, (charge, None, ()), cell)
                table.put_completion(name, 0, 0)
            table.take_changes()
            drained(table.storing())
        table.close()
        size = sum(each.stat().st_size for each in Path(directory).iterdir())
    return size / (subscriptions * PERIODS * cells)


def cpu() -> dict[str, float]:
    """Return CPU an event of one worker, as the contest that is kept measured it."""
    loads = read().loads
    found = {
        f"cpu_{load}_us": loads[load].contestants[OURS[0]].cpu_us
        for load in ("narrow", "wide")
        if load in loads and OURS[0] in loads[load].contestants
    }
    return {name: round(value, 1) for name, value in found.items() if value is not None}


@click.command()
@click.option("--measure", is_flag=True, help="Measure the units that are counts of bytes.")
@click.option("--events", default=100_000, show_default=True, help="For --measure.")
@click.option("--cpu", "from_results", is_flag=True, help="Take CPU from bench/results.json.")
def main(measure: bool, events: int, from_results: bool) -> None:
    """Write the tables of the page."""
    values = uvloop.run(measured(events)) if measure else {}
    values |= cpu() if from_results else {}
    kept = units()
    for name, value in values.items():
        click.echo(f"{name}: {kept[name]['value']:g} -> {value:g}")
        kept[name]["value"] = value
    lines = (f" {json.dumps(n)}: {json.dumps(u, ensure_ascii=False)}" for n, u in kept.items())
    UNITS.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    PAGE.write_text(with_region(PAGE.read_text(), tables(kept)))


if __name__ == "__main__":
    main()
