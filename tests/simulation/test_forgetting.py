"""Seeds whose periods are final soon: who forgets their cells comes to the offline fold."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from app.kafka.topics import PRESENCE_CHANGELOG
from app.meter.usage import OPEN, PresentedRow, UsageRow
from tests.simulation.check import Outcome
from tests.simulation.play import play
from tests.simulation.script import FORGETTING_FROM, script_of
from tests.world.past import as_told
from tests.world.period_usage import period_usage
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


def row(group: str, presented: tuple[PresentedRow, ...] | None) -> UsageRow:
    return UsageRow(
        charge_id="charge",
        filter_id=None,
        grouped_by=(("g", group),),
        units=Decimal(1),
        total_aggregated_units=Decimal(1),
        events_count=1,
        presented=presented,
    )


def test_what_cannot_be_told_any_more_is_left_out_of_just_that_row() -> None:
    """Who folds at once has the rows of what is published in another order."""
    parts = (PresentedRow((("u", "a"),), Decimal(1)),)
    ours, theirs, told = (
        period_usage((), rows, 0, 1, OPEN)
        for rows in (
            (row("x", parts), row("y", parts)),
            (row("y", None), row("x", ())),
            (row("x", parts), row("y", None)),
        )
    )
    assert as_told(ours, theirs) == told
