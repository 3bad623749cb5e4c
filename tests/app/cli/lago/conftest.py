"""A stand-in for Lago, our API over a ledger, and the command line between the two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession
from click.testing import CliRunner

from app.cli.lago import client
from app.cli.main import cli
from tests.app.api.conftest import Running, start
from tests.app.cli.conftest import Meter
from tests.app.cli.lago import stand_in
from tests.app.cli.lago.stand_in import StandIn


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask again at once."""
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.001)


@pytest.fixture
def lago() -> Iterator[StandIn]:
    """An empty Lago."""
    with stand_in.serving(StandIn()) as served:
        yield served


@pytest.fixture
async def here() -> AsyncIterator[Running]:
    """Our API, with nothing defined."""
    async with ClientSession() as session:
        running = await start(session)
        yield running
        if running.server is not None:
            await running.server.stop()


@pytest.fixture
def meter(lago: StandIn, here: Running, tmp_path: Path) -> Meter:
    """The command line, pointed at both."""
    key_file = tmp_path / "lago.key"
    key_file.write_text(stand_in.KEY + "\n")
    environment = {
        "METER_URL": here.base_url,
        "METER_API_KEY": here.key,
        "METER_LAGO_KEY_FILE": str(key_file),
    }
    addresses = {"migrate": ("--from-lago", lago.url), "compare": ("--lago", lago.url)}

    async def run(command: str, *words: str, **more: str) -> object:
        runner = CliRunner(env=environment | more)
        return await asyncio.to_thread(runner.invoke, cli, [command, *addresses[command], *words])

    return run  # type: ignore[return-value]
