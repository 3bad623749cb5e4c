"""Values on local disk, or in memory where the disk does not take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tables.spool import Spool


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_was_put_is_there(tmp_path: Path, on_disk: bool) -> None:
    spool = Spool(tmp_path / "spool" if on_disk else None)
    values = [b"", b"a", b"b" * 100_000, b"c"]
    places = [spool.put(value) for value in values]
    assert [spool.get(place) for place in places] == values
    assert all(isinstance(place, int) for place in places) is on_disk
    assert list((tmp_path / "spool").iterdir() if on_disk else []) == []


def test_what_the_disk_does_not_take_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool, taken = Spool(tmp_path), os.pwrite
    first = spool.put(b"first")

    def half(fd: int, value: bytes, offset: int) -> int:
        return taken(fd, value[: len(value) // 2], offset)

    def full(fd: int, value: bytes, offset: int) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", half)
    assert spool.put(b"second") == b"second"
    monkeypatch.setattr(os, "pwrite", full)
    assert spool.put(b"third") == b"third"
    monkeypatch.undo()
    last = spool.put(b"last")
    assert [spool.get(place) for place in (first, b"third", last)] == [b"first", b"third", b"last"]
