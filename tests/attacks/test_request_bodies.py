"""Attacks with bodies: compressed, endless, slow, in crumbs (bounded-work H7, H8)."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from app.bounds.limits import BODY_BYTES, BODY_S
from tests.attacks.victim import ATTACKER, KEYS, MEBIBYTE, Victim

pytestmark = pytest.mark.servers

BOMB = gzip.compress(bytes(100 * MEBIBYTE), 9) * 40
"""4 MB that become 4 GB."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

METRICS = "/api/v1/billable_metrics"
SLOW = 100


def head(target: str, method: str = "POST", key: str | None = None, **more: object) -> bytes:
    """Request line and headers."""
    headers: dict[str, object] = {"Host": "localhost"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    headers |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode()


@asynccontextmanager
async def line_to(
    victim: Victim,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    url = urlsplit(victim.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


_TRIES = 5


async def send(victim: Victim, *pieces: bytes) -> int:
    """The status of the answer to what is sent, however much of it is taken.

    Who sends on to a connection that is closed may be reset before the answer is read.
    """
    for _ in range(_TRIES):
        with suppress(ConnectionError):
            return await _send(victim, *pieces)
    raise AssertionError("no answer was to be read")


async def _send(victim: Victim, *pieces: bytes) -> int:
    async with line_to(victim) as (reader, writer):
        answer = asyncio.ensure_future(reader.readline())
        for piece in pieces:
            writer.write(piece)
            with suppress(ConnectionError):
                await writer.drain()
            # To drain what is taken at once gives nobody a turn, and the answer would lie unread.
            await asyncio.sleep(0)
            if answer.done():
                break
        async with asyncio.timeout(25):
            return int((await answer).split()[1])


@pytest.mark.parametrize("key", [None, KEYS["write", ATTACKER]])
async def test_compressed_bodies_are_not_inflated(victim: Victim, key: str | None) -> None:
    paths = [METRICS, "/api/v1/events/batch", "/health/live", "/nowhere", "/"]
    told = []
    async with victim.attacked(growth_bytes=64 * MEBIBYTE):
        for path in paths:
            sent = head(path, key=key, Content_Encoding="gzip", Content_Length=len(BOMB))
            told.append(await send(victim, sent, BOMB))
    assert told == [415] * len(paths)


async def test_what_is_refused_by_its_head_is_not_read(victim: Victim) -> None:
    endless = [b"10000\r\n" + b" " * 0x10000 + b"\r\n"] * 500
    key = KEYS["write", ATTACKER]
    cases = {
        404: head("/nowhere", key=key, Transfer_Encoding="chunked"),
        405: head(METRICS, "DELETE", key=key, Transfer_Encoding="chunked"),
        401: head(METRICS, Transfer_Encoding="chunked"),
        413: head(METRICS, key=key, Content_Length=10**9),
    }
    async with victim.attacked(growth_bytes=64 * MEBIBYTE):
        told = [await send(victim, sent, *endless) for sent in cases.values()]
        assert told == list(cases)
        assert await send(victim, head(METRICS, key=key)) == 411
        chunked = head(METRICS, key=key, Transfer_Encoding="chunked")
        assert await send(victim, chunked, *endless) == 413


async def test_a_body_in_crumbs_holds_nobody_up(victim: Victim) -> None:
    crumbs = b"1\r\n \r\n" * (BODY_BYTES - 1) + b"0\r\n\r\n"
    key = KEYS["write", ATTACKER]
    async with victim.attacked(growth_bytes=128 * MEBIBYTE):
        sent = head(METRICS, key=key, Transfer_Encoding="chunked")
        assert await send(victim, sent, crumbs) == 400


async def test_a_body_of_small_values_is_not_made_into_objects(victim: Victim) -> None:
    body = b'{"events":[' + b"[[[[[[[[[[]]]]]]]]]]," * 42_000 + b"[]]}"
    sent = head("/api/v1/events/batch", key=KEYS["write", ATTACKER], Content_Length=len(body))
    async with victim.attacked(growth_bytes=64 * MEBIBYTE):
        assert [await send(victim, sent, body) for _ in range(5)] == [413] * 5


async def test_bodies_that_come_slowly_leave_room_for_others(victim: Victim) -> None:
    begun = head("/api/v1/events/batch", key=KEYS["write", ATTACKER], Content_Length=BODY_BYTES)
    half = b" " * (BODY_BYTES // 2)

    async def slow() -> None:
        async with line_to(victim) as (reader, writer):
            writer.write(begun + half)
            with suppress(TimeoutError, ConnectionError):
                # Who waits for memory is told before, and who has it is told after that.
                async with asyncio.timeout(BODY_S - 1.0):
                    told.append(int((await reader.readline()).split()[1]))

    told: list[int] = []
    async with victim.attacked(growth_bytes=256 * MEBIBYTE):
        await asyncio.gather(*(slow() for _ in range(SLOW)))
    assert set(told) == {429}
