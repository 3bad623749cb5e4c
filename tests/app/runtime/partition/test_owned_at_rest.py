"""What an owner does with what comes for cells at rest."""

from __future__ import annotations

from itertools import pairwise

import pytest

from app.bounds.turns import STEP_ITEMS, Turns, Work
from app.wire.arrivals import CorrectionArrival, runs_of
from app.wire.events import Correction
from tests.app.runtime.partition.test_owned import AT_MS, owned_of
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import arrived
from tests.world.unpacked import Unpacked


@pytest.mark.parametrize("amends", [False, True])
async def test_what_comes_for_very_many_cells_has_them_unpacked_by_steps(
    *, amends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first event of 50,000 groups held the loop for 0.25 s."""
    owned, groups = owned_of("sum", max_groups=1_000), 4 * STEP_ITEMS
    events = [arrived("sum", n, AT_MS, v="1", g=str(n)) for n in range(groups)]
    await owned.fold(runs_of(events), raw_next=groups, append_time_ms=AT_MS)
    owned.state.take_changes()
    owned.state.packing.pack((ORG, SUBSCRIPTION))
    unpacked, used, known = Unpacked(monkeypatch), Turns.used, [0]

    def counted(turns: Turns, work: Work, took_s: float) -> None:
        known.append(unpacked.cells)
        used(turns, work, took_s)

    monkeypatch.setattr(Turns, "used", counted)
    if amends:
        first = events[0].event
        told = Correction(None, *events[0].name[1:], first.transaction_id, "amend", first, "c", b"")
        corrections = [CorrectionArrival(told, ORG, AT_MS + 1, 0, groups, 0)]
        await owned.fold([], raw_next=groups + 1, corrections=corrections)
    else:
        more = runs_of([arrived("sum", groups, AT_MS, v="1", g="0")])
        await owned.fold(more, raw_next=groups + 1, append_time_ms=AT_MS)
    assert max(after - before for before, after in pairwise(known)) == STEP_ITEMS
    assert unpacked.cells == groups
