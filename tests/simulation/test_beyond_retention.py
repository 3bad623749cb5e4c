"""Events that would be read again are deleted: figures stay, and everything else goes on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.kafka.topics import CELLS_CHANGELOG, INDEX_CHANGELOG, METER_DEFINITIONS
from app.meter.errors import BeyondRetention
from app.meter.usage import Regrouping
from app.queries.gateway import Gateway
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from app.wire.refusals import RefusalCode
from tables.changelogged.presence import REST
from tables.closing.close import next_cut
from tables.reading.usage import current_usage
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Correction, Define, Event, Pass, Script, Step
from tests.world.clock import HOUR_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    definitions_of,
    plan_body,
    subscription_body,
)
from tests.world.topics import no_topics

NAME = (ORG, SUBSCRIPTION)
REGROUPED = Regrouping(skip_grouping=True)


def defined(codes: Sequence[str] = ("count",), **settings: Any) -> list[Step]:
    record = SettingsRecord(grace_s=0, default_organization_id=ORG, **settings)
    made = definitions_of(codes, record)
    return [Define(line.command.type, line.command.encode()) for line in made]


def grouped_by(player: Player, *keys: str) -> bytes:
    """The plan with other groups of its charge."""
    plan = player.workers[0].engine.definitions.plan(ORG, "plan")
    assert plan is not None
    (body,) = plan_body(["count"])["charges"]
    properties = {"amount": "1", **({"pricing_group_keys": [*keys]} if keys else {})}
    charges = [{**body, "id": plan.charges[0].id, "properties": properties}]
    return commands.update_plan(ORG, "plan", {"charges": charges}).encode()


async def restart(player: Player) -> None:
    """End the worker and start another."""
    await player.workers[0].stop()
    await player._start(0)
    await player.workers[0].assign(frozenset({0}))


def delete_raw(player: Player) -> None:
    """As retention does."""
    log = player.broker.log("events-raw", 0)
    log.entries.clear()
    log.start = log.end


async def counted(player: Player) -> None:
    """Three events are folded, and then deleted."""
    await begin(player)
    await player.workers[0].assign(frozenset({0}))
    for number in range(3):
        await append(player, Event("count", f"t{number}", properties={"g": "x"}), pause_s=2)
    delete_raw(player)


def events_count(player: Player) -> int:
    owned = player.workers[0].engine.owned[0]
    usage = current_usage(owned.state, NAME, player.clock.now_ms())
    assert usage is not None
    return sum(row.events_count for row in usage.rows)


def letters(player: Player) -> list[dict[str, Any]]:
    entries = player.broker.log("events-dead-letter", 0).entries
    return [dict(entry.headers) for entry in entries]


def test_a_correction_of_a_deleted_event_is_set_aside(tmp_path: Path) -> None:
    async def act(player: Player) -> None:
        await counted(player)
        await append(player, Correction("t0", "c1"), Event("count", "after"), pause_s=5)
        engine = player.workers[0].engine
        assert engine.failure is None
        assert events_count(player) == 4
        (one,) = engine.definitions.set_asides.listed()
        assert (one.code, one.index) == (RefusalCode.BEYOND_RETENTION, 0)
        assert [each["meter-error-code"] for each in letters(player)] == [b"beyond_retention"]
        assert not engine.owned[0].refold_queue.meter_keys

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


def test_a_correction_of_what_is_still_there_is_taken(tmp_path: Path) -> None:
    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        await append(player, Event("count", "t0"), Event("count", "t1"), pause_s=2)
        await append(player, Correction("t0", "c1"), pause_s=2)
        player._leap(Pass(HOUR_MS))
        await asyncio.sleep(5)
        assert events_count(player) == 1
        assert not player.workers[0].engine.definitions.set_asides.listed()

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


def test_a_definition_that_needs_deleted_events_leaves_the_figures(tmp_path: Path) -> None:
    async def act(player: Player) -> None:
        await counted(player)
        player.broker.append(METER_DEFINITIONS, 0, None, grouped_by(player, "g"))
        await asyncio.sleep(10)
        engine = player.workers[0].engine
        owned = engine.owned[0]
        assert engine.failure is None
        assert NAME in owned.state.stale.parked
        assert owned.state.refolding(*NAME)
        assert events_count(player) == 3
        player._leap(Pass(WEEK_MS, WEEK_MS))
        player._leap(Pass(2 * HOUR_MS))
        await asyncio.sleep(10)
        assert engine.failure is None
        assert any(
            b'"usage.recorded"' in (entry.value or b"")
            for entry in player.broker.log("usage-records", 0).entries
        )

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


def test_a_correction_waits_for_no_refold_that_finds_nothing(tmp_path: Path) -> None:
    """Its event is deleted before it is repaired, and nothing of its subscription is folded."""

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        owned = player.workers[0].engine.owned[0]
        owned.state.event_ranges.most_undefined = 0
        name = (ORG, "nobody")
        await append(player, Event("count", "t0", external_id="nobody"), pause_s=2)
        async with owned.lock:
            await append(player, Correction("t0", "c1", external_id="nobody"), pause_s=2)
        while not owned.refold_queue.repairs:
            await asyncio.sleep(0)
        delete_raw(player)
        await asyncio.sleep(5)
        assert player.workers[0].engine.failure is None
        assert owned.refold_queue.since_ms is None
        followed, cut_ms = owned.state.corrections.followed, next_cut(owned.state, name)
        assert followed.has_any(name)
        assert followed.wrong_since(name, cut_ms) is None

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


@pytest.mark.parametrize("more", [True, False], ids=["at hand", "packed"])
def test_what_stands_in_other_groups_has_records_of_its_own(tmp_path: Path, *, more: bool) -> None:
    """Else two records of one cut would have one id, and a consumer would keep one of them."""

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        player.broker.append(METER_DEFINITIONS, 0, None, grouped_by(player, "g"))
        await asyncio.sleep(2)
        for number in range(3):
            await append(player, Event("count", f"t{number}", properties={"g": "x"}), pause_s=2)
        delete_raw(player)
        player.broker.append(METER_DEFINITIONS, 0, None, grouped_by(player))
        await asyncio.sleep(5)
        await restart(player)
        if more:
            await append(player, Event("count", "after", properties={"g": "x"}), pause_s=5)
        engine = player.workers[0].engine
        gateway, now_ms = Gateway(engine, no_topics), player.clock.now_ms()
        usage = await gateway.usage.current_usage(*NAME, now_ms)
        assert usage is not None
        asking = partial(gateway.usage.regrouped_usage, usage, REGROUPED, now_ms)
        with pytest.raises(BeyondRetention):
            await player.workers[0].run(asking)
        player._leap(Pass(WEEK_MS, WEEK_MS))
        player._leap(Pass(2 * HOUR_MS))
        await asyncio.sleep(10)
        assert engine.failure is None
        others = [(None, "1.0")] if more else []
        daily = {"usage-daily": "usage.daily"} if more else {}
        for topic, kind in {"usage-records": "usage.recorded", **daily}.items():
            entries = player.broker.log(topic, 0).entries
            found = [json.loads(entry.value) for entry in entries if entry.value is not None]
            told = {each["id"]: each for each in found if each["type"] == kind}
            groups = [(each["grouped_by"], each["units"]) for each in told.values()]
            assert sorted(groups, key=str) == [*others, ({"g": "x"}, "3.0")], topic

    steps = defined(daily_records=more)
    run(in_simulation(Script(1, 1, steps), 0, tmp_path, act))


def test_what_stands_in_another_filter_is_told_as_it_was(tmp_path: Path) -> None:
    """The charge has that filter no more, and is presented by keys."""

    def charged(player: Player, *filters: Any) -> bytes:
        plan = player.workers[0].engine.definitions.plan(ORG, "plan")
        assert plan is not None
        (body,) = plan_body(["count"])["charges"]
        properties = {"amount": "1", "presentation_group_keys": [{"value": "u"}]}
        charge = {**body, "id": plan.charges[0].id, "properties": properties}
        charges = [{**charge, "filters": [*filters]}]
        return commands.update_plan(ORG, "plan", {"charges": charges}).encode()

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        named = commands.update_billable_metric(
            ORG, "count", {"filters": [{"key": "g", "values": ["x"]}]}
        )
        only_x = {"values": {"g": ["x"]}, "properties": {"amount": "2"}}
        for value in (named.encode(), charged(player, only_x)):
            player.broker.append(METER_DEFINITIONS, 0, None, value)
            await asyncio.sleep(2)
        for number in range(3):
            event = Event("count", f"t{number}", properties={"g": "x", "u": "a"})
            await append(player, event, pause_s=2)
        delete_raw(player)
        player.broker.append(METER_DEFINITIONS, 0, None, charged(player))
        await asyncio.sleep(5)
        await restart(player)
        event = Event("count", "after", properties={"g": "x", "u": "a"})
        await append(player, event, pause_s=5)
        player._leap(Pass(WEEK_MS, WEEK_MS))
        player._leap(Pass(2 * HOUR_MS))
        await asyncio.sleep(10)
        assert player.workers[0].engine.failure is None
        for topic, kind in {
            "usage-records": "usage.recorded",
            "usage-daily": "usage.daily",
        }.items():
            entries = player.broker.log(topic, 0).entries
            found = [json.loads(entry.value) for entry in entries if entry.value is not None]
            told = {each["id"]: each for each in found if each["type"] == kind}
            assert sorted(each["units"] for each in told.values()) == ["1.0", "3.0"], topic

    steps = defined(daily_records=True)
    run(in_simulation(Script(1, 1, steps), 0, tmp_path, act))


def test_undefined_names_are_sought_in_what_is_left(tmp_path: Path) -> None:
    """Of more of them than are kept one by one the first events are deleted."""
    name = (ORG, "late")

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        owned = player.workers[0].engine.owned[0]
        owned.state.event_ranges.most_undefined = 0
        await append(player, Event("count", "t0", external_id="nobody"), pause_s=2)
        delete_raw(player)
        await append(player, Event("count", "t1", external_id="late"), pause_s=2)
        body = subscription_body(external_id="late", subscription_at="2024-01-01T00:00:00Z")
        command = commands.create_subscription(ORG, body)
        player.broker.append(METER_DEFINITIONS, 0, None, command.encode())
        await asyncio.sleep(10)
        assert player.workers[0].engine.failure is None
        assert owned.refold_queue.since_ms is None
        usage = current_usage(owned.state, name, player.clock.now_ms())
        assert usage is not None
        assert sum(row.events_count for row in usage.rows) == 1
        # Nobody knows whether some of its events are among those that are deleted.
        assert owned.state.stale.parked.keys() == {name}
        assert REST not in owned.state.stale.refolding_keys

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


def test_what_cannot_be_made_again_is_left_as_it_is(tmp_path: Path) -> None:
    """Folded anew from what is left it would publish less than there was."""

    async def act(player: Player) -> None:
        await counted(player)
        await player.workers[0].stop()
        cells = player.broker.log(CELLS_CHANGELOG, 0)
        kept = [each for each in cells.entries if each.key == CHECKPOINT_KEY]
        assert 0 < len(kept) < len(cells.entries)
        cells.entries[:] = kept
        index = [*player.broker.log(INDEX_CHANGELOG, 0).entries]
        assert index
        await player._start(0)
        with suppress(asyncio.CancelledError):
            await player.workers[0].assign(frozenset({0}))
        await asyncio.sleep(2)
        failure = player.workers[0].engine.failure
        assert isinstance(failure, BeyondRetention)
        assert f"events-raw begins at offset {player.broker.log('events-raw').start}" in str(
            failure
        )
        assert player.broker.log(INDEX_CHANGELOG, 0).entries == index
        assert cells.entries == kept

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


def kept_weeks(player: Player) -> int:
    """Weeks of which the partition has cells."""
    state = player.workers[0].engine.owned[0].state
    spans = state.packing.route_of((*NAME, "count")).spans
    return sum(len(span.layers) for span in spans)


async def weeks(player: Player, count: int, kept: int) -> None:
    """An event each week; what was appended more than `kept` weeks ago is deleted."""
    log = player.broker.log("events-raw", 0)
    for week in range(count):
        await append(player, Event("count", f"w{week}", properties={"g": "x"}), pause_s=2)
        player._leap(Pass(WEEK_MS))
        await asyncio.sleep(4)
        before_ms = player.clock.now_ms() - kept * WEEK_MS
        gone = [entry.offset for entry in log.entries if entry.timestamp < before_ms]
        if gone:
            log.delete_before(gone[-1] + 1)


def test_who_is_older_than_the_log_forgets_and_is_corrected(tmp_path: Path) -> None:
    """Of its last weeks all events are there."""

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        await weeks(player, 12, kept=4)
        engine = player.workers[0].engine
        owned = engine.owned[0]
        assert kept_weeks(player) <= 3
        for number in range(2):
            await append(player, Event("count", f"m{number}", properties={"g": "x"}), pause_s=2)
        player.broker.append(METER_DEFINITIONS, 0, None, grouped_by(player, "g"))
        await asyncio.sleep(10)
        assert not owned.state.stale.parked
        usage = current_usage(owned.state, NAME, player.clock.now_ms())
        assert usage is not None
        assert [(row.grouped_by, row.events_count) for row in usage.rows] == [((("g", "x"),), 2)]
        await append(player, Correction("m1", "c1"), Correction("w1", "c2"), pause_s=5)
        assert engine.failure is None
        assert events_count(player) == 1
        (one,) = engine.definitions.set_asides.listed()
        assert one.code == RefusalCode.BEYOND_RETENTION

    steps = defined(late_window_s=0)
    run(in_simulation(Script(1, 1, steps), 0, tmp_path, act))
