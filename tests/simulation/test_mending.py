"""Torn changelogs are noticed, one by one; a rebalance does not wait for the definitions log."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from shutil import rmtree
from typing import Any

import msgspec
import pytest

from agents.tick import Ticker
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.failpoints import Name
from app.kafka.log_readers import LogRecord, RecordReader
from app.kafka.record_batch import RecordBatch
from app.kafka.topics import (
    CELLS_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    INDEX_CHANGELOG,
    MEMBERS_CHANGELOG,
    METER_PROGRESS,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
)
from app.redis.errors import MembersLost
from app.redis.members import MEMBERS_IN_A_CALL
from app.runtime.partition import member_sync
from app.runtime.partition.refold_queue import RefoldQueue
from app.runtime.restoring import index_log, rebuild, restore
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from app.wire.refusals import RefusalCode
from tables.changelogged.checkpoint import Checkpoint
from tables.changelogged.members import MemberKey
from tests.simulation import play as playing
from tests.simulation import test_beyond_retention
from tests.simulation.check import Outcome
from tests.simulation.play import Player, play
from tests.simulation.process import PROCESS, Process, failpoint
from tests.simulation.redis import Members, Redis
from tests.simulation.script import (
    CRASH,
    TORN,
    Correction,
    Define,
    Event,
    Fault,
    Pass,
    Script,
    Step,
)
from tests.simulation.worker import PATIENCE_S, Worker
from tests.world.clock import DAY_MS, HOUR_MS, WEEK_MS
from tests.world.definitions import ORG, definitions_of, subscription_body
from tests.world.profiles import sized

CODES = ("seats", "sum")


@pytest.fixture(autouse=True)
def _only_what_is_named_is_torn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playing, "_OUTPUT_LOST", 0.0)


def defined(**settings: Any) -> list[Step]:
    return test_beyond_retention.defined(CODES, **settings)


def used(name: str, lag_ms: int | None = 0) -> Event:
    properties = {"v": "3", "u": name, "operation_type": "add"}
    return Event(CODES[len(name) % 2], name, lag_ms, properties=properties)


def eventful(**settings: Any) -> list[Step]:
    """Every changelog gets some records."""
    early = [used("a" * n) for n in range(1, 6)]
    weeks = [Pass(1, WEEK_MS), Pass(HOUR_MS)]
    cancel = Correction("aa", "c1")
    amend = Correction("aaa", "c2", to=used("aaa")._replace(properties={"u": "b", "v": "2"}))
    return [
        *defined(**settings),
        *weeks,
        *early,
        *weeks,
        cancel,
        amend,
        used("late", 3 * HOUR_MS),
        *weeks,
    ]


def torn(
    monkeypatch: pytest.MonkeyPatch, changelog: str, steps: list[Step], seed: int
) -> tuple[Outcome, list[str]]:
    """What is played, and what restoring complained of."""
    said: list[str] = []
    monkeypatch.setattr(playing, "_TORN", (changelog,))
    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))
    return play(Script(1, 1, [*eventful(), TORN, *steps]), seed), said


@pytest.mark.parametrize(
    ("changelog", "steps"),
    [
        (CELLS_CHANGELOG, []),
        (INDEX_CHANGELOG, [Fault.INDEX_LOST]),
        (PRESENCE_CHANGELOG, []),
        (PUBLISHED_CHANGELOG, [Fault.INDEX_LOST]),
        (CORRECTIONS_CHANGELOG, []),
        (MEMBERS_CHANGELOG, [Fault.REDIS_LOSS, Fault.CRASH]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_torn_changelog_is_noticed_and_mended(
    monkeypatch: pytest.MonkeyPatch, changelog: str, steps: list[Step]
) -> None:
    # A seed may take out what nobody misses, so more are played until one is noticed.
    noticed = 0
    for seed in range(24):
        if noticed and seed >= 6:
            break
        outcome, said = torn(monkeypatch, changelog, steps, seed)
        assert outcome.check() == []
        noticed += any("torn" in text for text in said)
    assert noticed


def test_the_index_of_a_torn_state_does_not_add_to_that_of_the_rebuilt_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A crash in the middle of the rebuild restores what is folded until then, and no more."""
    counted: list[int] = []
    rest = Player._rest

    async def count(player: Player, end_ms: int) -> None:
        await rest(player, end_ms)
        counted.append(sum(owned.state.index.length for owned in player._owned()))

    said: list[str] = []
    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))
    monkeypatch.setattr(Player, "_rest", count)
    steps = [*eventful(), TORN, Pass(0), Fault.CRASH_AFTER_COMMIT, Pass(0), Fault.CRASH]
    monkeypatch.setattr(playing, "_TORN", (CELLS_CHANGELOG,))
    # A restore that a rebalance cuts off before its first flush finds the state torn again.
    monkeypatch.setattr(Player, "waits", property(lambda _: True, lambda *_: None), raising=False)
    for seed in range(6):
        said.clear()
        assert play(Script(1, 1, steps), seed).check() == []
        assert len(said) <= 1, "what was rebuilt is torn again"
    assert set(counted) == {6}


