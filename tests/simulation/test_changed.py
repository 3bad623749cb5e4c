"""Seeds with usage-changed: what is told is what the offline fold tells, whatever befalls."""

from __future__ import annotations

import pytest

from tests.simulation.play import play
from tests.simulation.script import CHANGED_FROM, script_of

TELLING = (CHANGED_FROM + 1, CHANGED_FROM + 3, CHANGED_FROM + 5)


@pytest.mark.parametrize("seed", TELLING)
def test_changes_are_those_of_the_offline_fold(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert outcome.messages("usage-changed")
