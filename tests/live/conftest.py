"""A worker in the test's process, and its API."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.main import Worker, running_worker
from app.settings import Settings
from tests.world.live.api import Api, api_of
from tests.world.live.worker import SESSIONS


@pytest.fixture
async def worker(live_settings: Settings) -> AsyncIterator[Worker]:
    """A running worker."""
    async with running_worker(live_settings, **SESSIONS) as worker:
        yield worker


@pytest.fixture
async def api(worker: Worker) -> AsyncIterator[Api]:
    """Its API."""
    async with api_of(worker.url) as api:
        yield api
