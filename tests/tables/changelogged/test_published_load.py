"""A start without local disk reads what was published once, and writes it once."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bounds.turns import drained
from tables.changelogged.piece_store import PeriodKey, PieceStore
from tables.changelogged.published import PublishedTable, Stands
from tests.tables.changelogged.test_published import CELL, WEEK_MS, cell, store_in


def test_a_start_without_local_disk_looks_there_for_what_came_again_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And writes each piece once, for what does not get to the first commit counts for nothing."""
    first, names = PublishedTable(), [(str(number), WEEK_MS) for number in range(1_000)]
    for name in names:
        first.put_cell(name, CELL, cell(0, 1))
    changelog = [first.take_changes()]
    first.put_cell(names[7], CELL, cell(1, 2))
    changelog.append(first.take_changes())
    looked: list[PeriodKey] = []
    find = PieceStore.find

    def note(store: PieceStore[Stands], name: PeriodKey) -> bytes | None:
        looked.append(name)
        return find(store, name)

    monkeypatch.setattr(PieceStore, "find", note)
    store = store_in(tmp_path)
    table = PublishedTable(store)
    for rows in changelog:
        table.load_all(rows.items())
        assert drained(table.loading())
    assert names[7] in looked
    assert len(looked) < 10
    wal = tmp_path / "published" / "0.db-wal"
    assert not wal.exists()
    drained(table.storing())
    assert wal.exists()
    assert table.sum == first.sum
    found = table.find(names[7])
    assert found is not None
    assert found.cells == {CELL: cell(1, 2)}
    table.close()


def test_what_local_disk_has_before_the_first_commit_counts_for_nothing(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    table = PublishedTable(store)
    first = PublishedTable()
    first.put_cell(("s", 0), CELL, cell(0, 5))
    table.load_all(first.take_changes().items())
    assert drained(table.loading())
    table.close()
    again = store_in(tmp_path)
    assert again.stands is None
    assert again.find(("s", 0)) is None
