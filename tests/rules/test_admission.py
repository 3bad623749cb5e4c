"""Which late events are refused, and by how much: to the millisecond (records-and-cuts §2)."""

from __future__ import annotations

import msgspec
import pytest

from app.definitions.model import SettingsRecord
from app.offline.fold import EventLine, OfflineMeter
from tables.partition.intake import RefusedArrival
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import definitions_of, logged
from tests.world.events import raw

WINDOW_MS = 10 * DAY_MS
REVISES = SettingsRecord(close_grid_s=60, revise_every_s=3600, late_window_s=10 * 86_400)
REFUSES = msgspec.structs.replace(REVISES, late_policy="refuse")
DUE_MS = START_MS + WEEK_MS
"""Of the first week, which has no grace."""


def verdict(
    settings: SettingsRecord, appended_ms: int, *, at_ms: int = START_MS, admitted: bool = False
) -> str | None:
    headers = [("meter-admit", b"true")] if admitted else []
    meter = OfflineMeter()
    meter.run(
        logged(definitions_of(["count"], settings)),
        [EventLine(appended_ms, 0, 0, msgspec.json.encode(raw("count", "t", at_ms)), headers)],
        START_MS + 5 * WEEK_MS,
    )
    codes = [one.code.value for one in meter.refused if isinstance(one, RefusedArrival)]
    counted = sum(
        msgspec.json.decode(record.value).get("events_count", 0) for record in meter.records
    )
    assert counted == (0 if codes else 1)
    return codes[0] if codes else None


@pytest.mark.parametrize(
    ("settings", "appended_ms", "wanted"),
    [
        pytest.param(REVISES, DUE_MS, None, id="when due"),
        pytest.param(REVISES, DUE_MS + 1, None, id="after due"),
        pytest.param(REVISES, DUE_MS + WINDOW_MS, None, id="end of the window"),
        pytest.param(REVISES, DUE_MS + WINDOW_MS + 1, "too_late", id="after the window"),
        pytest.param(REFUSES, DUE_MS, None, id="refusing, when due"),
        pytest.param(REFUSES, DUE_MS + 1, "period_closed", id="refusing, after due"),
        pytest.param(REFUSES, DUE_MS + WINDOW_MS + 1, "too_late", id="refusing, after the window"),
    ],
)
def test_late(settings: SettingsRecord, appended_ms: int, wanted: str | None) -> None:
    assert verdict(settings, appended_ms) == wanted


@pytest.mark.parametrize("settings", [REVISES, REFUSES], ids=["revising", "refusing"])
def test_what_is_admitted_is_never_late(settings: SettingsRecord) -> None:
    assert verdict(settings, DUE_MS + WINDOW_MS + 1, admitted=True) is None
