"""Unit tests of the settings through time."""

from __future__ import annotations

from copy import copy

from app.definitions.indexes.records import SettingsVersions
from app.definitions.model import SettingsRecord
from app.definitions.timeline import NEVER_MS


def test_daily_records_are_told_under_the_newest_settings() -> None:
    settings = SettingsVersions()
    assert settings.daily_ms() == ()
    settings.commit(SettingsRecord(daily_records=True), 5, 1)
    assert settings.daily_ms() == ((5, NEVER_MS),)
    before = copy(settings)
    settings.commit(SettingsRecord(daily_records=False), 9, 2)
    assert settings.daily_ms() == ((5, 9),)
    assert settings.daily_ms(7) == ((5, NEVER_MS),)
    assert before.daily_ms() == ((5, NEVER_MS),)
