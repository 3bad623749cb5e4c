"""Grid cuts of whoever pays in advance are taken again where figures were lost, only there."""

from __future__ import annotations

import pytest

from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import IN_ADVANCE, ORG, SUBSCRIPTION, definitions_of
from tests.world.partition import Live


@pytest.mark.parametrize("count", [5, 50])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "lost"])
def test_what_was_decided_is_looked_at_again_if_figures_are_lost(count: int, whole: bool) -> None:
    live = Live(definitions_of(sorted(IN_ADVANCE)[:1]))
    live.define_all()
    cuts, checkpoint = live.partition.cuts, live.partition.checkpoint
    before = len(cuts.grid.of((ORG, SUBSCRIPTION)))
    checkpoint.grid_ms, checkpoint.figures_whole = START_MS + WEEK_MS, whole
    again = [
        cuts.schedule_grid((ORG, SUBSCRIPTION), START_MS + number * HOUR_MS)
        for number in range(1, count + 1)
    ]
    assert again == [not whole] * count
    assert len(cuts.grid.of((ORG, SUBSCRIPTION))) == before + (0 if whole else count)
    # What comes later is decided at its own cut.
    assert cuts.schedule_grid((ORG, SUBSCRIPTION), START_MS + WEEK_MS + HOUR_MS)
