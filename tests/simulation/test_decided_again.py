"""Figures of single events that are lost with a torn state are decided again."""

from __future__ import annotations

import pytest

from app.definitions import commands
from app.definitions.model import SettingsRecord
from tests.simulation import play as playing
from tests.simulation.play import play
from tests.simulation.script import TORN, Correction, Define, Event, Pass, Script, Step
from tests.world.clock import DAY_MS, HOUR_MS, WEEK_MS
from tests.world.definitions import ORG, definitions_of, subscription_body


def test_a_lost_figure_is_decided_again_where_a_correction_came_before_its_subscription_shows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the correction made of the event is not in force at the event's own cut."""
    monkeypatch.setattr(playing, "_OUTPUT_LOST", 1.0)
    made = definitions_of(("passes",), SettingsRecord(grace_s=0, default_organization_id=ORG))
    other = commands.create_subscription(ORG, subscription_body(external_id="sub-b"))
    event = Event("passes", "a", properties={"v": "3", "u": "a"}, external_id="sub-b")
    steps: list[Step] = [
        *(Define(line.command.type, line.command.encode()) for line in made),
        Pass(1, WEEK_MS),
        Define(other.type, other.encode()),
        Pass(1, DAY_MS),
        event,
        Pass(1, DAY_MS),
        Correction("a", "c1", external_id="sub-b"),
        Pass(HOUR_MS),
        TORN,
        Pass(HOUR_MS),
    ]
    for seed in range(8):
        assert play(Script(1, 1, steps), seed).check() == []
