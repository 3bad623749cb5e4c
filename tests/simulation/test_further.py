"""Seeds with blocks of their own: what they define is taken, and comes to the offline fold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import pytest

from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from tests.simulation.corners import CORNERS_FROM
from tests.simulation.of_charges import CHARGES_FROM
from tests.simulation.play import play
from tests.simulation.script import FURTHER_FROM, Define, script_of
from tests.simulation.steps import AtOnce, Correction, Dies, Step
from tests.world.clock import HOUR_MS, START_MS
from tests.world.profiles import sized

SCRIPTS = 100
_DEFINED = {
    FURTHER_FROM: (
        *("delete_plan", "create_charge", "update_charge", "delete_charge", "update_plan"),
        *("create_charge_filter", "update_subscription", "create_alerts", "delete_alerts"),
    ),
    CHARGES_FROM: (
        *("create_charge_filter", "update_charge_filter", "delete_charge_filter"),
        *("update_subscription_charge", "create_subscription_charge_filter"),
        *("update_subscription_charge_filter", "delete_subscription_charge_filter"),
    ),
    CORNERS_FROM: ("create_billable_metric", "update_billable_metric", "history", "settings"),
}


@pytest.mark.parametrize("first", _DEFINED)
def test_what_they_define_is_taken_often(first: int) -> None:
    taken = Counter[str]()
    for seed in range(first, first + SCRIPTS):
        definitions, kinds = Definitions(), set[str]()
        defines = [step for step in script_of(seed).steps if isinstance(step, Define)]
        for number, step in enumerate(defines):
            at_ms = START_MS + number * HOUR_MS
            if isinstance(apply(definitions, step.value, at_ms, number), Applied):
                kinds.add(step.kind)
        taken.update(kinds)
    assert not {kind: taken[kind] for kind in _DEFINED[first] if taken[kind] < SCRIPTS / 20}


def test_every_corner_is_drawn_often() -> None:
    drawn = Counter[str]()
    for seed in range(CORNERS_FROM, CORNERS_FROM + SCRIPTS):
        drawn.update(set(_corners(script_of(seed).steps)))
    corners = [*_CORNERS, "dies", "of one time"]
    assert not {corner: drawn[corner] for corner in corners if drawn[corner] < SCRIPTS / 50}


_CORNERS = {
    "clocks change": b'"Asia/Beirut" "Asia/Almaty" "Australia/Lord_Howe" "Africa/Cairo"'.split(),
    "codes change hands": [b'"code":"left"'],
    "types change": [b'"code":"free"'],
    "periods end at noon": [b'"external_id":"noon"'],
    "months pass": [b'"external_id":"aged"'],
}


def _corners(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        if isinstance(step, Dies):
            yield "dies"
        elements = step.elements if isinstance(step, AtOnce) else (step,)
        if len(elements) > 1 and any(isinstance(each, Correction) for each in elements):
            yield "of one time"
        values = [each.value for each in elements if isinstance(each, Define)]
        for corner, texts in _CORNERS.items():
            if any(text in value for text in texts for value in values):
                yield corner


# One that is killed within a merge leaves its files open: here no process ends.
@pytest.mark.filterwarnings("ignore:.*<_io.FileIO:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("first", _DEFINED)
@pytest.mark.parametrize("number", range(sized(4, 2)))
def test_records_are_those_of_the_offline_fold(first: int, number: int) -> None:
    seed = first + number
    assert play(script_of(seed), seed).check() == []
