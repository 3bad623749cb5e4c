"""Local state that is discarded is counted by what it is and why, and the log tells it."""

from __future__ import annotations

import pytest

from app.bounds.discards import Discarded, Discards


def test_it_is_counted_and_told(caplog: pytest.LogCaptureFixture) -> None:
    discards = Discards()
    for number in (3, 4):
        discards.tell("index", number, Discarded("damaged", "its manifest"))
    assert discards.counts == {("index", "damaged"): 2}
    assert [record.getMessage() for record in caplog.records] == [
        f"Local disk is not used for index of partition {number}, which its log makes again: "
        "damaged: its manifest"
        for number in (3, 4)
    ]
