"""Records of the log are found again, however far it goes, and settings hold through time."""

from __future__ import annotations

from copy import copy

from app.definitions.indexes.records import RecordIndex, SettingsVersions
from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS


def test_offsets_of_a_very_long_log_are_kept() -> None:
    records, offsets = RecordIndex(), [0, 7, (1 << 32) - 1, 1 << 32, 1 << 40]
    branches = []
    for now_ms, offset in enumerate(offsets):
        records.commit(now_ms, offset)
        branches.append(records.copy())
    assert list(records.offsets) == offsets
    assert list(records.times_ms) == [0, 1, 2, 3, 4]
    assert [list(each.offsets) for each in branches] == [offsets[: n + 1] for n in range(5)]


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


def test_when_there_first_was_an_implicit_plan_is_told_under_the_newest_settings() -> None:
    settings = SettingsVersions()
    settings.commit(SettingsRecord(), 3, 1)
    assert settings.implicit_since_ms == NEVER_MS
    before = copy(settings)
    for at_ms, implicit in (5, True), (7, False), (9, True):
        settings.commit(SettingsRecord(implicit_plan=implicit), at_ms, at_ms)
        assert settings.implicit_since_ms == 5
    assert before.implicit_since_ms == NEVER_MS


def test_grids_are_told_under_the_newest_settings_and_as_of_a_time() -> None:
    settings = SettingsVersions()
    for at_ms, grid_s in (3, 60), (5, 60), (8, 3_600):
        settings.push(at_ms, at_ms, SettingsRecord(close_grid_s=grid_s))
    assert settings.grids_ms() == ((3, 60_000), (8, 3_600_000))
    settings.push(9, 9, SettingsRecord(close_grid_s=60))
    assert settings.grids_ms() == ((3, 60_000), (8, 3_600_000), (9, 60_000))
    until = [settings.grids_ms(at_ms) for at_ms in (2, 3, 7, 8, 9)]
    assert list(map(len, until)) == [0, 1, 1, 2, 3]
    assert settings.grids_ms(8) == ((3, 60_000), (8, 3_600_000))
