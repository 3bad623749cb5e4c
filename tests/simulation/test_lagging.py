"""A partition that goes to a worker which has not read yet what its cells stand under."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.kafka.log_readers import LogReader, LogRecord
from app.queries.gateway import Gateway
from app.runtime.partition import ahead
from app.runtime.restoring import restore
from app.wire.identity import event_id
from app.wire.keys import home_partition, message_key
from tables.partition.cooling import Cooling
from tests.simulation.by_hand import append, begin, defining, hold, slow_scans
from tests.simulation.check import Outcome
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Script
from tests.simulation.steps import Appended, Define, Event, Pass
from tests.simulation.test_between_refolds import BASE, grouped
from tests.simulation.test_beyond_retention import delete_raw
from tests.simulation.test_mending import defined
from tests.simulation.worker import Worker
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of, subscription_body
from tests.world.topics import no_topics

HERE, NOWHERE = frozenset({0}), frozenset[int]()


class Lagging:
    """Two workers: the first has the partition, the second may stop reading definitions."""

    def __init__(self, player: Player, monkeypatch: pytest.MonkeyPatch):
        self.player = player
        self.lags = False
        batches = LogReader.batches

        async def slow(reader: LogReader) -> AsyncIterator[list[LogRecord]]:
            async for batch in batches(reader):
                while self.lags and reader is self.second.engine.followed.log:
                    await asyncio.sleep(0.5)
                yield batch

        monkeypatch.setattr(LogReader, "batches", slow)

    @property
    def second(self) -> Worker:
        return self.player.workers[1]

    async def begin(self) -> None:
        for slot in range(2):
            await self.player._start(slot)
        await self.player.workers[0].assign(HERE)
        await self.second.assign(NOWHERE)

    async def append(self, *steps: Appended) -> None:
        await append(self.player, *steps, pause_s=5)

    async def pass_to(self, at_ms: int, pause_s: float = 8) -> None:
        self.player._leap(Pass(at_ms - self.player.clock.now_ms()))
        await asyncio.sleep(pause_s)

    async def move(self) -> None:
        """The second worker catches up when it is to have the partition for long."""
        catching_up = asyncio.get_running_loop().call_later(20, setattr, self, "lags", False)
        for worker in self.player.workers:
            await worker.release()
        await self.player.workers[0].assign(NOWHERE)
        await self.second.assign(HERE)
        catching_up.cancel()
        self.lags = False


def used(of: str, name: str, v: str, lag_ms: int = 0, **more: str) -> Event:
    return Event("max", name, lag_ms, of, {"v": v, **more}, 0)


def test_a_subscription_that_the_next_owner_does_not_know_yet_is_not_taken_for_torn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))

    async def act(player: Player) -> Outcome:
        lagging = Lagging(player, monkeypatch)
        body = subscription_body(external_id="sub-d")
        *base, late = defining([*BASE, commands.create_subscription(ORG, body)])
        await lagging.append(*base)
        player._leap(Pass(2 * WEEK_MS + 2 * HOUR_MS))
        await lagging.begin()
        await lagging.append(used("sub", "a", "5"))
        lagging.lags = True
        await lagging.append(late)
        await lagging.pass_to(player.clock.now_ms() + 120_000)
        await lagging.append(used("sub-d", "b", "7", 10 * 24 * HOUR_MS))
        await lagging.move()
        await asyncio.sleep(10)
        return await player.end()

    assert run(in_simulation(Script(1, 2, []), 0, tmp_path, act)).check() == []
    assert said == []


def test_a_history_record_in_force_is_read_before_anything_is_folded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing would ever look again at what was folded without it."""

    async def act(player: Player) -> Outcome:
        lagging = Lagging(player, monkeypatch)
        *base, update = defining([*BASE, grouped(["g"])])
        await lagging.append(*base)
        player._leap(Pass(2 * HOUR_MS))
        await lagging.begin()
        await lagging.append(used("sub", "a", "5", g="x"))
        await lagging.pass_to(START_MS + WEEK_MS + HOUR_MS)
        await lagging.append(update)
        lagging.lags = True
        charge = msgspec.json.decode(update.value)["payload"]["plan"]["charges"][0]["id"]
        history = commands.apply_history(
            ORG, charge_ids=[charge], from_ms=START_MS, to_ms=START_MS + WEEK_MS
        )
        await lagging.append(Define("history", history.encode()))
        await lagging.pass_to(player.clock.now_ms() + HOUR_MS, pause_s=200)
        await lagging.move()
        await lagging.append(used("sub", "b", "7", 3 * 24 * HOUR_MS, g="y"))
        await lagging.pass_to(player.clock.now_ms() + HOUR_MS, pause_s=200)
        return await player.end()

    assert run(in_simulation(Script(1, 2, []), 0, tmp_path, act)).check() == []


