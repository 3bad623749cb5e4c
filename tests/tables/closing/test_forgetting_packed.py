"""Packed cells are forgotten as they lie, and only if the newest record of each tells it."""

from __future__ import annotations

from msgspec.structs import replace

from tests.tables.closing.test_forgetting import FINAL_MS, NAME, live, pass_until


def test_packed_cells_that_no_record_tells_stay() -> None:
    one = live(1, "sum")
    pass_until(one, FINAL_MS)
    one.partition.packing.pack(NAME)
    (published,) = (p for p in one.partition.published.periods.values() if p.cells)
    ((name, cell),) = published.cells.items()
    published.cells[name] = replace(cell, digest=bytes(16))
    assert not one.forget(NAME)
    published.cells[name] = cell
    assert one.forget(NAME)
