"""A refold that begins anew lets go of its cells by steps."""

from __future__ import annotations

import gc
from itertools import pairwise

import pytest
from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps
from tables.cells.cell import GroupCell
from tables.partition.refold import Refold
from tests.world.clock import START_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

GROUPS = 100


def cells_there() -> int:
    """How many cells of groups there are, whoever keeps them."""
    return sum(type(each) is GroupCell for each in gc.get_objects())


def swapping(job: Refold) -> Steps[None]:
    """Try to swap, and begin anew."""
    swapped = yield from job.swapping()
    assert not swapped


@pytest.mark.parametrize("begins_anew_for", ["other groups", "a next cut"])
def test_cells_are_freed_by_steps_and_without_the_collector(
    begins_anew_for: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.bounds.turns.SORTED_AT_ONCE", 8)
    live = Live(definitions_of(["sum"], replace(SETTINGS, max_groups=GROUPS)))
    live.define_all()
    sent = [arrived("sum", n, START_MS + n, v="1", g=str(n)) for n in range(GROUPS + 10)]
    live.deliver(sent)
    job = Refold(live.partition, {(ORG, SUBSCRIPTION, "sum")})
    if begins_anew_for == "a next cut":
        monkeypatch.setattr(job._recorrection, "is_foreseen", lambda: False)
        job.feed(sent)
    else:
        job.feed(sent[::-1])
    gc.collect()
    gc.disable()
    try:
        known = [cells_there()]
        known += [cells_there() for _ in swapping(job)]
    finally:
        gc.enable()
    assert known[0] - known[-1] > GROUPS - 2 * 8
    assert max(before - after for before, after in pairwise(known)) == 8


def test_cells_are_replaced_and_freed_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.bounds.turns.SORTED_AT_ONCE", 8)
    count = 4 * STEP_ITEMS
    live = Live(definitions_of(["sum"], replace(SETTINGS, max_groups=count)))
    live.define_all()
    sent = [arrived("sum", n, START_MS + n, v="1", g=str(n)) for n in range(count)]
    live.deliver(sent)
    live.flush()
    # A route that was compiled lately is kept for a while.
    live.partition.routes._unused()
    checkpoint, job = (
        live.partition.checkpoint,
        Refold(live.partition, {(ORG, SUBSCRIPTION, "sum")}),
    )
    job.feed(sent)
    gc.collect()
    gc.disable()
    try:
        stored, there = [checkpoint.cells], [cells_there()]
        for _ in job.swapping():
            stored.append(checkpoint.cells)
            there.append(cells_there())
    finally:
        gc.enable()
    assert stored[0] - stored[-1] == count
    assert max(before - after for before, after in pairwise(stored)) == STEP_ITEMS
    assert there[0] - there[-1] > count - 2 * 8
    assert max(before - after for before, after in pairwise(there)) == 8
