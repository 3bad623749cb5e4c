"""What reading a subscription again costs follows its own events, however many others there are."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from app.queries.replay import Replay
from app.queries.series import usage_series
from app.queries.trace import trace
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.process import PROCESS
from tests.simulation.script import Event, Script
from tests.simulation.test_parked import with_six
from tests.world.clock import HOUR_MS
from tests.world.definitions import ORG

OWN = 20
"""Events of the subscription that is read again."""
TOUCHED = ("log_records", "ledger_rows", "broker_requests")


async def filled(player: Player, others: int) -> None:
    """One worker has folded and flushed the events."""
    await begin(player)
    await player.workers[0].assign(frozenset({0}))
    every = max(1, others // OWN)
    for number in range(OWN):
        await append(player, Event("count", f"own-{number}", 0, "sub-a", {"g": "x"}), pause_s=0)
        beside = [
            Event("count", f"t-{number}-{one}", 0, f"sub-{'bcde'[one % 4]}", {"g": "y"})
            for one in range(every)
        ]
        await append(player, *beside, pause_s=0.3)
    await asyncio.sleep(10)


def counts(player: Player) -> Counter[tuple[str, str]]:
    """What was touched so far to read events again."""
    done = player.workers[0].engine.tally.work.counts
    return Counter({key: n for key, n in done.items() if key[1] in TOUCHED})


async def a_question(player: Player) -> None:
    """Somebody asks for a series; explain and trace read events as it does."""
    PROCESS.set(player.workers[0].process)
    engine = player.workers[0].engine
    async with engine.scans.place("series", ORG) as turn:
        replay = Replay(engine.owned[0], engine.scan, turn)
        now_ms = player.clock.now_ms()
        windows = [(now_ms - HOUR_MS, now_ms)]
        series = await usage_series(replay, (ORG, "sub-a", "count"), windows, "UTC")
    assert [one.events_count for charge in series.charges for one in charge.values] == [OWN]


async def a_refold(player: Player) -> None:
    """Something changes what the events of one metric count for."""
    owned = player.workers[0].engine.owned[0]
    owned.refold_queue.want([(ORG, "sub-a", "count")], owned.state.checkpoint.cut_ms)
    await asyncio.sleep(10)
    assert not owned.refold_queue.meter_keys


@pytest.mark.parametrize("reading", [a_question, a_refold])
def test_the_same_is_read_beside_ever_more_events(
    tmp_path: Path, reading: Callable[[Player], Awaitable[None]]
) -> None:
    def touched(others: int) -> dict[str, int]:
        async def act(player: Player) -> dict[str, int]:
            await filled(player, others)
            before = counts(player)
            await reading(player)
            return {kind: number for (_, kind), number in (counts(player) - before).items()}

        script = Script(1, 1, with_six())
        return run(in_simulation(script, 0, tmp_path / str(others), act))

    assert [touched(others) for others in (OWN, 10 * OWN, 100 * OWN)] == [{"ledger_rows": OWN}] * 3


def test_a_trace_reads_few_rows_of_ever_more_events_of_its_subscription(tmp_path: Path) -> None:
    def touched(own: int) -> dict[str, int]:
        async def act(player: Player) -> dict[str, int]:
            await begin(player)
            await player.workers[0].assign(frozenset({0}))
            for number in range(own):
                event = Event("count", f"own-{number}-", 0, "sub-a", {"g": "x"})
                await append(player, event, pause_s=0.3)
            await asyncio.sleep(10)
            before = counts(player)
            PROCESS.set(player.workers[0].process)
            engine = player.workers[0].engine
            async with engine.scans.place("trace", ORG) as turn:
                replay = Replay(engine.owned[0], engine.scan, turn)
                told = (ORG, "sub-a"), "own-3-", (0, 0)
                fates = await trace(replay, *told)
            assert [fate.transaction_id for fate in fates] == ["own-3-"]
            return {kind: number for (_, kind), number in (counts(player) - before).items()}

        return run(in_simulation(Script(1, 1, with_six()), 0, tmp_path / str(own), act))

    for found in map(touched, (OWN, 10 * OWN)):
        # Those that came with it are in its chunk; the next one may begin in the same moment.
        assert [*found] == ["ledger_rows"]
        assert 1 <= found["ledger_rows"] <= 8


@pytest.mark.parametrize("seed", range(6))
def test_each_event_is_read_once_by_turns_from_kafka_and_from_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Files are lost and memory is full, before it is begun to read and in between."""
    homes, choose = 1 + seed % 2, random.Random(seed)

    async def act(player: Player) -> tuple[list[str], list[str]]:
        await begin(player)
        await player.workers[0].assign(frozenset(range(homes)))
        engine, sent, read = player.workers[0].engine, list[str](), list[str]()
        PROCESS.set(player.workers[0].process)
        owned = engine.owned[engine.homes.of(ORG, "sub-a")]

        async def send(room_bytes: int) -> None:
            monkeypatch.setattr("app.ledger.ledger.MEMORY_BYTES", room_bytes)
            for number in range(len(sent), len(sent) + choose.randrange(1, 9)):
                sent.append(f"t-{number}")
                event = Event("count", sent[-1], number % homes, "sub-a", {"g": "x"})
                await append(player, event, pause_s=0.1)
            await asyncio.sleep(choose.choice([0.3, 3]))

        await send(1 << 20)
        owned.ledger.forget()
        async with engine.scans.place("series", ORG) as turn, engine.scan(owned) as scan:
            scan.seek_only([(ORG, "sub-a")])
            scan.start(owned.state.checkpoint, 0, 0)
            for _ in range(12):
                for _ in range(choose.randrange(3)):
                    await send(choose.choice([0, 1 << 20, 1 << 20]))
                if choose.random() < 0.2:
                    owned.ledger.forget()
                async for part in scan.read(replace(owned.state.checkpoint), turn):
                    read += [arrival.event.transaction_id for arrival in part]
        return sent, read

    script = Script(homes, 1, with_six())
    sent, read = run(in_simulation(script, 0, tmp_path, act))
    assert sorted(read) == sorted(sent)
