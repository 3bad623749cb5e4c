"""Figures and chains: where they are, and that nothing is decided twice."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.bounds.turns import drained
from app.wire.usage_records import PublishedRecord
from tables.changelogged import instants
from tables.changelogged.instants import CHAIN_AT_HAND_MS, InstantTable, StoredChain, StoredFigure
from tables.closing.instants import instants_at
from tables.partition.partition import Partition
from tests.world.clock import DAY_MS, ms
from tests.world.events import arrived
from tests.world.partition import Changelog
from tests.world.story import Story

CUT_MS = ms("2024-01-10T10:01:00")
ONE = Decimal(1)


def chain(start_ms: int, decided_ms: int) -> StoredChain:
    return StoredChain("s", "c", None, (), start_ms, ONE, ONE, ONE, decided_ms)


def figure(cell: str) -> StoredFigure:
    return StoredFigure(cell, "t", 0, ONE, ONE, None, 0, True, 0)


def billed(partition: Partition) -> list[PublishedRecord]:
    return [record for record in instants_at(partition, CUT_MS) if record is not None]


def test_events_that_a_cut_decided_before_a_refold_are_not_billed_again() -> None:
    """It finds them again before the cut is over, here or after a restart."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({"pay_in_advance": True}).subscribe()
    for value in range(3):
        told.send("2024-01-10T10:00:30", v=value + 1)
    meter = told.meter("2024-01-10T10:00:40")
    state, changelog = meter.partition, Changelog()
    waiting = [each for of in state.instants.undecided.values() for each in of.values()]
    assert len(billed(state)) == 3
    state.instants.add(waiting)
    assert billed(state) == []
    changelog.take(state)
    again = changelog.restored(state.definitions)
    again.instants.add(waiting)
    assert billed(again) == []


@pytest.mark.parametrize("earlier", [1, 2])
def test_nor_when_other_cuts_come_first_after_a_restart(earlier: int) -> None:
    """A cut of others was found before the one that was begun."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({"pay_in_advance": True}).subscribe()
    told.send("2024-01-10T10:00:30", v=1)
    state, changelog = told.meter("2024-01-10T10:00:40").partition, Changelog()
    waiting = [each for of in state.instants.undecided.values() for each in of.values()]
    assert len(billed(state)) == 1
    state.instants.add(waiting)
    state.checkpoint.append_time_ms = CUT_MS + 1
    changelog.take(state)
    again = changelog.restored(state.definitions)
    again.instants.add(waiting)
    for count in range(earlier, 0, -1):
        assert not any(instants_at(again, CUT_MS - count * 60_000))
    assert billed(again) == []


def test_an_event_that_is_decided_leaves_no_row() -> None:
    table, waiting = InstantTable(), arrived("calls", 0, CUT_MS)
    table.add([waiting])
    assert len(table.take_changes()) == 1
    table.drop([(waiting.name, waiting.position)])
    assert [*table.take_changes().values()] == [None]
    assert table.sum.records == 0


def test_figures_and_chains_rest_elsewhere_than_in_memory() -> None:
    """The changelog has no more of them either; only days are noted on which their periods begin.

    Whoever begins with that knows all of it.
    """
    table = InstantTable()
    table.let_rest()
    starts_ms = [number % 2 * DAY_MS + number for number in range(10)]
    for number, start_ms in enumerate(starts_ms):
        table.put_figures(b"%012d" % number, [figure(f"cell {number}")])
        table.put_chain(f"cell {number}", chain(start_ms, decided_ms=number))
    drained(table.laying_down(CHAIN_AT_HAND_MS + 6))
    changes = table.take_changes()
    table.at_rest.seal_flush(1)
    kept = {key for key, value in changes.items() if value is not None}
    assert not any(key.startswith(b"f") for key in changes), "a tombstone for each event"
    # Four chains are not old enough.
    assert sorted(key[:1] for key in kept) == [b"c"] * 4 + [b"r"] * 2
    assert table.sum.records == 6
    restored = InstantTable(table.at_rest)
    for key, value in changes.items():
        if value is not None:
            restored.load(key, value)
    assert restored.sum == table.sum
    for each in (table, restored):
        for number, start_ms in enumerate(starts_ms):
            assert each.figures(b"%012d" % number) == [figure(f"cell {number}")]
            for known_ms in (None, start_ms):
                assert each.chain(f"cell {number}", known_ms) == chain(start_ms, number)
    table.put_chain("cell 1", chain(1, decided_ms=99))
    assert table.chain("cell 1") == chain(1, 99)


def test_a_chain_that_stays_holds_back_none_behind_it() -> None:
    """Chains are in the order in which the changelog has them, whatever was decided last."""
    table, young = InstantTable(), 3 * instants.CHAINS_LOOKED_AT
    table.let_rest()
    for number in range(2 * young):
        decided_ms = 0 if number >= young else CHAIN_AT_HAND_MS
        table.put_chain(f"cell {number}", chain(0, decided_ms))
    for _ in range(5):
        drained(table.laying_down(CHAIN_AT_HAND_MS + 1))
        table.take_changes()
    assert table.at_rest.index.length == young
