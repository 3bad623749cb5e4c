"""Definitions that never end leave cuts their turn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from app.definitions.outcome import Impact
from tables.partition.redirection import Redirection
from tests.app.runtime.partition.test_owned import AT_MS, owned_of
from tests.world.definitions import ORG

MOST = 20


async def test_a_cut_comes_between_definitions_that_never_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With each that is looked at another one comes."""
    owned = owned_of("count")
    looks = 0

    def concerned(*_: object) -> Iterator[tuple[str, str]]:
        nonlocal looks
        looks += 1
        if looks < MOST:
            owned.renewal.define(Impact(ORG), 7 + looks, AT_MS + looks)
        yield from ()

    async def cut() -> int:
        async with owned.work.shaping:
            return looks

    monkeypatch.setattr(Redirection, "concerned", concerned)
    owned.renewal.define(Impact(ORG), 7, AT_MS)
    async with owned.work.shaping:
        renewing = asyncio.create_task(owned.renewal.renew())
        await asyncio.sleep(0)
        cutting = asyncio.create_task(cut())
        await asyncio.sleep(0)
    assert await cutting == 1
    await renewing
    assert looks == MOST
    assert owned.state.standing.behind_since_ms is None