@pytest.mark.parametrize(
    ("code", "since"),
    [
        pytest.param("prepaid", None, id="nothing has changed since"),
        # What recurs would carry a balance that no cell has any more.
        pytest.param("passes", [], id="the charge is gone since"),
        pytest.param("prepaid", ["g"], id="what is carried is in other groups since"),
    ],
)
def test_records_of_single_events_that_are_lost_with_a_torn_changelog_are_published_again(
    monkeypatch: pytest.MonkeyPatch, code: str, since: list[str] | None
) -> None:
    """The closing records that are left come to what the torn changelog should have."""
    lost: list[int] = []

    def tear(player: Player, partition: int) -> None:
        player.broker.log(PUBLISHED_CHANGELOG, partition).entries.pop()
        records = player.broker.log("usage-records", partition).entries
        lost.append(player.lose_output(partition, (len(records) - 1) / len(records)))
        for worker in player.workers:
            worker.process.kill()
            # Else local disk has what the changelog lost.
            rmtree(worker.directory, ignore_errors=True)

    monkeypatch.setattr(Player, "_tear", tear)
    record = SettingsRecord(grace_s=0, default_organization_id="org")
    made = definitions_of((code,), record)
    defining = [Define(line.command.type, line.command.encode()) for line in made]
    first, second = (Event(code, name, properties={"v": "3", "u": name}) for name in "ab")
    weeks, hour = [Pass(1, WEEK_MS), Pass(HOUR_MS)], Pass(HOUR_MS)
    (plan,) = (line.command for line in made if line.command.type == "create_plan")
    (charge,) = plan.payload["plan"]["charges"]
    grouped = {**charge["properties"], "pricing_group_keys": since}
    charges = [{**charge, "id": charge["new_id"], "properties": grouped}] if since else []
    changed = commands.update_plan("org", "plan", {"charges": charges})
    then: list[Step] = [Define(changed.type, changed.encode()), hour] if since is not None else []
    # What is drawn may let no time pass after a step: the record is out after some of them.
    out = [hour] * 4
    steps: list[Step] = [*defining, *weeks, first, *weeks, second, *out, *then, TORN, hour]
    assert play(Script(1, 1, steps), 1).check() == []
    assert lost == [1], "more than the record of the second event is lost"


