"""The offline fold shows what a plain recount of the same events comes to."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from app.definitions.model import SettingsRecord
from app.offline.fold import EventLine, OfflineMeter
from tests.simulation.recount import BALANCES, Figure, Use, recount
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import SETTINGS, definitions_of, logged
from tests.world.events import raw

CODES = ("average", "balance", "count", "latest", "level", "max", "seats", "sum", "unique")
WEEKS = 3


def uses_of(seed: int) -> list[tuple[int, Use]]:
    """(append time, event): some repeated, some late by up to a day, in order of append times."""
    choose = random.Random(seed)
    appended_ms = START_MS
    made: list[tuple[int, Use]] = []
    for number in range(choose.randint(5, 60)):
        appended_ms += choose.randint(1, WEEKS * WEEK_MS // 60)
        use = Use(
            choose.choice(CODES),
            f"t{number}",
            max(START_MS, appended_ms - choose.randint(0, 24 * HOUR_MS)),
            f"{choose.randint(-500, 2_000) / 100:.2f}",
            choose.choice("abcd"),
            choose.random() < 0.7,
            choose.choice((None, "x", "y")),
        )
        if made and choose.random() < 0.15:
            use = choose.choice(made)[1]
        made.append((appended_ms, use))
    return made


def encoded(use: Use) -> bytes:
    properties: dict[str, Any] = {
        "v": use.value,
        "u": use.user,
        "operation_type": "add" if use.adds else "remove",
    }
    if use.group is not None:
        properties["g"] = use.group
    return msgspec.json.encode(raw(use.code, use.transaction_id, use.at_ms, **properties))


def folded(made: list[tuple[int, Use]], settings: SettingsRecord = SETTINGS) -> OfflineMeter:
    meter = OfflineMeter()
    definitions = logged(definitions_of(CODES, settings))
    events = [
        EventLine(append_time_ms, 0, offset, encoded(use))
        for offset, (append_time_ms, use) in enumerate(made)
    ]
    meter.run(definitions, events, START_MS + (WEEKS + 2) * WEEK_MS)
    return meter


def published(meter: OfflineMeter) -> dict[int, dict[tuple[str, str | None], Figure]]:
    """Newest revisions by week; cells that show nothing are left out."""
    newest: dict[str, dict[str, Any]] = {}
    for record in meter.records:
        body = msgspec.json.decode(record.value)
        if body["type"] != "period.completed":
            newest[body["cell_id"]] = body
    weeks: dict[int, dict[tuple[str, str | None], Figure]] = {}
    for body in newest.values():
        week = (int(body["period"]["from"][8:10]) - 1) // 7
        group = (body["grouped_by"] or {}).get("g")
        figure = Figure(Fraction(body["units"]), body["events_count"])
        if figure.units or figure.events:
            weeks.setdefault(week, {})[body["charge"]["code"], group] = figure
    return weeks


@pytest.mark.parametrize("seed", range(40))
def test_every_week_is_published_as_recounted(seed: int) -> None:
    made = uses_of(seed)
    weeks = published(folded(made))
    events = [use for _, use in made]
    for week in range(WEEKS):
        assert weeks.get(week, {}) == recount(events, START_MS + week * WEEK_MS), week


@pytest.mark.parametrize("window_ms", [0, 2 * HOUR_MS, 7 * HOUR_MS // 2])
@pytest.mark.parametrize("seed", range(40))
def test_a_week_has_what_came_while_it_was_open(seed: int, window_ms: int) -> None:
    """What came later is in no week if it is metered, and of a balance in later weeks."""
    made = uses_of(seed)
    settings = msgspec.structs.replace(SETTINGS, late_window_s=window_ms // 1000)
    weeks = published(folded(made, settings))
    for week in range(WEEKS):
        start_ms = START_MS + week * WEEK_MS
        open_until_ms = start_ms + WEEK_MS + window_ms
        events = [
            use
            for appended_ms, use in made
            if appended_ms <= open_until_ms
            and (use.code in BALANCES or appended_ms <= closed_to(use, window_ms))
        ]
        assert weeks.get(week, {}) == recount(events, start_ms), week


def closed_to(use: Use, window_ms: int) -> int:
    """When the week of an event closes to what comes late."""
    return START_MS + ((use.at_ms - START_MS) // WEEK_MS + 1) * WEEK_MS + window_ms
