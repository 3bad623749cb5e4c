"""How many connections there are, and how long each may keep the server waiting."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from app.api import server
from app.api.http import connections
from app.api.http.auth import KeyRing
from app.api.http.certificate import Certificate
from app.api.http.keys import of_environment
from app.api.server import ApiServer, build_app
from tests.app.api.conftest import KEYS, NOW_MS, Running, registry, start
from tests.app.api.http.test_bodies import Line, line_to
from tests.app.api.http.test_certificate import make_pair, trusting
from tests.app.api.ledger import Clock, LedgerMeter
from tests.world.waiting import until

MOST = 3


@pytest.fixture
async def small(session: ClientSession) -> AsyncIterator[Running]:
    """A server of few connections, with a port for probes."""
    meter = LedgerMeter(Clock(NOW_MS))
    few = ApiServer(
        build_app(meter, KeyRing(of_environment(KEYS)), registry()), most_connections=MOST
    )
    port = await few.start("127.0.0.1", 0, admin_port=0)
    yield Running(meter, session, f"http://127.0.0.1:{port}", server=few)
    await few.stop()


def admin_of(running: Running) -> Running:
    assert running.server is not None
    _, probes = running.server._listening
    port = probes._listeners[0].getsockname()[1]
    return Running(running.meter, running.session, f"http://127.0.0.1:{port}")


Open = Callable[[], Awaitable[Line]]


@pytest.fixture
async def opened(small: Running) -> AsyncIterator[Open]:
    """Opens lines, and closes them at the end."""
    async with AsyncExitStack() as lines:
        yield lambda: lines.enter_async_context(line_to(small))


async def in_hand(running: Running, line: Line) -> None:
    """Let a request begin that waits for its body."""
    assert running.server is not None
    clients, here = running.server._listening[0], line.writer.get_extra_info("sockname")

    def idle() -> list[bool]:
        return [
            each.is_idle
            for each in clients._open
            if each._wire is not None and each._wire.get_extra_info("peername") == here
        ]

    await until(lambda: idle() == [True])
    await line.head(Content_Length=100)
    line.writer.write(b"{")
    await until(lambda: idle() == [False])


async def test_the_longest_idle_makes_room(small: Running, opened: Open) -> None:
    lines: list[Line] = []
    for _ in range(MOST):
        lines.append(await opened())
        await asyncio.sleep(0.02)
    await in_hand(small, lines[0])
    newest = await opened()
    await newest.head("/api/v1/plans", "GET")
    assert (await newest.answer())[0] == 200
    assert await lines[1].ended()
    lines[2].writer.write(b"GET /api/v1/plans HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await lines[2].answer())[0] == 401, "it is still there"


@asynccontextmanager
async def secured(session: ClientSession, directory: Path) -> AsyncIterator[tuple[Running, Open]]:
    """A server of few connections with TLS of its own, and what shakes hands with it."""
    pair = make_pair(directory, "own")
    running = await start(session, certificate=Certificate(*pair), most_connections=MOST)
    async with AsyncExitStack() as lines:

        async def shaken() -> Line:
            reader, writer = await asyncio.open_connection(
                "localhost", int(running.base_url.rpartition(":")[2]), ssl=trusting(pair)
            )
            lines.callback(writer.transport.abort)
            return Line(reader, writer)

        yield running, shaken
    assert running.server is not None
    await running.server.stop()


async def test_who_shakes_no_hands_makes_room(
    session: ClientSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with secured(session, tmp_path) as (running, shaken), AsyncExitStack() as lines:
        alone = await shaken()
        await asked(alone, "other")
        silent: list[Line] = []
        for _ in range(MOST - 1):
            silent.append(await lines.enter_async_context(line_to(running)))
            await asyncio.sleep(0.02)
        newest = await shaken()
        await asked(newest, "full")
        assert await silent[0].ended()
        await asked(alone, "other")
        assert not silent[1].reader.at_eof()
        for line in (alone, newest):
            await in_hand(running, line)
        monkeypatch.setattr(connections, "IN_USE_S", 0.0)
        await asked(await shaken(), "full")
        assert await silent[1].ended()


async def test_who_shakes_no_hands_is_closed_with_the_server(
    session: ClientSession, tmp_path: Path
) -> None:
    async with AsyncExitStack() as lines:
        async with secured(session, tmp_path) as (running, _):
            silent = await lines.enter_async_context(line_to(running))
            assert running.server is not None
            (clients,) = running.server._listening
            await until(lambda: clients._starting)
        assert await silent.ended()


async def asked(line: Line, key: str) -> None:
    """Have a request answered to a key."""
    await line.head("/api/v1/plans", "GET", Authorization=f"Bearer {key}")
    assert (await line.answer())[0] == 200


async def test_who_has_most_makes_room(small: Running, opened: Open) -> None:
    alone, first, second = [await opened() for _ in range(MOST)]
    for line, key in ((alone, "other"), (first, "full"), (second, "full")):
        await asked(line, key)
        await asyncio.sleep(0.02)
    await asked(await opened(), "full")
    assert await first.ended()
    await asked(alone, "other")
    await asked(second, "full")


async def test_who_asked_just_now_keeps_its_place_while_others_have_the_rest(
    small: Running, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IN_USE_S", 60.0)
    alone, *busy = [await opened() for _ in range(MOST)]
    await asked(alone, "other")
    for line in busy:
        await in_hand(small, line)
    assert (await (await opened()).answer())[0] == 503
    await asked(alone, "other")
    monkeypatch.setattr(connections, "IN_USE_S", 0.0)
    await asked(await opened(), "full")
    assert await alone.ended()


async def test_a_new_one_waits_for_a_place(
    small: Running, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ROOM_S", 30.0)
    lines = [await opened() for _ in range(MOST)]
    for line in lines:
        await in_hand(small, line)
    newest = await opened()
    asking = asyncio.create_task(asked(newest, "other"))
    await asyncio.sleep(0.1)
    assert not asking.done()
    lines[0].writer.transport.abort()
    await asking


async def test_when_all_are_busy_a_new_one_is_told(small: Running, opened: Open) -> None:
    lines = [await opened() for _ in range(MOST)]
    for line in lines:
        await in_hand(small, line)
    newest = await opened()
    status, headers, body = await newest.answer()
    assert (status, body["code"]) == (503, "too_many_connections")
    assert headers["retry-after"] == "1"
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert (await admin_of(small).call("GET", path, key=None)).status == 200
    assert (await admin_of(small).call("GET", "/api/v1/plans")).status == 404
    metrics = (await admin_of(small).call("GET", "/metrics", key=None)).text
    assert 'meter_http_connections{state="active"} 3.0' in metrics
    assert 'meter_requests_refused_total{code="too_many_connections"} 1.0' in metrics


async def test_a_head_that_does_not_come_is_given_up(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.2)
    async with line_to(api) as line:
        for piece in (b"GET / HT", b"TP/1.1\r\n", b"Host: x\r\n"):
            line.writer.write(piece)
            await asyncio.sleep(0.3)
        status, headers, body = await line.answer()
        assert (status, body["code"]) == (408, "request_timeout")
        assert headers["x-content-type-options"] == "nosniff"
        assert await line.ended()


async def test_who_says_nothing_is_not_hurried(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    async with line_to(api) as line:
        await asyncio.sleep(0.8)
        await line.head("/api/v1/plans", "GET")
        assert (await line.answer())[0] == 200
        await asyncio.sleep(0.8)
        await line.head("/api/v1/plans", "GET")
        assert (await line.answer())[0] == 200


async def test_who_says_nothing_for_long_is_closed(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_S", 0.3)
    async with line_to(api) as line:
        assert await line.ended()


@pytest.mark.parametrize("ends", [True, False])
async def test_a_large_head_is_refused(api: Running, ends: bool) -> None:
    async with line_to(api) as line:
        fields = "".join(f"X-{i}: {'y' * 1_000}\r\n" for i in range(20))
        line.writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}".encode())
        if ends:
            line.writer.write(b"\r\n")
        status, _, body = await line.answer()
        assert (status, body["code"]) == (431, "head_too_large")


async def test_many_headers_are_refused(api: Running) -> None:
    async with line_to(api) as line:
        fields = "".join(f"X-{i}: y\r\n" for i in range(200))
        line.writer.write(f"GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n".encode())
        assert (await line.answer())[0] == 400


class Tap:
    """A client that takes little, and says when it is cut."""

    def __init__(self, port: int) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setblocking(False)

    async def ask(self, path: str) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer full\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(self._socket, request.encode())

    async def take(self, count: int) -> None:
        while count > 0:
            count -= len(await asyncio.get_running_loop().sock_recv(self._socket, count))

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
async def long(session: ClientSession, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A server whose description is 16 MiB long, and that has little patience."""
    monkeypatch.setattr(connections, "UNTAKEN_S", 1.0)
    monkeypatch.setattr(server, "described", lambda: {"long": "x" * (16 * 1024 * 1024)})
    running = await start(session)
    yield running
    assert running.server is not None
    await running.server.stop()


@pytest.fixture
async def tap(long: Running) -> AsyncIterator[Tap]:
    opened = Tap(int(long.base_url.rpartition(":")[2]))
    await opened.ask("/openapi.json")
    yield opened
    opened.close()


async def test_who_takes_nothing_is_cut(long: Running, tap: Tap) -> None:
    assert long.server is not None
    (clients,) = long.server._listening
    await until(lambda: not all(each.is_idle for each in clients._open))
    (slow,) = (each for each in clients._open if not each.is_idle)
    wire = slow._wire
    assert wire is not None
    waiting = [0]
    while slow in clients._open:
        waiting.append(wire.get_write_buffer_size())
        await asyncio.sleep(0.02)
    assert 0 < max(waiting) < 1024 * 1024, "the rest waits outside"


async def test_who_takes_slowly_is_served(long: Running, tap: Tap) -> None:
    assert long.server is not None
    (clients,) = long.server._listening
    for _ in range(18):
        await tap.take(500_000)
        await asyncio.sleep(0.1)
    assert any(not each.is_idle for each in clients._open)
