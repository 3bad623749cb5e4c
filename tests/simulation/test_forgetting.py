"""Seeds whose periods are final soon: who forgets their cells comes to the offline fold."""

from __future__ import annotations

import msgspec
import pytest

from app.kafka.topics import PRESENCE_CHANGELOG
from tests.simulation.check import Outcome
from tests.simulation.play import play
from tests.simulation.script import FORGETTING_FROM, script_of
from tests.world.profiles import sized

SEEDS = [FORGETTING_FROM + number for number in (2, 11, 20)[: sized(3, 2)]]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_forgotten_changes_no_record(seed: int) -> None:
    outcome = play(script_of(seed), seed)
    assert outcome.check() == []
    assert forgot(outcome)


def forgot(outcome: Outcome) -> bool:
    """Whether cells of anybody were forgotten."""
    rows = (
        msgspec.msgpack.decode(entry.value)
        for number in range(outcome.partitions)
        for entry in outcome.broker.log(PRESENCE_CHANGELOG, number).entries
        if entry.value is not None
    )
    return any(isinstance(row, list) and len(row) > 10 and row[10] >= 0 for row in rows)
