"""A client that goes: reads end with it, writes do not; and headers of every answer."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from app.meter.errors import Unavailable
from tests.app.api.conftest import Running
from tests.app.api.http.test_bodies import line_to
from tests.world.waiting import PATIENCE_S

EVENT = b'{"event":{"transaction_id":"t","external_subscription_id":"s","code":"c"}}'


class Held:
    """In place of a method of the engine: waits, and notes how it ended."""

    def __init__(self, then: Any = None) -> None:
        self.begun = asyncio.Event()
        self.release = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = False
        self._then = then

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.begun.set()
        try:
            await self.release.wait()
            return None if self._then is None else await self._then(*arguments, **named)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()


async def left_while_written(api: Running, held: Held) -> None:
    """Post an event, and go once it is being written."""
    async with line_to(api) as line:
        await line.head("/api/v1/events", Content_Length=len(EVENT))
        line.writer.write(EVENT)
        await held.begun.wait()
    await asyncio.sleep(0.2)


async def test_a_read_ends_with_its_client(api: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    monkeypatch.setattr(api.meter, "find_event", held)
    async with line_to(api) as line:
        await line.head("/api/v1/events/t", "GET")
        await held.begun.wait()
    async with asyncio.timeout(PATIENCE_S):
        await held.ended.wait()
    assert held.cancelled


async def test_a_write_goes_on_without_its_client(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(api.meter.append)
    monkeypatch.setattr(api.meter, "append", held)
    await left_while_written(api, held)
    assert not held.ended.is_set()
    held.release.set()
    async with asyncio.timeout(PATIENCE_S):
        await held.ended.wait()
    assert not held.cancelled
    assert (await api.call("GET", "/api/v1/events/t")).status == 200


async def test_a_write_that_fails_without_its_client_is_nobody_s_error(
    api: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise Unavailable("Kafka does not answer")

    held = Held(away)
    monkeypatch.setattr(api.meter, "append", held)
    await left_while_written(api, held)
    held.release.set()
    async with asyncio.timeout(PATIENCE_S):
        await held.ended.wait()
    await asyncio.sleep(0.1)
    # So that a task tells now what it has to tell.
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize(
    "path", ["/", "/page/page.js", "/api/v1/plans", "/health/live", "/metrics", "/nowhere"]
)
async def test_headers_of_every_answer(api: Running, path: str) -> None:
    headers = (await api.call("GET", path)).headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Permissions-Policy"] == ""
    assert headers["Cache-Control"] == (
        "no-cache" if path in ("/", "/page/page.js") else "no-store"
    )
    assert "Strict-Transport-Security" not in headers, "this one speaks no TLS"
    assert "Access-Control-Allow-Origin" not in headers
