"""A server that takes webhooks, or does not, and keeps what it was sent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
from aiohttp import web


class Request(NamedTuple):
    """One request as it came."""

    at_s: float
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def type(self) -> str:
        return str(self.told["webhook_type"])

    @property
    def key(self) -> str:
        return self.headers["X-Lago-Unique-Key"]


@dataclass
class Receiver:
    """What came, and how a path answers."""

    url: str = ""
    requests: list[Request] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    """By path; 200 for others."""
    on_request: Callable[[Request], None] = lambda _: None

    def at(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def types_at(self, path: str) -> list[str]:
        return [request.type for request in self.at(path)]

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        came = Request(time.monotonic(), request.path, dict(request.headers), body)
        self.requests.append(came)
        self.on_request(came)
        status = self.statuses.get(request.path, 200)
        headers = {"Location": f"{self.url}/elsewhere"} if status == 302 else {}
        return web.Response(status=status, headers=headers)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Answer on a port of this process."""
    receiver = Receiver()
    application = web.Application(client_max_size=16 * 1024 * 1024)
    application.router.add_post("/{path:.*}", receiver.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
