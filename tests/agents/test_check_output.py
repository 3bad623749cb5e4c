"""What is published is lost where its topic ends before it, and not where nobody tells its end."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from agents.check_output import lost_outputs
from app.runtime.partition.commit import OutputLost
from app.settings import Settings
from tables.changelogged.checkpoint import OutputMark

MARK = OutputMark(7, b"")


async def test_one_without_a_leader_is_not_lost() -> None:
    checkpoint = SimpleNamespace(output=MARK)
    owned: Any = {n: SimpleNamespace(state=SimpleNamespace(checkpoint=checkpoint)) for n in (0, 1)}
    told = {0: 7}

    async def ends(numbers: Iterable[int]) -> dict[int, int]:
        return {number: told[number] for number in numbers if number in told}

    worker: Any = SimpleNamespace(
        settings=Settings(profile="test"), owned=owned, offsets=SimpleNamespace(output_ends=ends)
    )
    missing = await lost_outputs(worker, {})
    assert missing == {0: MARK}
    told.clear()
    missing = await lost_outputs(worker, missing)
    assert missing == {}
    told |= {0: 8, 1: 7}
    missing = await lost_outputs(worker, missing)
    assert missing == {1: MARK}
    with pytest.raises(OutputLost):
        await lost_outputs(worker, missing)