def test_a_cut_that_was_half_done_when_its_state_was_torn_is_taken_to_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the newest daily records tell of others was not told of everybody yet."""
    players, torn = list[Player](), list[int]()
    begin = Player.begin

    async def begin_known(player: Player) -> None:
        players.append(player)
        await begin(player)

    def tear(name: Name) -> None:
        failpoint(name)
        told = len(players[-1].broker.log("usage-daily").entries)
        if name == "between-cut-flushes" and told and len(torn) < len(players):
            torn.append(told)
            log = players[-1].broker.log(CELLS_CHANGELOG)
            log.entries[:] = [entry for entry in log.entries if entry.key == CHECKPOINT_KEY]
            for each in players[-1].workers:
                each.process.kill()
            raise asyncio.CancelledError

    monkeypatch.setattr(Player, "begin", begin_known)
    monkeypatch.setattr("tests.simulation.worker.failpoint", tear)
    names = ("sub", "sub-b", "sub-c")
    made = [
        commands.create_subscription(ORG, subscription_body(external_id=name)) for name in names[1:]
    ]
    events = [used("a" * n)._replace(external_id=name) for n in (1, 2, 3) for name in names]
    steps: list[Step] = [
        *defined(daily_records=True),
        *(Define(command.type, command.encode()) for command in made),
        Pass(1, WEEK_MS),
        *events,
        *[Pass(1, DAY_MS), Pass(HOUR_MS)] * 2,
    ]
    for seed in range(4):
        assert play(Script(1, 1, steps), seed).check() == []
    assert torn


def test_redis_that_goes_back_to_the_flush_of_a_torn_state_is_not_taken_for_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of members that the torn state had, nothing would be counted when they are folded again."""
    fill, take = member_sync.fill, Worker._take
    went_back: list[int] = []
    flushes: list[tuple[int, int | None]] = []

    def tear(player: Player, partition: int) -> None:
        player.redis.save()
        log = player.broker.log(CELLS_CHANGELOG, partition)
        log.entries[:] = [entry for entry in log.entries if entry.key == CHECKPOINT_KEY]
        for worker in player.workers:
            worker.process.kill()

    async def fill_and_go_back(
        store: Members, number: int, epoch: int, flush: int, members: Any
    ) -> None:
        await fill(store, number, epoch, flush, members)
        if store._server._snapshot:
            store._server.roll_back()
            store._server._snapshot.clear()
            found = store._server.of(number)
            went_back.append(found.members)
            flushes.append((flush, found.flush))

    async def take_and_crash(worker: Worker, batch: RecordBatch) -> None:
        await take(worker, batch)
        await asyncio.sleep(2.0)
        if went_back and went_back[-1]:
            went_back.append(0)
            worker.process.kill()

    for module in (rebuild, restore, member_sync):
        monkeypatch.setattr(module, "fill", fill_and_go_back)
    monkeypatch.setattr(Worker, "_take", take_and_crash)
    monkeypatch.setattr(Player, "_tear", tear)
    seats = [used("a" * n)._replace(code="seats") for n in range(1, 9)]
    steps: list[Step] = [*defined(), *seats, *[Pass(0)] * 16, TORN]
    for seed in range(8):
        assert play(Script(1, 1, steps), seed).check() == []
    assert any(went_back)
    # The number of members gives them away as well: the flush has to do so by itself.
    assert all(begun != stood for begun, stood in flushes)


@pytest.mark.parametrize(
    ("saved", "at"),
    [
        *((None, at) for at in (0, MEMBERS_IN_A_CALL)),
        *((saved, 2 * MEMBERS_IN_A_CALL) for saved in (0, 1, MEMBERS_IN_A_CALL)),
    ],
)
async def test_redis_that_loses_something_within_a_fill_is_not_taken_for_whole(
    saved: int | None, at: int
) -> None:
    """It begins empty, or as it was when that many members were written."""
    PROCESS.set(Process(random.Random(0)))
    server = Redis()
    store = Members(server)

    def filling() -> Iterator[tuple[MemberKey, bytes]]:
        for n in range(3 * MEMBERS_IN_A_CALL):
            if n == saved:
                server.save()
            if n == at:
                server.roll_back()
            yield (b"set", str(n)), b"v"

    with pytest.raises(MembersLost):
        await store.replace_all(0, 1, 1, filling())
    assert not await store.stands_at(0, 1)


