"""What is published of a period takes little memory, and is found whatever stands beside it."""

from __future__ import annotations

import tracemalloc

from tables.changelogged.packed_periods import SMALL_BYTES
from tables.changelogged.published import PublishedCell, PublishedCellKey, PublishedTable

WEEK_MS = 7 * 86_400_000
CHARGE = "9f1b9c3e-6c0e-4f0e-8a51-0d4a5f9f4d6e"


def cell(revision: int, cut_ms: int) -> PublishedCell:
    return PublishedCell(revision, "1.0", None, "1.0", None, 1, bytes(range(16)), cut_ms)


def test_each_period_is_found_as_it_was_put() -> None:
    table = PublishedTable()
    large: dict[PublishedCellKey, PublishedCell] = {
        (CHARGE, None, (f"group {i}",)): cell(0, 7) for i in range(SMALL_BYTES // 30)
    }
    for week in range(120):
        name = ("s", week * WEEK_MS)
        for key, entry in large.items() if week == 5 else [((CHARGE, None, ()), cell(0, week))]:
            table.put_cell(name, key, entry)
        table.put_completion(name, 0, week)
    changes = table.take_changes()
    table._pack()
    table.put_cell(("s", 3 * WEEK_MS), (CHARGE, None, ()), cell(1, 9))
    table.put_completion(("s", 3 * WEEK_MS), 1, 9)
    for key, entry in large.items():
        # One that grows gets a row of its own, beside those of its year.
        table.put_cell(("s", 6 * WEEK_MS), key, entry)
    changes += table.take_changes()
    table._pack()
    loaded = PublishedTable()
    for packed_key, value in dict(changes).items():
        loaded.load(packed_key, value or b"")
    loaded.loaded()
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


def test_a_closed_period_takes_few_bytes() -> None:
    """A period of one cell: its figures, and its completion."""
    table, names, weeks = PublishedTable(), 100, 48
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(names):
        for week in range(weeks):
            name = (f"{number:08d}-93ff-4f1c-9b7e-2c1d4e5f6a7b", week * WEEK_MS)
            table.put_cell(name, (CHARGE, None, ()), cell(0, week * WEEK_MS))
            table.put_completion(name, 0, week * WEEK_MS)
        table.take_changes()
    table._pack()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert taken / (names * weeks) < 150
