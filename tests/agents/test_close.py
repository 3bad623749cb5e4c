"""What a cut waits for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from agents.close import _held_back_by
from app.owned import Progress
from app.progress import ProgressTable

CUT_MS = 1_000


async def reason(own_ms: int = 1_001, other_ms: int = 1_001, rekeyed: int = 0, **also: Any) -> Any:
    """Why partition 0 of two waits, `other_ms` being what the owner of the other one told."""
    progress = ProgressTable()
    for partition, at_ms in enumerate((own_ms, other_ms)):
        progress.note(Progress(partition, at_ms, CUT_MS, 1, "", 0).encode())
    owned: Any = SimpleNamespace(
        number=0,
        table=SimpleNamespace(record=SimpleNamespace(append_time_ms=own_ms, rekeyed_next=0)),
        shared=SimpleNamespace(
            settings=SimpleNamespace(raw_partitions=2),
            definitions=SimpleNamespace(append_time_ms=also.get("defined_ms", 1_001)),
        ),
        refold_since_ms=also.get("refold_since_ms"),
    )

    async def rekeyed_end(number: int) -> int:
        return rekeyed

    return await _held_back_by(owned, CUT_MS, progress, rekeyed_end)


async def test_nothing_holds_it_back_once_everything_is_past_it() -> None:
    assert await reason() is None
    assert await reason(refold_since_ms=CUT_MS + 1) is None


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ({"own_ms": CUT_MS}, "raw partition 0 is not folded past the cut"),
        ({"other_ms": CUT_MS}, "raw partition 1 has not reported progress past the cut"),
        ({"rekeyed": 1}, "forwarded events of partition 0 are not folded to the end"),
        ({"defined_ms": CUT_MS}, "the definitions log has not passed the cut"),
        ({"refold_since_ms": CUT_MS}, "partition 0 is refolding for a definition or a correction"),
    ],
)
async def test_each_of_these_holds_it_back(what: dict[str, int], told: str) -> None:
    assert await reason(**what) == told