def test_presence_is_checked_where_no_cell_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def tear(player: Player, partition: int) -> None:
        log = player.broker.log(PRESENCE_CHANGELOG, partition)
        log.entries[:] = [entry for entry in log.entries if b"unknown" not in (entry.key or b"")]
        for worker in player.workers:
            worker.process.kill()

    monkeypatch.setattr(Player, "_tear", tear)
    said: list[str] = []
    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))
    unknown = used("a")._replace(code="unknown")
    steps = [*defined(), unknown, *[Pass(0)] * 4, TORN]
    for seed in range(4):
        assert play(Script(1, 1, steps), seed).check() == []
    assert said


@pytest.mark.parametrize("restarts", [True, False], ids=["at rest", "under the worker"])
@pytest.mark.parametrize("changelog", [None, PUBLISHED_CHANGELOG, CELLS_CHANGELOG])
@pytest.mark.parametrize("left", [0.0, 0.3, 0.9])
def test_what_usage_records_lost_is_published_again(
    monkeypatch: pytest.MonkeyPatch, left: float, changelog: str | None, restarts: bool
) -> None:
    """Created anew, or cut; alone, or with the changelog that says what was published."""
    tear, lost = Player._tear, 0

    def lose(player: Player, partition: int) -> None:
        nonlocal lost
        lost = player.lose_output(partition, left)
        if changelog is not None:
            tear(player, partition)
        elif restarts:
            for worker in player.workers:
                worker.process.kill()

    monkeypatch.setattr(Player, "_tear", lose)
    late, over, most = used("later", 3 * HOUR_MS), Pass(WEEK_MS), 0
    for seed in range(sized(4, 2)):
        steps: list[Step] = [Pass(0), late, over, used("latest"), over]
        outcome, said = torn(monkeypatch, changelog or "none", steps, seed)
        assert outcome.check() == []
        assert any("what it lacks is published again" in text for text in said) == (lost > 0)
        most = max(most, lost)
    assert most


def test_state_without_sums_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program wrote it that kept sums of the cells only."""
    decode = msgspec.msgpack.decode
    records: list[Checkpoint] = []

    def forgetful(value: bytes, type: Any = Any) -> Any:  # noqa: A002
        decoded = decode(value, type=type)
        if isinstance(decoded, Checkpoint):
            decoded.presence_sum = decoded.published_sum = None
            decoded.corrections_sum = decoded.members_sum = None
            records.append(decoded)
        return decoded

    monkeypatch.setattr(msgspec.msgpack, "decode", forgetful)
    said: list[str] = []
    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))
    steps = [*eventful(), Fault.CRASH, used("b"), Fault.RESTART, used("bb")]
    assert play(Script(1, 1, steps)).check() == []
    assert records
    assert not said


def test_a_refold_that_was_queued_holds_all_cuts_to_come_after_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may be for an earlier copy of an event, though definitions of after a cut are known."""
    decode, want = msgspec.msgpack.decode, RefoldQueue.want
    held: list[tuple[int, int, int]] = []

    def queued(value: bytes, type: Any = Any) -> Any:  # noqa: A002
        decoded = decode(value, type=type)
        if isinstance(decoded, Checkpoint):
            decoded.refolding = (("org", "sub", "sum"),)
        return decoded

    def note(queue: RefoldQueue, meter_keys: Any, since_ms: int, **of: bool) -> None:
        checkpoint = queue._state.checkpoint
        if checkpoint.refolding:
            held.append((since_ms, checkpoint.cut_ms, checkpoint.definitions_ms))
        want(queue, meter_keys, since_ms, **of)

    monkeypatch.setattr(msgspec.msgpack, "decode", queued)
    monkeypatch.setattr(RefoldQueue, "want", note)
    customer = commands.upsert_customer("org", {"customer": {"external_id": "customer"}})
    steps = [*eventful(), Pass(HOUR_MS), Define(customer.type, customer.encode()), Pass(0)]
    assert play(Script(1, 1, [*steps, Fault.CRASH, used("b")], known_at_once=True)).check() == []
    since_ms, cut_ms, definitions_ms = held[0]
    assert since_ms == cut_ms < definitions_ms


