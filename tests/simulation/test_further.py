"""Seeds with blocks of their own: what they define is taken, and comes to the offline fold."""

from __future__ import annotations

from collections import Counter

import pytest

from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from tests.simulation.of_charges import CHARGES_FROM
from tests.simulation.play import play
from tests.simulation.script import FURTHER_FROM, Define, script_of
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


@pytest.mark.parametrize("first", _DEFINED)
@pytest.mark.parametrize("number", range(sized(4, 2)))
def test_records_are_those_of_the_offline_fold(first: int, number: int) -> None:
    seed = first + number
    assert play(script_of(seed), seed).check() == []
