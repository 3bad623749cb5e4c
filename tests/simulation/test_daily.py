"""Seeds with daily records: what a day says is what the offline fold says, whatever happens."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.kafka.topics import DAILY_CHANGELOG
from tests.simulation.by_hand import defining
from tests.simulation.play import Player, play
from tests.simulation.script import (
    DAILY_FROM,
    TORN,
    Event,
    Pass,
    Script,
    Step,
    script_of,
)
from tests.world.clock import DAY_MS, HOUR_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, subscription_body

TELLING = (DAILY_FROM + 2, DAILY_FROM + 3, DAILY_FROM + 8)


@pytest.mark.parametrize("seed", TELLING)
def test_daily_records_are_those_of_the_offline_fold(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert outcome.messages("usage-daily")


WITHOUT = SettingsRecord(grace_s=0, default_organization_id=ORG)
DAILY = SettingsRecord(grace_s=0, default_organization_id=ORG, daily_records=True)
NO_CHARGES = commands.update_plan(ORG, "plan", {"charges": []})
SOUTH = commands.upsert_customer(
    ORG, {"external_id": "customer", "timezone": "Africa/Johannesburg"}
)


@pytest.mark.parametrize(
    ("settings", "since", "told"),
    [
        pytest.param(WITHOUT, [commands.set_settings(DAILY)], 1, id="the setting"),
        pytest.param(
            DAILY,
            [commands.create_subscription(ORG, subscription_body(external_id="other"))],
            2,
            id="a subscription",
        ),
        pytest.param(DAILY, [NO_CHARGES, SOUTH], 2, id="a timezone"),
        pytest.param(
            DAILY,
            [NO_CHARGES, commands.terminate_subscription(ORG, SUBSCRIPTION), SOUTH],
            2,
            id="an end",
        ),
    ],
)
def test_a_torn_changelog_takes_no_day_from_what_was_defined_since_the_last_cut(
    monkeypatch: pytest.MonkeyPatch, settings: SettingsRecord, since: list[Command], told: int
) -> None:
    """The flush shows them already, so nobody is told of them again."""

    def tear(player: Player, partition: int) -> None:
        player.broker.log(DAILY_CHANGELOG, partition).entries.clear()
        for worker in player.workers:
            worker.process.kill()

    monkeypatch.setattr(Player, "_tear", tear)
    made = [line.command for line in definitions_of(["sum"], settings)]
    steps: list[Step] = [
        *defining(made),
        Pass(HOUR_MS),
        Event("sum", "a", 0, properties={"v": "3"}),
        Event("sum", "b", 0, external_id="other", properties={"v": "3"}),
        Pass(DAY_MS, HOUR_MS),
    ]
    for step in defining(since):
        steps += [Pass(HOUR_MS + HOUR_MS // 2), step, Pass(0)]
    steps += [Pass(HOUR_MS), TORN, Pass(DAY_MS, DAY_MS)]
    outcome = play(Script(1, 1, steps, known_at_once=True))
    assert outcome.check() == []
    assert len(outcome.messages("usage-daily")) == told


@pytest.mark.parametrize("code", ["balance", "heads", "level"])
def test_days_that_begin_again_have_what_was_forgotten_once_days_ended(code: str) -> None:
    """The week is final in which days ended, and they begin in the one behind it."""
    without = replace(WITHOUT, late_window_s=0)
    since = "2024-01-06T00:00:00Z"
    other = subscription_body(
        external_id="other", billing_time="anniversary", subscription_at=since
    )
    made = [line.command for line in definitions_of([code], replace(without, daily_records=True))]
    steps: list[Step] = [
        *defining(made),
        Pass(HOUR_MS),
        Event(code, "a", 0, properties={"v": "3", "u": "b"}),
        Pass(DAY_MS, DAY_MS),
        *defining([commands.set_settings(without), commands.create_subscription(ORG, other)]),
        Event(code, "b", 0, external_id="other", properties={"v": "3", "u": "b"}),
        Pass(11 * DAY_MS, HOUR_MS),
        # Once it is read, cuts before it are taken, and what they make final is forgotten.
        *defining([commands.update_plan(ORG, "plan", {"name": "other"})]),
        Pass(HOUR_MS),
        *defining([commands.set_settings(replace(without, daily_records=True))]),
        Pass(2 * DAY_MS, DAY_MS),
    ]
    outcome = play(Script(1, 1, steps, known_at_once=True))
    assert outcome.check() == []
    told = [
        msgspec.json.decode(each.value or b"")["day"] for each in outcome.messages("usage-daily")
    ]
    assert told[-1] > "2024-01-08"
