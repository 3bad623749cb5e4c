"""What a list of events reads follows the events of its organization, and all of them are shown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.meter.events import EventQuery, ListedEvent
from app.meter.listing import Listed
from app.queries.gateway import Gateway
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.process import PROCESS
from tests.simulation.script import Event, Script
from tests.simulation.steps import Aside, OfOther, Pass
from tests.simulation.test_ledger import OWN, counts
from tests.simulation.test_parked import with_six
from tests.simulation.test_read_since import CODES, EARLY_MS, LAGS_MS, event_of
from tests.world.clock import DAY_MS, WEEK_MS
from tests.world.definitions import ORG
from tests.world.profiles import sized
from tests.world.topics import no_topics

OTHER = "another"
NAMES = ["sub-a", "sub-b", "sub-c", "undefined-a", "undefined-b", "undefined-c"]


async def listed(player: Player, organization_id: str, query: EventQuery) -> Listed[ListedEvent]:
    PROCESS.set(player.workers[0].process)
    gateway = Gateway(player.workers[0].engine, no_topics)
    return await gateway.events.list_events(organization_id, query, 0, 1_000)


def test_a_list_reads_the_same_beside_ever_more_events_of_others(tmp_path: Path) -> None:
    def touched(others: int) -> dict[str, int]:
        async def act(player: Player) -> dict[str, int]:
            await begin(player)
            await player.workers[0].assign(frozenset({0}))
            for number in range(OWN):
                external_id = NAMES[number % len(NAMES)]
                await append(player, Event("count", f"own-{number}", 0, external_id), pause_s=0)
                for one in range(others // OWN):
                    sent = Event("count", f"t-{number}-{one}", 0, external_id)
                    await append(player, OfOther(sent, OTHER), pause_s=0)
                await asyncio.sleep(0.3)
            await asyncio.sleep(10)
            before = counts(player)
            assert (await listed(player, ORG, EventQuery())).total_count == OWN
            found = counts(player) - before
            assert (await listed(player, "nobody", EventQuery())).total_count == 0
            assert counts(player) - before == found
            return {kind: number for (_, kind), number in found.items()}

        return run(in_simulation(Script(1, 1, with_six()), 0, tmp_path / str(others), act))

    assert [touched(others) for others in (0, OWN, 50 * OWN)] == [{"ledger_rows": OWN}] * 3


@contextmanager
def of_everybody() -> Iterator[None]:
    """Read the events of all organizations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.queries.events.MOST_NAMES", -1)
        patch.setattr("app.queries.events._may_have", lambda entry, query: True)
        yield


async def lists(player: Player, now_ms: int, weeks: int) -> list[Listed[ListedEvent]]:
    """All, and those of each code and of some days of each week."""
    queries = [EventQuery(), *(EventQuery(code=code) for code in CODES)]
    for week in range(weeks + 2):
        at_ms = now_ms + (week - weeks) * WEEK_MS
        queries += [
            EventQuery(timestamp_from_ms=at_ms),
            EventQuery(timestamp_from_ms=at_ms, timestamp_to_ms=at_ms + 3 * DAY_MS),
            EventQuery(code="unique", timestamp_from_ms=at_ms),
        ]
    return [await listed(player, org, query) for org in (ORG, OTHER) for query in queries]


@pytest.mark.parametrize("seed", range(sized(12, 4)))
def test_a_list_shows_what_one_of_all_organizations_shows(tmp_path: Path, seed: int) -> None:
    """Also copies at other times and of other codes, what nothing defines, and none set aside."""
    choose, partitions, weeks = random.Random(seed), 1 + seed % 2, 4
    lags_ms = LAGS_MS if seed % 3 else LAGS_MS + EARLY_MS

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset(range(partitions)))
        for owned in player.workers[0].engine.owned.values():
            # Else all names are kept one by one.
            owned.state.event_ranges.most_undefined = choose.choice([0, 1, 100, 100])
        names = choose.sample(NAMES, 4)
        for week in range(weeks):
            for number in range(10):
                sent = event_of(
                    choose, 10 * week + number, partitions, lags_ms, lambda: choose.choice(names)
                )
                wrapped = OfOther(sent, OTHER) if choose.random() < 0.3 else sent
                await append(player, wrapped, pause_s=choose.choice([0, 0.5]))
            if week == 2:
                await append(player, Event("count", "set-aside", 0, "sub-a"), pause_s=0)
                await player._set_aside(Aside(0))
            player._leap(Pass(choose.randrange(1, 2 * WEEK_MS)))
            await asyncio.sleep(5)
        now_ms = player.clock.now_ms()
        found = await lists(player, now_ms, weeks)
        assert any(page.total_count for page in found)
        with of_everybody():
            assert found == await lists(player, now_ms, weeks)

    run(in_simulation(Script(partitions, 1, with_six()), 0, tmp_path, act))