def test_a_rebalance_does_not_wait_for_definitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the last event is refused hangs on a tick that comes when the rebalance is over."""
    rebalanced = 0
    rebalance, tick = Player._rebalance, Ticker._tick_definitions

    async def count(player: Player) -> None:
        nonlocal rebalanced
        await rebalance(player)
        rebalanced += 1

    async def wait(ticker: Ticker, wanted_ms: int, now_ms: int, every_s: float) -> None:
        if rebalanced > 1:
            await tick(ticker, wanted_ms, now_ms, every_s)

    monkeypatch.setattr(Player, "_rebalance", count)
    monkeypatch.setattr(Ticker, "_tick_definitions", wait)
    over = Pass(WEEK_MS + 2 * HOUR_MS)
    late = used("later", 2 * HOUR_MS)
    steps = [*defined(late_policy="refuse"), over, late, *[Pass(0)] * 4, Fault.REBALANCE]
    for seed in range(4):
        rebalanced = 0
        outcome = play(Script(2, 1, steps, known_at_once=True), seed)
        assert outcome.check() == []
        assert {letter.code for letter in outcome._dead_letters()} == {RefusalCode.PERIOD_CLOSED}


def test_a_rebalance_does_not_wait_for_a_flush_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The partition is given up as it was last flushed; whoever has it next folds the rest."""
    hung = 0
    read_some = RecordReader.read_some

    async def hang_once(
        reader: RecordReader, *where: Any
    ) -> tuple[dict[int, LogRecord], list[int]]:
        nonlocal hung
        if not hung:
            hung += 1
            await asyncio.sleep(10 * PATIENCE_S)
        return await read_some(reader, *where)

    monkeypatch.setattr(RecordReader, "read_some", hang_once)
    first, other = used("a"), used("a")._replace(properties={"v": "5", "u": "b"})
    steps = [*defined(), first, *[Pass(0)] * 4, other, *[Pass(0)] * 4, Fault.REBALANCE, used("b")]
    for seed in range(4):
        hung = 0
        outcome = play(Script(1, 2, steps, known_at_once=True), seed)
        assert outcome.check() == []
        assert hung
        codes = [letter.code for letter in outcome._dead_letters()]
        assert codes == [RefusalCode.CONFLICTING_DUPLICATE]


def lose_cells_and_redis(player: Player, partition: int) -> None:
    """Whatever knew the epoch, but for what was reported under it."""
    player.broker.log(CELLS_CHANGELOG, partition).entries.clear()
    player.redis.lose()
    for worker in player.workers:
        worker.process.kill()


def test_epochs_never_go_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The progress of the second life would be taken for that of an owner of before."""
    monkeypatch.setattr(Player, "_tear", lose_cells_and_redis)
    # A partition without anything to do reports little.
    lives = [step for n in range(6, 22) for step in (CRASH, Pass(HOUR_MS), used("c" * n), Pass(0))]
    outcome = play(Script(1, 1, [*eventful(), *lives, TORN, used("b")]))
    reports = [entry.value for entry in outcome.broker.log(METER_PROGRESS).entries if entry.value]
    epochs = [msgspec.json.decode(value)["epoch"] for value in reports]
    assert epochs == sorted(epochs)
    # One that ends between a flush and its report tells of no epoch.
    assert len(set(epochs)) >= 4
    assert outcome.check() == []


def test_an_index_of_the_first_life_is_not_taken_for_that_of_the_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Cells and Redis are lost together; local disks stay."""
    begun: list[int] = []
    index = rebuild.open_index

    def note(number: int, shared: Any, at: int) -> Any:
        begun.append(at)
        return index(number, shared, at)

    monkeypatch.setattr(Player, "_tear", lose_cells_and_redis)
    for module in (index_log, rebuild):
        monkeypatch.setattr(module, "open_index", note)
    assert play(Script(1, 1, [*eventful(), TORN, used("b")])).check() == []
    assert len(set(begun)) == 2
