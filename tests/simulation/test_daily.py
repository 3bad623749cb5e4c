"""Seeds with daily records: what a day says is what the offline fold says, whatever happens."""

from __future__ import annotations

import pytest

from tests.simulation.play import play
from tests.simulation.script import DAILY_FROM, script_of

TELLING = (DAILY_FROM + 2, DAILY_FROM + 3, DAILY_FROM + 8)


@pytest.mark.parametrize("seed", TELLING)
def test_daily_records_are_those_of_the_offline_fold(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert outcome.messages("usage-daily")
