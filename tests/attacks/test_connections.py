"""Attacks with connections: many, silent, slow, without a key (bounded-work H8, M29)."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from app.bounds.limits import CONNECTIONS
from tests.attacks.victim import Victim
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers

MANY = 1_060
KEYLESS = 1_000
SLOW = 300

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(autouse=True, scope="module")
def _files() -> None:
    """This process holds the other ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4_096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4_096, hard), hard))


@asynccontextmanager
async def connected(victim: Victim, count: int) -> AsyncIterator[list[Stream]]:
    """So many connections at once."""
    url = urlsplit(victim.url)
    opened: list[Stream] = []
    try:
        while len(opened) < count:
            opened += [await asyncio.open_connection(url.hostname, url.port)]
        yield opened
    finally:
        for _, writer in opened:
            writer.transport.abort()


async def first_line(stream: Stream, within_s: float = 10.0) -> bytes:
    """Of the answer; nothing when the connection is closed without one."""
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(within_s):
            return (await stream[0].readline()).strip()
    return b""


async def test_idle_connections_make_room_for_others(victim: Victim) -> None:
    async with victim.attacked(), connected(victim, MANY) as silent:
        await until(lambda: sum(reader.at_eof() for reader, _ in silent) >= MANY - CONNECTIONS)
        metrics = await victim.metrics()
        open_now = sum(
            count for name, count in metrics.items() if name.startswith("meter_http_connections")
        )
        assert open_now <= CONNECTIONS
        status, _ = await victim.attacker.call("GET", "/organizations")
        assert status == 200


async def test_heads_that_do_not_come_are_given_up(victim: Victim) -> None:
    async with victim.attacked(), connected(victim, SLOW) as slow:
        for _, writer in slow:
            writer.write(b"GET /api/v1/plans HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        told = await asyncio.gather(*(first_line(each, PATIENCE_S) for each in slow))
        assert Counter(told) == {b"HTTP/1.1 408 Request Timeout": SLOW}


async def test_without_a_key_nobody_takes_a_place_from_those_with_one(victim: Victim) -> None:
    request = b"GET /api/v1/plans HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer none\r\n\r\n"
    async with victim.attacked(), connected(victim, KEYLESS) as keyless:
        for _ in range(3):
            for _, writer in keyless:
                writer.write(request)
            told = Counter(await asyncio.gather(*map(first_line, keyless)))
            assert told.keys() <= {
                b"HTTP/1.1 401 Unauthorized",
                b"HTTP/1.1 429 Too Many Requests",
                b"",
            }
            # Of one address some are told 401 in a second, and the rest 429.
            refused = (b"HTTP/1.1 401 Unauthorized", b"HTTP/1.1 429 Too Many Requests")
            assert sum(told[line] for line in refused) > 0
            for reader, _ in keyless:
                with suppress(TimeoutError, asyncio.IncompleteReadError, ConnectionError):
                    async with asyncio.timeout(1):
                        await reader.readuntil(b"}")


async def test_one_organization_waits_in_its_own_queue(victim: Victim) -> None:
    async def ask() -> int:
        status, _ = await victim.reader.call("GET", "/subscriptions?per_page=100")
        return status

    async with victim.attacked():
        told: Counter[int] = Counter()
        for _ in range(5):
            told.update(await asyncio.gather(*(ask() for _ in range(400))))
    assert told.keys() <= {200, 429}
    assert told[200] > 0
