"""Reports of progress: the furthest append time counts, the newest owner is the one to ask."""

from __future__ import annotations

import pytest

from app.definitions.timeline import NEVER_MS
from app.owned import Progress
from app.progress import ProgressTable


def report(epoch: int, append_time_ms: int, url: str) -> bytes:
    return Progress(0, append_time_ms, 100, epoch, url, append_time_ms).encode()


@pytest.mark.parametrize(
    ("reports", "append_time_ms", "url"),
    [
        ([(1, 10, "a"), (1, 20, "a")], 20, "a"),
        ([(1, 20, "a"), (1, 10, "b")], 20, "b"),
        ([(1, 20, "a"), (2, 10, "b")], 20, "b"),
        ([(2, 10, "b"), (1, 20, "a")], 20, "b"),
    ],
    ids=["goes on", "again from before", "a new owner", "an owner of before, late"],
)
def test_reports(reports: list[tuple[int, int, str]], append_time_ms: int, url: str) -> None:
    table = ProgressTable()
    for one in reports:
        table.note(report(*one))
    found = table.of(0)
    assert found is not None
    assert (found.append_time_ms, found.url) == (append_time_ms, url)


@pytest.mark.parametrize(
    ("log_ms", "cut_ms"),
    [(0, 10), (10, 10), (11, 30), (30, 30), (31, NEVER_MS)],
    ids=["first", "not past it", "one that waits for a refold holds up nobody", "last", "none"],
)
def test_the_next_cut_is_one_that_the_log_has_not_passed(log_ms: int, cut_ms: int) -> None:
    table = ProgressTable()
    for partition, next_cut_ms in enumerate((30, 10, NEVER_MS)):
        table.note(Progress(partition, 0, next_cut_ms, 1, "a", 0).encode())
    assert table.next_cut_ms(log_ms) == cut_ms
