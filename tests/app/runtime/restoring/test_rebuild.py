"""Who may rebuild a state that is torn, and from which definitions on it decides anew."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.kafka.transactions import Fenced
from app.runtime.restoring.rebuild import _decided, _require_newest
from app.settings import Settings
from tests.world.clock import ms
from tests.world.story import Story


@pytest.mark.parametrize("newest", [b"another", None])
async def test_a_state_that_a_newer_owner_has_flushed_is_not_rebuilt(newest: bytes | None) -> None:
    async def asked(topic: str, key: bytes) -> bytes | None:
        return newest

    producer = cast(Any, SimpleNamespace(newest=asked))
    shared = cast(Any, SimpleNamespace(settings=Settings(profile="test")))
    await _require_newest(0, newest, producer, shared)
    with pytest.raises(Fenced, match="newer owner"):
        await _require_newest(0, b"durable", producer, shared)


def test_what_was_defined_since_the_last_cut_on_the_grid_is_taken_over() -> None:
    """A cut before a history record is on no grid: the next grid cut decides what came before."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({"pay_in_advance": True})
    told.metric("n", "sum_agg", at="2024-01-10T10:00:10")
    definitions = told.meter("2024-01-10T10:05").partition.definitions
    newest = definitions.offset, ms("2024-01-10T10:00:10")
    shared = cast(
        Any, SimpleNamespace(definitions=definitions, followed=SimpleNamespace(last=newest))
    )
    grid_ms = ms("2024-01-10T10:00")
    assert _decided(shared, grid_ms + 10_500) == (newest[0] - 1, grid_ms)
    assert _decided(shared, grid_ms + 60_000) == newest
