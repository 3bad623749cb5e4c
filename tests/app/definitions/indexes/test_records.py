"""Records of the log are found again, however far the log goes."""

from __future__ import annotations

from app.definitions.indexes.records import RecordIndex


def test_offsets_of_a_very_long_log_are_kept() -> None:
    records, offsets = RecordIndex(), [0, 7, (1 << 32) - 1, 1 << 32, 1 << 40]
    branches = []
    for now_ms, offset in enumerate(offsets):
        records.commit(now_ms, offset)
        branches.append(records.copy())
    assert list(records.offsets) == offsets
    assert list(records.times_ms) == [0, 1, 2, 3, 4]
    assert [list(each.offsets) for each in branches] == [offsets[: n + 1] for n in range(5)]
