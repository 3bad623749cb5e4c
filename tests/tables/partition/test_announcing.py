"""Announcing: after a restart who has late events is looked at in turns, and rests again."""

from __future__ import annotations

from collections import Counter

import pytest

from tables.cells.cell import Cell
from tables.partition.cuts import CutsToCome
from tables.partition.partition import Partition
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)


def test_late_events_are_looked_at_in_turns_and_no_cut_is_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """There may be very many: the call that tells whether the state is whole looks at none."""
    one = Live(definitions_of(["count"]))
    one.define_all()
    one.deliver([arrived("count", 0, START_MS + HOUR_MS)])
    one.close_until(START_MS + WEEK_MS)
    one.deliver([arrived("count", 1, START_MS + 2 * HOUR_MS, START_MS + WEEK_MS + HOUR_MS)])
    waiting = one.partition.cuts.late_cuts
    assert waiting[NAME]
    looked_at, within = Counter[str](), list[str]()
    remember, restored = CutsToCome.remember, Partition.restored

    def counted(cuts: CutsToCome, cell: Cell) -> bool:
        looked_at[within[-1] if within else "in turns"] += 1
        return remember(cuts, cell)

    def whole(partition: Partition) -> bool:
        within.append("at once")
        is_whole = restored(partition)
        within.pop()
        return is_whole

    monkeypatch.setattr(CutsToCome, "remember", counted)
    monkeypatch.setattr(Partition, "restored", whole)
    one.restart()
    assert looked_at == {"in turns": 1}
    assert one.partition.cuts.late_cuts == waiting
    assert one.partition.packing.is_packed(NAME)
    assert not one.partition.packing.late
