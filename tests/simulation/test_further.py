"""Seeds from `FURTHER_FROM` on: what they define beside is taken, and comes to the offline fold."""

from __future__ import annotations

from collections import Counter

import pytest

from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from tests.simulation.play import play
from tests.simulation.script import FURTHER_FROM, Define, script_of
from tests.world.clock import HOUR_MS, START_MS
from tests.world.profiles import sized

SCRIPTS = 100
_DEFINED = (
    *("delete_plan", "create_charge", "update_charge", "delete_charge", "create_charge_filter"),
    *("update_plan", "update_subscription", "create_alerts", "delete_alerts"),
)


def test_what_they_define_is_taken_often() -> None:
    taken = Counter[str]()
    for seed in range(FURTHER_FROM, FURTHER_FROM + SCRIPTS):
        definitions, kinds = Definitions(), set[str]()
        defines = [step for step in script_of(seed).steps if isinstance(step, Define)]
        for number, step in enumerate(defines):
            at_ms = START_MS + number * HOUR_MS
            if isinstance(apply(definitions, step.value, at_ms, number), Applied):
                kinds.add(step.kind)
        taken.update(kinds)
    assert not {kind: taken[kind] for kind in _DEFINED if taken[kind] < SCRIPTS / 20}


@pytest.mark.parametrize("seed", range(FURTHER_FROM, FURTHER_FROM + sized(4, 2)))
def test_records_are_those_of_the_offline_fold(seed: int) -> None:
    assert play(script_of(seed), seed).check() == []
