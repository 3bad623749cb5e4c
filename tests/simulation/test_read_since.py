"""Who asks about a period reads what may lie in it, however much came before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agents.verify_samples import RoundRobin, verify_next
from app.meter.events import EventQuery
from app.meter.evidence import ExplainQuery, SeriesQuery
from app.queries.gateway import Gateway
from app.queries.replay import Replay
from tables.partition.left_out import FROM_THE_FIRST
from tests.simulation.asking import usage_at
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.process import PROCESS
from tests.simulation.script import Correction, Event, Pass, Script
from tests.simulation.test_beyond_retention import defined
from tests.world.clock import DAY_MS, HOUR_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.profiles import sized
from tests.world.topics import no_topics

CODES = ["count", "unique", "filtered", "balance"]
AT_REST: Any = None
"""In place of how far was folded, which goes on while somebody asks."""
LAGS_MS = [0, 0, 0, HOUR_MS, 8 * DAY_MS]
"""Between an event and its append."""
EARLY_MS = [-3 * DAY_MS, -9 * DAY_MS]
"""Those of events that come before their time: of nearly all weeks all is read then."""


def rows_read(player: Player) -> int:
    return player.workers[0].engine.tally.work.counts["query", "ledger_rows"]


@contextmanager
def from_the_first() -> Iterator[None]:
    """Read all that there is."""
    first = Replay.first

    async def from_all(replay: Replay, entries: Any, dated_from_ms: int) -> Any:
        return await first(replay, entries, FROM_THE_FIRST)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Replay, "first", from_all)
        yield


async def answers(player: Player, codes: list[str], now_ms: int, weeks: int) -> list[Any]:
    """Whatever is told of each week, and of three days within it."""
    worker, found = player.workers[0], list[Any]()
    PROCESS.set(worker.process)
    gateway = Gateway(worker.engine, no_topics)
    # Up to one that begins when events that came early are dated.
    for week in range(weeks + 2):
        at_ms = now_ms + (week - weeks) * WEEK_MS
        days = tuple((at_ms + n * DAY_MS, at_ms + (n + 1) * DAY_MS) for n in range(3))
        for code in codes:
            asked = ExplainQuery(
                external_subscription_id=SUBSCRIPTION, metric_code=code, at_ms=at_ms
            )
            series = SeriesQuery(
                external_subscription_id=SUBSCRIPTION,
                metric_code=code,
                windows=days,
                timezone="UTC",
            )
            explained = await gateway.evidence.explain(ORG, asked)
            found.append(explained and replace(explained, as_of=AT_REST))
            found.append(replace(await gateway.evidence.series(ORG, series), as_of=AT_REST))
        listed = EventQuery(timestamp_from_ms=at_ms, timestamp_to_ms=at_ms + DAY_MS)
        found.append(await gateway.events.list_events(ORG, listed, 0, 100))
    return found


async def all_answers(player: Player, now_ms: int) -> list[Any]:
    """The same of all codes, and usage in groups that nobody asked for before."""
    told = await answers(player, CODES, now_ms, 4)
    usage = await usage_at(player.workers[0].engine, now_ms)
    return [*told, *(replace(one, as_of=AT_REST) for one in usage.values())]


def event_of(
    choose: random.Random,
    number: int,
    partitions: int,
    lags_ms: list[int],
    named: Callable[[], str] = lambda: SUBSCRIPTION,
) -> Event:
    """Draw an event; some are copies, at another time. `named`: draws its subscription."""
    name = f"t{choose.randrange(number + 1) if choose.random() < 0.3 else number}"
    values = {"v": choose.choice("123"), "u": choose.choice("ab"), "g": choose.choice("xy")}
    place, lag_ms, external_id = choose.randrange(partitions), choose.choice(lags_ms), named()
    return Event(choose.choice(CODES), name, lag_ms, external_id, values, place)


async def four_weeks(
    player: Player,
    choose: random.Random,
    drawn: Callable[[int], Event],
    partitions: int,
    *,
    corrects: bool,
) -> None:
    """Let events come, and corrections of some, while a few weeks go by."""
    await begin(player)
    await player.workers[0].assign(frozenset(range(partitions)))
    number = 0
    for week in range(4):
        for _ in range(6):
            await append(player, drawn(number), pause_s=0.5)
            number += 1
        if corrects and week:
            corrections = (Correction(f"t{n}", f"c{week}{n}", to=drawn(n)) for n in range(3))
            await append(player, *corrections, pause_s=2)
        player._leap(Pass(choose.randrange(1, 2 * WEEK_MS)))
        await asyncio.sleep(5)


@pytest.mark.parametrize("seed", range(sized(12, 3)))
def test_what_is_told_is_as_from_all_events(tmp_path: Path, seed: int) -> None:
    choose, partitions, corrects = random.Random(seed), 1 + seed % 2, seed % 3 == 2
    lags_ms = LAGS_MS if corrects else LAGS_MS + EARLY_MS

    def drawn(number: int) -> Event:
        return event_of(choose, number, partitions, lags_ms)

    async def act(player: Player) -> None:
        await four_weeks(player, choose, drawn, partitions, corrects=corrects)
        now_ms = player.clock.now_ms()
        told = await all_answers(player, now_ms)
        with from_the_first():
            assert told == await all_answers(player, now_ms)

    run(in_simulation(Script(partitions, 1, defined(CODES)), 0, tmp_path, act))


async def count_for(player: Player, weeks: int) -> None:
    """Let some events come in each of some weeks, and one in the next."""
    await begin(player)
    await player.workers[0].assign(frozenset({0}))
    for week in range(weeks):
        events = [Event("count", f"t-{week}-{n}", properties={}) for n in range(5)]
        await append(player, *events, pause_s=5)
        player._leap(Pass(WEEK_MS))
        await asyncio.sleep(5)
    await append(player, Event("count", "last", properties={}), pause_s=5)


def test_the_same_is_read_after_ever_more_weeks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(weeks: int) -> tuple[int, int]:
        async def act(player: Player) -> tuple[int, int]:
            # Of a file that is sorted by name all is read.
            monkeypatch.setattr("app.ledger.ledger.MERGED_CHUNKS", 1_000)
            await count_for(player, weeks)
            before, now_ms = rows_read(player), player.clock.now_ms()
            await answers(player, ["count"], now_ms, 0)
            since = rows_read(player)
            with from_the_first():
                await answers(player, ["count"], now_ms, 0)
            return since - before, rows_read(player) - since

        return run(in_simulation(Script(1, 1, defined()), 0, tmp_path / str(weeks), act))

    few, more = read(3), read(12)
    assert few[0] == more[0] < few[1] < more[1]


def test_a_sample_reads_the_same_after_ever_more_weeks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(weeks: int) -> int:
        async def act(player: Player) -> int:
            monkeypatch.setattr("app.ledger.ledger.MERGED_CHUNKS", 1_000)
            await count_for(player, weeks)
            await asyncio.sleep(120)
            engine, before = player.workers[0].engine, rows_read(player)
            verified = engine.status.verified
            pairs = verified.pairs
            PROCESS.set(player.workers[0].process)
            await verify_next(engine, RoundRobin(engine))
            assert (verified.pairs, verified.differing) == (pairs + 1, 0)
            return rows_read(player) - before

        return run(
            in_simulation(
                Script(1, 1, defined(late_window_s=86_400)), 0, tmp_path / str(weeks), act
            )
        )

    few, more = read(4), read(12)
    assert 0 < few == more < 4 * 5