@pytest.mark.parametrize(
    ("code", "partitions", "deletes"),
    [
        pytest.param("max", 1, False, id="max"),
        pytest.param("sum", 1, False, id="sum"),
        pytest.param("max", 2, False, id="forwarded"),
        pytest.param("max", 1, True, id="deleted"),
    ],
)
def test_a_copy_counts_once_the_event_that_was_taken_before_it_turns_out_to_be_refused(
    code: str, partitions: int, deletes: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The settings that refuse it were appended before it, and are read after both.

    Of what is forwarded, the copy alone lies on the home's own raw partition. What is deleted came
    before the first event.
    """
    home = home_partition(message_key(ORG, SUBSCRIPTION), partitions, "crc32")
    refusing = commands.set_settings(replace(SETTINGS, late_policy="refuse"))
    base = [line.command for line in definitions_of(["max", "sum"], SETTINGS)]

    async def act(player: Player) -> Outcome:
        lagging = Lagging(player, monkeypatch)
        await lagging.append(*defining(base))
        player._leap(Pass(2 * HOUR_MS))
        await lagging.begin()
        await lagging.player.workers[0].assign(NOWHERE)
        await lagging.second.assign(frozenset(range(partitions)))
        await lagging.pass_to(START_MS + WEEK_MS - 20 * 60_000)
        known, settings = defining([*base[-1:], refusing])
        await lagging.append(known)
        lagging.lags = True
        await lagging.append(settings)
        await lagging.pass_to(START_MS + WEEK_MS + 5 * 60_000)
        if deletes:
            await lagging.append(used("another", "x", "1"))
            delete_raw(player)
            assert player.broker.log("events-raw", 0).start
            # The logs are read as where the ledger was lost.
            lagging.second.engine.owned[home].ledger.forget()
        owned = lagging.second.engine.owned[home]
        before = owned.folded_events
        late = used("sub", "a", "5", lag_ms=HOUR_MS)
        await lagging.append(late._replace(place=partitions - 1 - home))
        await lagging.append(Event(code, "a", 0, properties={"v": "7"}, place=home))
        taken = owned.folded_events - before
        # A refold that failed before is made good by the one to come, whatever it takes in.
        owned.state.stale.park((ORG, SUBSCRIPTION), "a refold of it failed")
        lagging.lags = False
        await lagging.pass_to(START_MS + 2 * WEEK_MS + HOUR_MS, pause_s=100)
        assert taken == 1
        assert not owned.state.stale.refolding_keys
        assert not owned.state.stale.parked
        assert owned.state.index.find(event_id(ORG, "sub", "a")) is not None, "the copy counts"
        return await player.end()

    outcome = run(in_simulation(Script(partitions, 2, []), 0, tmp_path, act))
    assert deletes or outcome.check() == []


def test_a_repair_holds_back_the_cut_that_waits(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For another partition; what it would publish is wrong until the cell is refolded."""
    # The cell that is made wrong stays at hand.
    monkeypatch.setattr(Cooling, "has_work", False)
    # Nor is the partition that the cut waits for read ahead.
    monkeypatch.setattr(ahead, "_is_waited_for", lambda _: False)

    async def act(player: Player) -> Outcome:
        await begin(player)
        (worker,) = player.workers
        await worker.assign(frozenset({0, 1}))
        await asyncio.sleep(3)
        player._append(Event("sum", "a", 0, properties={"v": "3"}))
        await asyncio.sleep(5)
        home = home_partition(message_key(ORG, SUBSCRIPTION), 2, "crc32")
        hold(player, 1 - home)
        player._leap(Pass(START_MS + WEEK_MS + 90_000 - player.clock.now_ms()))
        await asyncio.sleep(8)
        owned = worker.engine.owned[home]
        assert owned.cuts.blocked is not None
        spans = [span for span in owned.state.routes.spans.values() if span.layers]
        ((layer,),) = [span.layers.values() for span in spans]
        (cell,) = layer.cells.values()
        cell.state.total = Decimal(21)  # type: ignore[attr-defined]

        async def repair() -> int:
            reports = Gateway(worker.engine, no_topics).evidence.verify(
                ORG, SUBSCRIPTION, True, False
            )
            found = [found async for report in reports for found in report.differences]
            slow_scans(monkeypatch, by_s=20)
            return len(found)

        assert await worker.run(repair) == 1
        hold(player)
        await asyncio.sleep(40)
        return await player.end()

    assert run(in_simulation(Script(2, 1, defined()), 0, tmp_path, act)).check() == []
