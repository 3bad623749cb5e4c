"""Seeds from `SECOND_FROM` on: two organizations with the same ids and codes, each by itself."""

from __future__ import annotations

from typing import Any

import pytest

from app.offline.fold import OfflineMeter
from app.runtime.restoring import rebuild, restore
from tests.simulation import play as playing
from tests.simulation.check import Outcome
from tests.simulation.play import play
from tests.simulation.script import script_of
from tests.simulation.second import OTHER, SECOND_FROM
from tests.world.definitions import ORG
from tests.world.profiles import sized

OF_FIRST, OF_OTHER, OF_THIRD = (
    f'"organization_id":"{name}"'.encode() for name in (ORG, OTHER, "third")
)


def told(meter: OfflineMeter) -> dict[tuple[str, str], bytes]:
    """Return what is published of the other organization."""
    return {(r.topic, r.identity): r.value for r in meter.records if OF_OTHER in r.value}


def alone(outcome: Outcome) -> OfflineMeter:
    """Fold the same logs without the first organization: a third defines what it did, unused."""
    definitions, events = outcome.lines
    meter = OfflineMeter()
    meter.run(
        [
            line._replace(value=(line.value or b"").replace(OF_FIRST, OF_THIRD))
            for line in definitions
        ],
        [line for line in events if OF_OTHER in (line.value or b"")],
        outcome.end_ms,
    )
    return meter


@pytest.mark.parametrize("seed", range(SECOND_FROM, SECOND_FROM + sized(2, 1)))
def test_the_other_has_what_it_would_have_alone(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert told(outcome.offline()) == told(alone(outcome)) != {}


def test_what_is_evaluated_for_alerts_is_torn_and_found_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost, known = list[int](), rebuild.evaluations_of

    async def noting(checkpoint: Any, *more: Any) -> Any:
        found = await known(checkpoint, *more)
        lost.append(checkpoint.evaluations_lost_ms)
        return found

    monkeypatch.setattr(restore, "evaluations_of", noting)
    monkeypatch.setattr(playing, "_TORN", ())
    outcome = play(script_of(TEARING), TEARING)
    assert max(lost) >= 0
    assert outcome.check() == []


TEARING = SECOND_FROM + 6
"""Rows of alerts are there when it tears."""
