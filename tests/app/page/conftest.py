"""Workers to look at: one whose page is open to all, and one that wants a key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from tests.app.api.conftest import Running
from tests.app.page.site import filled


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


@pytest.fixture
async def open_api(session: ClientSession) -> AsyncIterator[Running]:
    api = await filled(session, open_page=True)
    yield api
    assert api.server is not None
    await api.server.stop()


@pytest.fixture
async def closed_api(session: ClientSession) -> AsyncIterator[Running]:
    api = await filled(session, open_page=False)
    yield api
    assert api.server is not None
    await api.server.stop()
