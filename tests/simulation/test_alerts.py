"""Seeds with alerts: what is sent is what the offline fold sends, whatever befalls the workers."""

from __future__ import annotations

import pytest

from tests.simulation.play import play
from tests.simulation.script import ALERTS_FROM, script_of

SENDING = (ALERTS_FROM + 2, ALERTS_FROM + 6, ALERTS_FROM + 14)


@pytest.mark.parametrize("seed", SENDING)
def test_alerts_are_those_of_the_offline_fold(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert outcome.messages("usage-alerts")
