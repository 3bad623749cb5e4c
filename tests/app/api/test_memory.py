"""A request goes with its answer, a connection with its client: nothing of either waits for the
garbage collector.

The collector passes over what lives while it stops walking it (`app.bounds.collecting`). A circle
of a request, its error and the traceback of that would stay for ever, with a body of up to 900 KB.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from app.api.http.bodies import Body
from app.api.http.certificate import Certificate
from app.api.http.connections import Connection
from app.bounds.limits import BODY_BYTES, HEAD_BYTES
from tests.app.api.conftest import Running, start
from tests.app.api.http.test_bodies import line_to
from tests.app.api.http.test_certificate import make_pair
from tests.app.api.http.test_gone_clients import Held
from tests.world.waiting import until

Play = Callable[[Running], Awaitable[object]]
LONG = "x" * 100_000


async def _lost_in_its_body(api: Running) -> None:
    async with line_to(api) as line:
        await line.head("/api/v1/events/batch", Content_Length=len(LONG))
        line.writer.write(LONG.encode()[:-1])
        await line.writer.drain()
        await asyncio.sleep(0.1)


async def _malformed_chunks(api: Running) -> None:
    async with line_to(api) as line:
        await line.head("/api/v1/events", Transfer_Encoding="chunked")
        await asyncio.sleep(0.1)
        line.writer.write(b"5\r\nabcde\r\nnot a length\r\n")
        await line.answer()


async def _endless_chunks(api: Running) -> None:
    async with line_to(api) as line:
        await line.head("/api/v1/events", Transfer_Encoding="chunked")
        for _ in range(BODY_BYTES // len(LONG) + 2):
            line.writer.write(b"%x\r\n%s\r\n" % (len(LONG), LONG.encode()))
        await line.answer()


async def _gone_while_it_reads(api: Running) -> None:
    held = Held()
    api.meter.find_event = held  # type: ignore[method-assign]
    async with line_to(api) as line:
        await line.head("/api/v1/events/t", "GET")
        await held.begun.wait()
    await held.ended.wait()


def _defect(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError


async def _with_a_defect(api: Running) -> None:
    api.meter.find_event = _defect  # type: ignore[method-assign]
    assert (await api.call("GET", "/api/v1/events/t")).status == 500


def _calls(method: str, path: str, body: Any, status: int) -> Play:
    async def play(api: Running) -> None:
        assert (await api.call(method, path, body)).status == status

    return play


PLAYS: dict[str, Play] = {
    "answered": _calls("GET", "/api/v1/plans", None, 200),
    "not found": _calls("GET", "/api/v1/plans/none", None, 404),
    "no json": _calls("POST", "/api/v1/plans", LONG.encode(), 400),
    "no root": _calls("POST", "/api/v1/plans", {"text": LONG}, 400),
    "refused definition": _calls("POST", "/api/v1/plans", {"plan": {"name": LONG}}, 422),
    "refused batch": _calls("POST", "/api/v1/events/batch", {"events": [], "more": LONG}, 422),
    "refused event": _calls("POST", "/api/v1/events", {"event": {"code": LONG}}, 422),
    "costly expression": _calls(
        "POST",
        "/api/v1/billable_metrics/evaluate_expression",
        {"expression": "+".join(["event.properties.a"] * 300), "event": {"properties": {"a": "1"}}},
        422,
    ),
    "lost in its body": _lost_in_its_body,
    "malformed chunks": _malformed_chunks,
    "endless chunks": _endless_chunks,
    "gone while it reads": _gone_while_it_reads,
    "defect": _with_a_defect,
}


@contextmanager
def _without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    logging.disable()  # pytest keeps what is logged, with its traceback.
    try:
        yield
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize("play", PLAYS.values(), ids=PLAYS)
async def test_a_request_goes_with_its_answer(
    api: Running, monkeypatch: pytest.MonkeyPatch, play: Play
) -> None:
    seen: list[weakref.ref[Body]] = []

    class Noted(Body):
        def __init__(self, request: Any) -> None:
            super().__init__(request)
            seen.append(weakref.ref(self))

    monkeypatch.setattr("app.api.server.Body", Noted)
    with _without_collector():
        await play(api)
        assert seen
        await until(lambda: not any(each() for each in seen))


HEAD = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Authorization: Bearer full\r\nTransfer-Encoding: chunked\r\n\r\n"
SAID: dict[str, tuple[bytes, ...]] = {
    "nothing": (),
    "a request": (HEAD + b"Connection: close\r\n\r\n",),
    "no HTTP": (b"\x00\x01\r\n\r\n",),
    "no HTTP by pieces": (b"GET /" + b"a" * 10_000, b"\x00\x01\r\n\r\n"),
    "no HTTP behind a request": (HEAD + b"\r\n\x00\x01\r\n\r\n",),
    "a long line": (b"GET /" + b"a" * (HEAD_BYTES + 1_000),),
    "a long head": (HEAD, *[b"X: " + b"a" * 10_000 + b"\r\n"] * 2),
    "no chunk": (b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\n" + CHUNKED + b"no\r\n",),
    "data behind an upgrade": (HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nno",),
}


@pytest.fixture
def connected(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Connection]]:
    """Every connection that begins."""
    seen: list[weakref.ref[Connection]] = []

    class Noted(Connection):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            seen.append(weakref.ref(self))

    monkeypatch.setattr("app.api.http.connections.Connection", Noted)
    return seen


async def _said(api: Running, said: tuple[bytes, ...], *, patient: bool) -> None:
    async with line_to(api) as line:
        for piece in said:
            line.writer.write(piece)
            await line.writer.drain()
            await asyncio.sleep(0.05)
        if patient:
            await line.ended()


async def _all_go(api: Running, said: tuple[bytes, ...], connected: list[Any]) -> None:
    with _without_collector():
        for patient in (bool(said), False):
            await _said(api, said, patient=patient)
        await until(lambda: len(connected) == 2)
        await until(lambda: not any(each() for each in connected))


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_a_connection_goes_with_its_client(
    api: Running, connected: list[Any], said: tuple[bytes, ...]
) -> None:
    await _all_go(api, said, connected)


@pytest.fixture
async def secured(session: ClientSession, tmp_path: Path) -> AsyncIterator[Running]:
    """The API with TLS of its own."""
    running = await start(session, certificate=Certificate(*make_pair(tmp_path, "own")))
    yield running
    assert running.server is not None
    await running.server.stop()


@pytest.mark.parametrize("said", [(), (HEAD,)], ids=["nothing", "no TLS"])
async def test_a_connection_that_shakes_no_hands_goes_with_its_client(
    secured: Running, connected: list[Any], said: tuple[bytes, ...]
) -> None:
    await _all_go(secured, said, connected)
