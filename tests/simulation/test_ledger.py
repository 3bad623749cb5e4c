"""What reading a subscription again costs follows its own events, however many others there are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.queries.replay import Replay
from app.queries.series import usage_series
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
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
