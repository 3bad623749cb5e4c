"""What one organization notices of what another does: bench/neighbours.md.

Organization A sends `--rate` events a second and asks for its usage. Beside it, on the same worker,
organization B does every attack of `tests/attacks` in turn, and then all of them at once for
`--minutes`. Measured is what A gets; whether B's attack came out as its case says is told beside.

    python -m bench.neighbours [--rate N] [--minutes N] [--only NAME]
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import psutil
import uvloop
from aiokafka import AIOKafkaProducer

from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from bench.markdown import table
from bench.world import at_shares
from tests.attacks.neighbour import Seen
from tests.attacks.test_dead_letters import ENVIRONMENT
from tests.attacks.victim import QUERY_P99_S, VISIBLE_P99_S, Attacked, Victim, production, victim_on

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "bench" / "neighbours.md"
FAMILIES = sorted(each.stem for each in (ROOT / "tests" / "attacks").glob("test_*.py"))
NOT_PLAYED = {"test_quiet", "test_outage", "test_disk"}
"""The kit's own cases, and what happens to servers and disks: nobody does that to another."""

OF_TIMES = ("query p50", "p99", "p99.9", "visible p50", "p99", "p99.9")
HEAD = ("B", "s", *OF_TIMES, "not 200", "MB", "attack")
UNDISTURBED = {"query": 0.02, "visible": 0.5}
SHARES = (0.5, 0.99, 0.999)
QUIET_S = 20.0
ROW_S = 10.0
"""An attack is played again until then: of a second alone, a 99th percentile is its worst."""
AGAIN_S = 0.1
SETTLED_LAG = 1_000
"""Records that A itself has on their way, and more."""
SETTLED_WITHIN_S = 60.0
"""What one attack left to be done is not counted for the next."""
PAUSE_S = 2.0
"""Between two plays of one attack when all are played at once: B is bad, not a load generator."""
MOST_S = 60.0
"""For one attack; one that takes longer is told and left."""


class Unmeasured(Victim):
    """Attacks measure nothing themselves: here A is measured around them."""

    @asynccontextmanager
    async def attacked(
        self, *, growth_bytes: int = 0, stall_s: float = 0.0
    ) -> AsyncIterator[Attacked]:
        yield Attacked()


class Attack(NamedTuple):
    """One case, ready to be played."""

    name: str
    play: Callable[[], Awaitable[None]]


class Row(NamedTuple):
    """What A saw while B did something."""

    name: str
    took_s: float
    seen: Seen
    resident_bytes: int
    """Memory of the worker afterwards."""
    outcome: str


def attacks_on(victim: Victim, given: dict[str, Any], prepared: dict[str, Any]) -> Iterator[Attack]:
    """Every case whose arguments are known; of a parametrized one the first of its cases."""
    for family in FAMILIES:
        if family in NOT_PLAYED:
            continue
        module = importlib.import_module(f"tests.attacks.{family}")
        for name, case in vars(module).items():
            if not (name.startswith("test_") and inspect.iscoroutinefunction(case)):
                continue
            arguments = {"victim": victim, **given, **_first_parameters(case)}
            wanted = list(inspect.signature(case).parameters)
            missing = [each for each in wanted if each not in arguments]
            if missing and not (len(missing) == 1 and hasattr(module, "prepared")):
                click.echo(f"not played: {family}::{name} wants {', '.join(missing)}")
                continue

            async def play(
                case: Any = case,
                module: Any = module,
                arguments: dict[str, Any] = arguments,
                wanted: list[str] = wanted,
                missing: list[str] = missing,
            ) -> None:
                for each in missing:
                    if module.__name__ not in prepared:
                        prepared[module.__name__] = await module.prepared(victim)
                    arguments[each] = prepared[module.__name__]
                await case(**{each: arguments[each] for each in wanted})

            yield Attack(f"{family[5:]}: {name[5:]}".replace("_", " "), play)


