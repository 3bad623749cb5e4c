"""Seeds with alerts: what is sent is what the offline fold sends, whatever befalls the workers."""

from __future__ import annotations

import pytest

from tests.simulation.play import play
from tests.simulation.script import ALERTS_FROM, script_of

SENDING = (ALERTS_FROM + 4, ALERTS_FROM + 8, ALERTS_FROM + 10)


@pytest.mark.parametrize("seed", SENDING)
def test_alerts_are_those_of_the_offline_fold(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert any(
        b"lifetime" in (message.value or b"") for message in outcome.messages("usage-alerts")
    )
