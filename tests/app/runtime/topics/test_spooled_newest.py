"""The newest values of a changelog: the same as in one dict, and few of them at hand."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from app.runtime.topics import spooled_newest
from app.runtime.topics.spooled_newest import PARTS, SpooledNewest
from tables.spool import Spool
from tests.world.partition import sum_of

AT_HAND_BYTES = 50_000


def filled(directory: Path | None, records: int) -> tuple[SpooledNewest, dict[bytes, bytes], int]:
    """Return both, and the most bytes that there were at hand."""
    chance, found = random.Random(records), SpooledNewest(Spool(directory))
    newest: dict[bytes, bytes] = {}
    most = 0
    for number in range(records):
        key = b"%d" % chance.randrange(records // 2)
        value = None if chance.random() < 0.2 else b"value %d" % number
        found.take(key, value)
        most = max(most, found.at_hand_bytes)
        if value is None:
            newest.pop(key, None)
        else:
            newest[key] = value
    return found, newest, most


@pytest.mark.parametrize("records", [100, 1_000, 10_000])
@pytest.mark.parametrize("on_disk", [True, False])
async def test_few_are_at_hand_of_any_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, records: int, on_disk: bool
) -> None:
    monkeypatch.setattr(spooled_newest, "AT_HAND_BYTES", AT_HAND_BYTES)
    found, newest, most = filled(tmp_path / "spool" if on_disk else None, records)
    assert most <= AT_HAND_BYTES
    assert dict(found.items()) == newest
    # They are listed again when Redis loses something meanwhile.
    assert dict(found.items()) == newest
    assert await found.sum() == sum_of(newest.items())
    parts = list(map(len, found.parts()))
    assert (len(parts), sum(parts)) == (PARTS, len(newest))
    assert max(parts) < 5 + 3 * len(newest) / PARTS
