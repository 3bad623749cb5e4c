"""What an earlier version left is gone on with: same records, and nothing folded anew.

The files were written by workers of that version (`python -m tests.upgrade`): every topic of the
simulated brokers, the changelogs and checkpoints among them, and the workers' disks.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, get_args

import pytest

from app.runtime.restoring import rebuild, restore
from app.wire.usage_records import Topic
from tests.simulation.check import Outcome
from tests.simulation.kafka import Broker
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.steps import Pass, Script
from tests.upgrade.kept import STATES, read
from tests.world.clock import DAY_MS

FILES = sorted(STATES.glob("*.msgpack.xz"))
WORKERS = 2

each_state = pytest.mark.parametrize("path", FILES, ids=[path.name.split(".")[0] for path in FILES])


@pytest.fixture(autouse=True)
def _silent() -> Any:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(before)


def test_the_states_have_all_that_a_version_keeps() -> None:
    kept = [read(path) for path in FILES]
    topics = {log.topic for each in kept for log in each.logs if log.entries}
    changelogs = {*restore._RESTORED_FROM}
    assert changelogs <= topics
    assert {topic for each in kept for topic, told in each.published.items() if told} == {
        *get_args(Topic)
    }
    assert all(each.later for each in kept)


@each_state
def test_its_logs_fold_to_what_it_published(path: Path) -> None:
    kept = read(path)

    async def folded() -> Any:
        broker = Broker(Player(Script(kept.partitions, 1, []), kept.seed, path).clock)
        kept.into(broker)
        kept.append_later(broker)
        return Outcome(broker, kept.partitions, kept.end_ms, {}, {}, None, []).offline().records

    records = run(folded())
    for topic, told in kept.published.items():
        assert {each.value for each in records if each.topic == topic} == set(told), topic


@each_state
@pytest.mark.parametrize("has_disk", [True, False], ids=["its disk", "no disk"])
def test_its_state_goes_on_to_the_same_bytes(
    path: Path, has_disk: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, anew = read(path), list[int]()

    async def noted(number: int, *others: Any) -> Any:
        anew.append(number)
        return await rebuild.fold_anew(number, *others)

    async def act(player: Player) -> Outcome:
        kept.into(player.broker)
        if has_disk:
            kept.onto(tmp_path)
        _leap_to(player, kept.at_ms)
        for slot in range(WORKERS):
            await player._start(slot)
        await player._rebalance()
        owned = player._owned()
        assert len(owned) == kept.partitions
        assert [key for each in owned for key in each.refold_queue.meter_keys] == []
        for each in owned:
            # Redis begins empty, and takes its members from their changelog.
            assert set(each.shared.rebuilds) <= {"members"}
        for entry in kept.later:
            _leap_to(player, entry.timestamp)
            player.broker.append(
                entry.topic, entry.partition, entry.key, entry.value, entry.headers
            )
            await asyncio.sleep(0.3)
        return await player.end()

    monkeypatch.setattr(restore, "fold_anew", noted)
    script = Script(kept.partitions, WORKERS, [], DAY_MS)
    assert run(in_simulation(script, kept.seed, tmp_path, act)).check() == []
    assert anew == []


def _leap_to(player: Player, at_ms: int) -> None:
    player._leap(Pass(max(0, at_ms - player.clock.now_ms())))
