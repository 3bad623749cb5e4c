"""What is published of a period takes little memory, and is found whatever stands beside it."""

from __future__ import annotations

import gc
import tracemalloc
from pathlib import Path

import pytest

from tables.changelogged.published import PublishedCell, PublishedCellKey, PublishedTable
from tables.spool import Spool

WEEK_MS = 7 * 86_400_000
CHARGE = "9f1b9c3e-6c0e-4f0e-8a51-0d4a5f9f4d6e"


def cell(revision: int, cut_ms: int) -> PublishedCell:
    return PublishedCell(revision, "1.0", None, "1.0", None, 1, bytes(range(16)), cut_ms)


@pytest.mark.parametrize("away", [-1, 2, 60, 1_000])
def test_each_period_is_found_as_it_was_put(tmp_path: Path, away: int) -> None:
    """Whether those until some week lie on local disk, or none does."""
    table = PublishedTable(Spool(tmp_path))
    large: dict[PublishedCellKey, PublishedCell] = {
        (CHARGE, None, (f"group {i}",)): cell(0, 7) for i in range(80)
    }
    for week in range(120):
        name = ("s", week * WEEK_MS)
        for key, entry in large.items() if week == 5 else [((CHARGE, None, ()), cell(0, week))]:
            table.put_cell(name, key, entry)
        table.put_completion(name, 0, week)
    changes = table.take_changes()
    table._pack()
    assert table.put_away("s", away) == min(away + 1, 120)
    assert table.put_away("s", away) == table.put_away("t", away) == 0
    table.put_cell(("s", 3 * WEEK_MS), (CHARGE, None, ()), cell(1, 9))
    table.put_completion(("s", 3 * WEEK_MS), 1, 9)
    for key, entry in large.items():
        table.put_cell(("s", 6 * WEEK_MS), key, entry)
    changes += table.take_changes()
    assert table.put_away("s", 200) == max(0, 119 - away)
    table._pack()
    assert table.put_away("s", 200) == 2, "what is revised is in memory, until it is over again"
    loaded = PublishedTable(Spool(tmp_path))
    for packed_key, value in dict(changes).items():
        loaded.load(packed_key, value or b"")
    assert loaded.loaded() == {"s"}
    loaded.put_away("s", away)
    for each in (table, loaded):
        for week in range(120):
            found = each.find(("s", week * WEEK_MS))
            assert found is not None
            assert found.revision == (1 if week == 3 else 0)
            expected: dict[PublishedCellKey, PublishedCell] = {
                (CHARGE, None, ()): cell(1, 9) if week == 3 else cell(0, week)
            }
            if week in (5, 6):
                expected = {**(expected if week == 6 else {}), **large}
            assert found.cells == expected
        assert each.find(("s", 120 * WEEK_MS)) is None
        assert each.find(("t", 0)) is None


def taken(weeks: int, names: int = 100, *, away: Path | None = None) -> float:
    """Return bytes of memory of subscriptions with so many periods of one cell."""
    table = PublishedTable(Spool(away))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(names):
        subscription_id = f"{number:08d}-93ff-4f1c-9b7e-2c1d4e5f6a7b"
        for week in range(weeks):
            name = subscription_id, week * WEEK_MS
            table.put_cell(name, (CHARGE, None, ()), cell(0, week * WEEK_MS))
            table.put_completion(name, 0, week * WEEK_MS)
        table.take_changes()
        table._pack()
        if away is not None:
            table.put_away(subscription_id, weeks * WEEK_MS)
    gc.collect()
    bytes_taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return bytes_taken / names


def test_a_closed_period_takes_few_bytes() -> None:
    """A period of one cell, its figures and its completion, beside others of its subscription."""
    assert (taken(96) - taken(48)) / 48 < 150


def test_a_period_that_is_over_takes_none(tmp_path: Path) -> None:
    """What says where the periods of a subscription lie is as large after 400 weeks as after 40."""
    few, many = taken(40, away=tmp_path), taken(400, away=tmp_path)
    assert many - few < 16
    assert many < 300


def test_nothing_is_put_away_before_it_is_complete() -> None:
    """A cut that goes on in the next flush asks for what it published in the one before."""
    table = PublishedTable()
    table.put_cell(("s", 0), (CHARGE, None, ()), cell(0, 5))
    table._pack()
    assert table.put_away("s", 1_000) == 0
    table.put_completion(("s", 0), 0, 5)
    table._pack()
    assert table.put_away("s", 4) == 0
    assert table.put_away("s", 5) == 1


def test_what_is_only_looked_at_stays_where_it_is(tmp_path: Path) -> None:
    table = PublishedTable(Spool(tmp_path))
    table.put_cell(("s", 0), (CHARGE, None, ()), cell(0, 5))
    table.put_completion(("s", 0), 0, 5)
    table._pack()
    assert table.put_away("s", 5) == 1
    assert table.find(("s", 0)) is not None
    table._pack()
    assert table.put_away("s", 5) == 0
