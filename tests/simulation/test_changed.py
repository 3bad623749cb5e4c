"""Seeds with usage-changed: what is told is what the offline fold tells, whatever befalls."""

from __future__ import annotations

from collections import defaultdict
from shutil import rmtree

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.kafka.topics import COMPACTED_CHANGELOGS, INDEX_CHANGELOG
from tests.simulation.blocks import defined
from tests.simulation.play import Player, play
from tests.simulation.script import CHANGED_FROM, TORN, Script, script_of
from tests.simulation.steps import Correction, Event, Pass, Step
from tests.simulation.test_mending import eventful
from tests.world.clock import DAY_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, metric_body, plan_body, subscription_body

TELLING = (CHANGED_FROM + 1, CHANGED_FROM + 3, CHANGED_FROM + 5)


@pytest.mark.parametrize("seed", TELLING)
def test_changes_are_those_of_the_offline_fold(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert outcome.messages("usage-changed")


def lose_state(player: Player, partition: int) -> None:
    """All that was ever written of a partition, but for its messages."""
    for changelog in (*COMPACTED_CHANGELOGS, INDEX_CHANGELOG):
        player.broker.log(changelog, partition).entries.clear()
    player.redis.lose()
    for worker in player.workers:
        rmtree(worker.directory, ignore_errors=True)
        worker.process.kill()


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_told_again_after_a_loss_of_all_state_is_the_same(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(Player, "_tear", lose_state)
    outcome = play(Script(1, 1, [*eventful(usage_changed=True), TORN]), seed)
    told = defaultdict[bytes | None, list[object]](list)
    for entry in outcome.messages("usage-changed"):
        told[dict(entry.headers)["ce_id"]].append((entry.key, entry.value, entry.headers))
    assert told
    assert all(len(copies) == 2 and copies[0] == copies[1] for copies in told.values())
    assert outcome.check() == []


def test_a_definition_tells_of_a_code_that_a_correction_gave() -> None:
    """It was given while nobody asked any more, and one moment of before was not told yet."""
    told = replace(SETTINGS, usage_changed=True, grace_s=5_400, late_window_s=0)
    by_day = replace(told, daily_records=True)
    event = Event("count", "t", properties={"u": "c"})
    amended = event._replace(code="unique", lag_ms=3 * WEEK_MS)
    made = [
        commands.set_settings(told),
        *(commands.create_billable_metric(ORG, metric_body(code)) for code in ("count", "unique")),
        commands.create_plan(ORG, plan_body(["count", "unique"])),
        commands.create_subscription(ORG, subscription_body()),
        commands.set_settings(replace(told, usage_changed=False)),
    ]
    steps: list[Step] = [
        *map(defined, made),
        event,
        Pass(1, DAY_MS),
        Correction("t", "c", to=amended),
        defined(commands.set_settings(by_day)),
    ]
    outcome = play(Script(1, 1, steps, rest_ms=DAY_MS))
    assert outcome.check() == []
    (message,) = outcome.messages("usage-changed")
    assert message.value is not None
    assert b'"codes":["count","unique"]' in message.value