def _first_parameters(case: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for mark in getattr(case, "pytestmark", []):
        if mark.name == "parametrize":
            names, values = mark.args[0], next(iter(mark.args[1]))
            if isinstance(names, str):
                found[names] = values
            else:
                found |= dict(zip(names, values, strict=True))
    return found


async def played(attack: Attack, within_s: float = MOST_S) -> str:
    """How it came out."""
    try:
        async with asyncio.timeout(within_s):
            await attack.play()
    except TimeoutError:
        return f"not over within {within_s:.0f} s"
    except Exception as error:
        return f"{type(error).__name__}: " + (str(error).splitlines() or [""])[0][:60]
    return "as its case says"


async def again_and_again(attack: Attack) -> str:
    """Play an attack for as long as a row lasts; how it came out first."""
    ends_s = time.perf_counter() + ROW_S
    outcome = await played(attack)
    while (left_s := ends_s - time.perf_counter()) > 0:
        await played(attack, left_s)
        await asyncio.sleep(AGAIN_S)
    return outcome


async def settled(victim: Victim) -> None:
    """Wait until all is folded and no cut is overdue, or for as long as is waited at most."""
    ends_s = time.perf_counter() + SETTLED_WITHIN_S
    while time.perf_counter() < ends_s:
        found = await victim.metrics()
        left = ("meter_lag_records", "meter_close_overdue_seconds")
        if sum(value for name, value in found.items() if name.startswith(left)) < SETTLED_LAG:
            return
        await asyncio.sleep(0.5)
    click.echo("what the attack before left is not done yet")


async def measured(victim: Victim, name: str, doing: Awaitable[str]) -> Row:
    """What A sees meanwhile."""
    await settled(victim)
    await victim.tell()
    began_s = time.perf_counter()
    outcome = await doing
    took_s = time.perf_counter() - began_s
    assert victim.worker.is_running(), victim.worker.tail()
    seen = await victim.tell()
    resident_bytes = psutil.Process(victim.worker.pid).memory_info().rss
    row = Row(name, took_s, seen, resident_bytes, outcome)
    click.echo("; ".join((name, *_cells(row)[1:])))
    return row


async def _nothing() -> str:
    await asyncio.sleep(QUIET_S)
    return ""


async def _all_at_once(attacks: Sequence[Attack], seconds: float) -> str:
    ends_s, count = time.perf_counter() + seconds, 0

    async def again(attack: Attack) -> None:
        nonlocal count
        while (left_s := ends_s - time.perf_counter()) > 0:
            await played(attack, left_s)
            count += 1
            await asyncio.sleep(PAUSE_S)

    await asyncio.gather(*map(again, attacks))
    return f"{count} attacks"


def _cells(row: Row) -> list[str]:
    times = []
    for taken_s, most_s in ((row.seen.queries, QUERY_P99_S), (row.seen.visible, VISIBLE_P99_S)):
        texts = [f"{each * 1000:.0f}" for each in at_shares(taken_s, *SHARES)]
        if taken_s and at_shares(taken_s, 0.99)[0] > most_s:
            texts[1] = f"**{texts[1]}**"
        times += texts or ["none"] * len(SHARES)
    others = {status: n for status, n in row.seen.statuses.items() if status != "200"}
    wrong = [f"{len(row.seen.wrong)} wrong figures"] if row.seen.wrong else []
    told = wrong + [f"{n} of {status}" for status, n in others.items()]
    resident = f"{row.resident_bytes / 1e6:.0f}"
    took = f"{row.took_s:.1f}"
    return [row.name, took, *times, ", ".join(told) or "none", resident, row.outcome]


def table_of(rows: Sequence[Row], rate: int) -> str:
    """The page."""
    budget = ["*budget: alone / attacked*", "", ""]
    budget += [f"{UNDISTURBED['query'] * 1000:.0f} / {QUERY_P99_S * 1000:.0f}", "", ""]
    budget += [f"{UNDISTURBED['visible'] * 1000:.0f} / {VISIBLE_P99_S * 1000:.0f}"]
    lines = [
        "# Neighbours: what one organization notices of another",
        "",
        "`python -m bench.neighbours` wrote this. Organization A sends events to one worker of two",
        "partitions and asks for usage every 50 ms; organization B does what the row says. Times",
        "are A's, in ms; p99 over its budget is bold. *Visible*: from sending an event to an",
        "answer that counts it. While the worker or A waits for a core, no time counts. An attack",
        "is played again and again for 10 s; what the one before left is waited for. *Attack*:",
        "whether it came out at first as its case in `tests/attacks` says; what several do at once",
        "may hinder each other. *MB*: memory of the worker.",
        "",
        f"A: {rate:,} events a second. Broker, Redis, worker, A and B share {os.cpu_count()}",
        f"cores; load of 5 minutes {psutil.getloadavg()[1]:.1f}; {time.strftime('%Y-%m-%d')}.",
        "",
        *table(HEAD, [[*budget, "", "none", "", ""], *map(_cells, rows)]),
        "",
    ]
    return "\n".join(lines)


async def run(rate: int, minutes: float, only: str) -> None:
    """Servers, worker, A, and then B."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        async with (
            LocalKafka(directory / "kafka") as kafka,
            LocalRedis(directory / "redis") as redis,
        ):
            settings = production(kafka, redis, directory)
            async with (
                victim_on(settings, directory, ENVIRONMENT, Unmeasured, rate) as victim,
                AIOKafkaProducer(
                    request_timeout_ms=60_000,
                    max_request_size=4 << 20,
                    **settings.kafka_options(),
                ) as producer,
            ):
                rows = [await measured(victim, "nothing", _nothing())]
                found = list(attacks_on(victim, {"producer": producer}, {}))
                found = [attack for attack in found if only in attack.name]
                rows += [await measured(victim, each.name, again_and_again(each)) for each in found]
                together = _all_at_once(found, minutes * 60)
                rows.append(await measured(victim, "all at once", together))
                rows.append(await measured(victim, "nothing, afterwards", _nothing()))
                TABLE.write_text(table_of(rows, rate))


@click.command(help=__doc__)
@click.option("--rate", default=10_000, show_default=True, help="Events a second of A.")
@click.option("--minutes", default=10.0, show_default=True, help="All attacks at once.")
@click.option("--only", default="", help="Attacks whose name has this in it.")
def main(rate: int, minutes: float, only: str) -> None:
    uvloop.run(run(rate, minutes, only))


if __name__ == "__main__":
    main()
