"""Whom a worker and the offline fold pass over alike is found by looking at everybody."""

from __future__ import annotations

import pytest

from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS
from tables.partition.cuts import CutsToCome
from tests.simulation.by_hand import defining
from tests.simulation.play import play
from tests.simulation.script import Event, Pass, Script, Step
from tests.world.clock import DAY_MS, HOUR_MS, WEEK_MS
from tests.world.definitions import ORG, definitions_of

DAILY = SettingsRecord(grace_s=0, default_organization_id=ORG, daily_records=True)


def steps() -> list[Step]:
    """A balance, which shows on the first day of each week, and a late event."""
    return [
        *defining([line.command for line in definitions_of(["balance"], DAILY)]),
        Pass(HOUR_MS),
        Event("balance", "a", 0, properties={"v": "3"}),
        Pass(2 * WEEK_MS, DAY_MS),
        Event("balance", "b", WEEK_MS, properties={"v": "4"}),
        Pass(WEEK_MS, DAY_MS),
    ]


def test_a_first_day_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(Script(1, 1, steps(), known_at_once=True)).check() == []
    monkeypatch.setattr(CutsToCome, "next_first_day", lambda *_: NEVER_MS)
    found = play(Script(1, 1, steps(), known_at_once=True)).check()
    assert {told.split(":")[0] for told in found} == {"usage-daily"}
    assert any(told.startswith("usage-daily: None, with everybody looked at b'") for told in found)


def test_a_revision_that_nobody_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CutsToCome, "expect_late", lambda *_: False)
    found = play(Script(1, 1, steps(), known_at_once=True)).check()
    topics = {told.split(":")[0] for told in found if "with everybody looked at b'" in told}
    assert "usage-records" in topics
