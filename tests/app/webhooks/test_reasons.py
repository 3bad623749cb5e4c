"""What an operator is told of an endpoint that does not take: words, from real connections."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientConnectorError, ClientSession, ClientTimeout
from aiohttp.client_reqrep import ConnectionKey

from app.webhooks.reasons import Reason, reason_of


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[int]:
    """Take connections on a port, and answer each so, or (None) never."""
    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if answer is None:
            await over.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        over.set()
        server.close()


async def told(url: str, timeout_s: float = 20.0) -> Reason:
    async with ClientSession(timeout=ClientTimeout(total=timeout_s)) as session:
        try:
            async with session.post(url, data=b"{}") as answer:
                await answer.read()
        except Exception as error:
            return reason_of(error)
    raise AssertionError("it was taken")


@pytest.mark.parametrize(
    ("scheme", "answer", "reason"),
    [
        ("http", b"", Reason.BROKEN_OFF),
        ("http", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", Reason.BROKEN_OFF),
        ("http", b"SSH-2.0\r\n\r\n", Reason.NO_HTTP),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.TLS),
        ("https", b"", Reason.BROKEN_OFF),
    ],
)
async def test_what_the_other_side_does_is_told_in_words(
    scheme: str, answer: bytes, reason: Reason
) -> None:
    async with answering(answer) as port:
        assert await told(f"{scheme}://127.0.0.1:{port}/") is reason


async def test_where_nobody_is_or_answers_is_told_in_words() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert await told(f"http://127.0.0.1:{nobody.getsockname()[1]}/") is Reason.REFUSED
    async with answering(None) as port:
        assert await told(f"http://127.0.0.1:{port}/", 0.2) is Reason.NO_ANSWER
    assert await told("http://hooks.invalid/") is Reason.NAME_NOT_FOUND


@pytest.mark.parametrize("url", ["http://x:99999/", "http://a..b/", "ftp://x/", "http:///"])
async def test_a_url_that_cannot_be_asked_is_told_in_words(url: str) -> None:
    assert await told(url) is Reason.NO_URL


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ETIMEDOUT, Reason.NO_ANSWER),
        (errno.EHOSTUNREACH, Reason.UNREACHABLE),
        (errno.ENETUNREACH, Reason.UNREACHABLE),
        (errno.EMFILE, Reason.NO_SOCKET),
    ],
)
def test_what_the_system_says_is_told_in_words(number: int, reason: Reason) -> None:
    key = ConnectionKey("h", 80, False, True, None, None, None)
    assert reason_of(ClientConnectorError(key, OSError(number, "no"))) is reason
