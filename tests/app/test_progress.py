"""Reports of progress: the furthest append time counts, the newest owner is the one to ask."""

from __future__ import annotations

import pytest

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
