"""Answers of JSON lines end, also when what they report on fails half-way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest
from aiohttp import ClientError
from click.testing import CliRunner

from app.cli.exits import NO_VERDICT
from app.cli.verify import verify
from app.meter.errors import TimeBudgetExceeded, TooManyScans, Unavailable
from app.meter.evidence import VerifyReport
from app.queries.routing import CHANGED_HANDS
from tests.app.api.conftest import Running
from tests.world.waiting import PATIENCE_S

FIRST = VerifyReport(
    partitions=(0,),
    of_partitions=1,
    records_read=1,
    records_total=2,
    pairs_verified=1,
    pairs_total=2,
    cells_verified=1,
)


def failing(api: Running, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def reports(*_: object) -> AsyncGenerator[VerifyReport, None]:
        yield FIRST
        raise error

    monkeypatch.setattr(api.meter, "verify", reports)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unavailable(CHANGED_HANDS), CHANGED_HANDS),
        (TimeBudgetExceeded("it took longer than 120 s"), "it took longer than 120 s"),
        (TooManyScans(), "too much is asked at once: try again later"),
    ],
)
async def test_the_last_line_says_why_there_are_no_more(
    api: Running, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    failing(api, monkeypatch, error)
    answer = await api.call("POST", "/api/v1/verify", {})
    assert msgspec.json.decode(answer.text.splitlines()[-1]) == {"error": told}


async def test_a_defect_ends_the_answer(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(api, monkeypatch, RuntimeError("a defect"))
    with pytest.raises(ClientError):
        async with asyncio.timeout(PATIENCE_S):
            await api.call("POST", "/api/v1/verify", {})


async def test_the_command_ends_when_an_answer_breaks_off(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(api, monkeypatch, RuntimeError("a defect"))
    given = ["--url", api.base_url, "--key", api.key]
    async with asyncio.timeout(PATIENCE_S):
        result = await asyncio.to_thread(CliRunner().invoke, verify, given)
    assert result.exit_code == NO_VERDICT
