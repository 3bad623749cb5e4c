"""Definitions at rest are on local disk, or in memory where the disk does not take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.definitions.indexes.rows import CHUNK_BYTES, CompactRows
from app.runtime.shelf import Shelf
from tests.app.definitions.indexes.test_rows import changed, small_chunks


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "shelf")


def descriptor(shelf: Shelf) -> int:
    """Return the number of its file."""
    return shelf._file._descriptor


def test_rows_on_the_shelf_are_as_in_a_list(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_chunks(monkeypatch)
    rows = CompactRows(shelf.keep)
    for _ in changed(rows, count=1_000, times=20_000):
        pass
    assert shelf._end < 2.5 * 16 * 1_000 / 700 * CHUNK_BYTES, "room is given anew"
    assert sum(isinstance(chunk, bytes | bytearray) and bool(chunk) for chunk in rows._chunks) == 1
    assert list((tmp_path / "shelf").iterdir()) == []


def half(fd: int, value: bytes, offset: int) -> int:
    return len(value) // 2


def full(fd: int, value: bytes, offset: int) -> int:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("taking", [half, full])
def test_what_the_disk_does_not_take_stays_in_memory(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, taking: object
) -> None:
    gone = shelf.keep(b"gone")
    first = shelf.keep(b"first")
    del gone
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", taking)
        assert shelf.keep(b"second") == b"second"
    last = shelf.keep(b"last")
    assert [first[0:9], last[0:9]] == [b"first", b"last"]
    assert shelf._end == 2 * CHUNK_BYTES


def test_without_a_directory_all_stays_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert Shelf(tmp_path / "file").keep(b"chunk") == b"chunk"


def test_what_the_disk_lost_is_no_definition(shelf: Shelf) -> None:
    chunk = shelf.keep(b"chunk")
    os.ftruncate(descriptor(shelf), 3)
    assert chunk[1:3] == b"hu"
    with pytest.raises(OSError, match="2 of 4 bytes"):
        chunk[1:9]


async def test_nothing_that_a_copy_of_the_process_may_read_is_overwritten(shelf: Shelf) -> None:
    shelf.keep(b"chunk")

    def attempt() -> None:
        # In the copy, as the process that it is a copy of may do meanwhile.
        shelf.keep(b"other")
        assert os.pread(descriptor(shelf), 5, 0) == b"chunk"

    assert await shelf.first_failure([attempt]) is None
    shelf.keep(b"other")
    assert os.pread(descriptor(shelf), 5, 0) == b"other", "nobody reads it any more"


@pytest.mark.parametrize("length", [5, 200])
def test_a_row_with_other_bytes_than_were_put_is_not_read(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    small_chunks(monkeypatch)
    rows = CompactRows(shelf.keep)
    for _ in range(200):
        rows.append(b"r" * length)
    assert rows.get(0) == rows.get(2) == b"r" * length
    os.pwrite(descriptor(shelf), b"s", 4)
    with pytest.raises(OSError, match="what rests has other bytes"):
        rows.get(0)
    assert rows.get(1) == b"r" * length
