"""What events weigh that are folded closely."""

from __future__ import annotations

import pytest

from app.runtime.partition.owned import slices_of
from app.wire.arrivals import runs_of
from tests.world.clock import START_MS
from tests.world.definitions import definitions_of
from tests.world.events import arrived
from tests.world.partition import Live


@pytest.mark.parametrize(("code", "at_once"), [("sum", 60), ("unique", 10), ("heads", 10)])
def test_events_of_a_unique_count_are_folded_closely_few_at_once(code: str, at_once: int) -> None:
    """A thousand late ones, each seen by a cut of its own, held the loop for 0.1 s."""
    live = Live(definitions_of([code]))
    live.define_all()
    runs = runs_of([arrived(code, n, START_MS, v="1", u="one", g="x") for n in range(120)])
    slices = slices_of(runs, 60, live.partition.packing.weight_of, lambda: 0.0)
    counts = [sum(len(run) for _, run in some) for some in slices]
    assert set(counts) == {at_once}
    assert sum(counts) == 120
