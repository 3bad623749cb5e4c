"""The API on a port of this process, over the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Counter
from pydantic import SecretStr
from yarl import URL

from app.api.http.auth import KeyRing, PeerTokens
from app.api.http.certificate import Certificate
from app.api.http.keys import of_environment
from app.api.server import ApiServer, build_app
from app.bounds.limits import CONNECTIONS
from app.settings import Access, ApiKey
from tests.app.api.ledger import ORGANIZATION, OTHER_ORGANIZATION, Clock, LedgerMeter
from tests.world.defining import Defining

NOW_MS = 1_710_504_000_000
"""2024-03-15T12:00:00Z."""


@dataclass(frozen=True)
class Answer:
    """What came back, the body as JSON."""

    status: int
    body: Any
    headers: dict[str, str]
    text: str


@dataclass
class Running(Defining):
    """One running API and a client of it."""

    meter: LedgerMeter
    session: ClientSession
    base_url: str
    key: str = "full"
    server: ApiServer | None = field(default=None, repr=False)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request; `body` is JSON unless it is bytes; key None sends no key."""
        sent = dict(headers or {})
        if key is not None:
            sent.setdefault("Authorization", f"Bearer {key or self.key}")
        data = body if isinstance(body, bytes | None) else msgspec.json.encode(body)
        async with self.session.request(
            method, URL(self.base_url + path, encoded=True), data=data, headers=sent
        ) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Answer(
                response.status,
                msgspec.json.decode(text) if is_json and text else None,
                dict(response.headers),
                text,
            )

    async def post(self, path: str, body: Any) -> Any:
        return await self.must("POST", f"/api/v1{path}", body)

    async def must(self, method: str, path: str, body: Any = None) -> Any:
        """The body of a request that succeeds."""
        answer = await self.call(method, path, body)
        assert answer.status == 200, answer.text
        return answer.body


def api_key(organization_id: str, key: str, access: Access = "write") -> ApiKey:
    return ApiKey(organization_id=organization_id, key=SecretStr(key), access=access)


KEYS = [
    api_key(ORGANIZATION, "full"),
    api_key(ORGANIZATION, "reader", "read"),
    api_key(OTHER_ORGANIZATION, "other"),
]


def registry() -> CollectorRegistry:
    collected = CollectorRegistry()
    Counter("meter_things", "Things.", registry=collected).inc()
    return collected


async def start(
    session: ClientSession,
    clock: Clock | None = None,
    *,
    open_page: bool = False,
    webhook_public_key: str | None = None,
    certificate: Certificate | None = None,
    most_connections: int = CONNECTIONS,
) -> Running:
    """Serve a new ledger."""
    meter = LedgerMeter(clock or Clock(NOW_MS))
    server = ApiServer(
        build_app(
            meter,
            KeyRing(of_environment(KEYS)),
            registry(),
            open_page=open_page,
            peers=PeerTokens("shared"),
            webhook_public_key=webhook_public_key,
        ),
        certificate=certificate,
        most_connections=most_connections,
    )
    port = await server.start("127.0.0.1", 0)
    return Running(meter, session, f"http://127.0.0.1:{port}", server=server)


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with ClientSession() as opened:
        yield opened


@pytest.fixture
async def api(session: ClientSession) -> AsyncIterator[Running]:
    running = await start(session)
    yield running
    if running.server is not None:
        await running.server.stop()
