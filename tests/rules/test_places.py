"""Places of groups, where there is one: what closed periods show once corrections move them."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest
from msgspec.structs import replace

from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction, Event
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.corrections import fold, used
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import amend, cancel, event
from tests.world.repaired import Repaired
from tests.world.verified import differences

INSIDE_MS = START_MS + DAY_MS
SETTINGS = SettingsRecord(close_grid_s=60, revise_every_s=3600, max_groups=1)
Told = list[tuple[str, str | None]]
"""Units and reasons of the records of a cell."""


def grouped(code: str, group: str) -> Event:
    return event(code, group, INSIDE_MS, v="1", g=group)


def place_for_one(events: list[Event], late_window_s: int = 3_600) -> Repaired:
    definitions = definitions_of(["balance", "sum"], replace(SETTINGS, late_window_s=late_window_s))
    for charge in definitions[3].command.payload["plan"]["charges"]:
        charge["properties"] = {**charge["properties"], "pricing_group_keys": ["g"]}
    live = Repaired(definitions, repairs=True)
    for offset, sent in enumerate(events):
        live.deliver([Arrival(sent, ORG, INSIDE_MS, 0, offset, 0)])
    return live


def correct(live: Repaired, number: int, of: Event, to: Event | None) -> None:
    """Amend an event, or cancel it, so many weeks later, and take the cut that shows it."""
    at_ms = INSIDE_MS + number * WEEK_MS + number
    live.close_until(at_ms - 1)
    operation: Literal["cancel", "amend"] = "cancel" if to is None else "amend"
    one = Correction(ORG, SUBSCRIPTION, of.transaction_id, operation, to, f"c{number}", b"")
    live.correct(CorrectionArrival(one, ORG, at_ms, 0, 10 + number, 0))
    live.close_until(at_ms + HOUR_MS)


def shown(live: Repaired, code: str, group: str) -> dict[str, Told]:
    """Return what the records of a group tell, by the day on which the period begins."""
    found: dict[str, Told] = {}
    for body in live.bodies():
        if body["type"] == "period.completed" or body["billable_metric"]["code"] != code:
            continue
        if body["grouped_by"] == {"g": group}:
            told = found.setdefault(body["period"]["from"][8:10], [])
            told.append((body["units"], body["revision_reason"]))
    return found


@pytest.mark.parametrize("late_window_s", [3_600, 400 * 86_400], ids=["final", "not final"])
@pytest.mark.parametrize(("code", "other"), [("sum", "balance"), ("balance", "sum")])
@pytest.mark.parametrize("cancelled_first", [True, False])
def test_a_period_shows_who_has_the_place_of_a_cancelled_event(
    code: str, other: str, cancelled_first: bool, late_window_s: int
) -> None:
    """Its group has it until the event is amended away, and again once that is cancelled."""
    front = grouped(code, "x")
    live = place_for_one([front, grouped(code, "y")], late_window_s)
    steps = [None, replace(front, code=other, timestamp_ms=INSIDE_MS + WEEK_MS)]
    for number, to in enumerate(steps if cancelled_first else reversed(steps)):
        correct(live, number, front, to)
    corrected: Told = [] if cancelled_first else [("0.0", "correction")]
    assert shown(live, code, "y") == {"01": [("1.0", None), *corrected]}
    assert differences(live) == []


def test_without_groups_there_is_no_place_and_a_late_event_alone_is_the_reason() -> None:
    late_ms = START_MS + WEEK_MS + DAY_MS
    sent = used("a", "5", code="max")
    meter = fold(
        (INSIDE_MS, sent),
        (INSIDE_MS, used("b", "3", code="max")),
        (INSIDE_MS + HOUR_MS, cancel("a")),
        (late_ms, used("c", "4", code="max")),
        (late_ms, amend(sent | {"timestamp": late_ms // 1000})),
        at_ms=late_ms + HOUR_MS,
        settings=replace(SETTINGS, late_window_s=7 * 86_400),
    )
    bodies = [msgspec.json.decode(record.value) for record in meter.records]
    told = [(b["units"], b["revision_reason"]) for b in bodies if b["type"] != "period.completed"]
    assert told == [("3.0", None), ("4.0", "late_events")]


def test_a_closed_period_keeps_that_it_shows_nothing_of_a_group_that_a_later_one_lets_in() -> None:
    """An event of it takes the place by one correction and gives it back by another."""
    front = grouped("sum", "x")
    live = place_for_one([front, grouped("balance", "y")])
    amended = replace(front, code="balance")
    later = replace(amended, timestamp_ms=INSIDE_MS + WEEK_MS)
    for number, to in enumerate((amended, later, front), 3):
        correct(live, number, front, to)
    told = shown(live, "balance", "y")
    assert told["01"] == [("1.0", None), ("0.0", "correction")]
    assert [units for units, _ in told["08"]] == ["1.0", "0.0", "1.0"]
    assert differences(live) == []
