"""Names of hosts looked up, each in a thread of its own.

The loop's own threads are few and shared with Kafka: ten names whose server is dead hold them all.
Each thread asks as this machine asks: its hosts file, search domains and name services count.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from concurrent.futures import Future
from threading import Thread

from aiohttp.abc import AbstractResolver, ResolveResult

_AS_NUMBERS = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV


class Resolver(AbstractResolver):
    """Looks names up. The connector asks for one host and port once at a time."""

    def __init__(self, at_once: int):
        """Have at most so many threads: as many as there are requests, and none waits."""
        self._free = asyncio.Semaphore(at_once)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError when there are none."""
        async with self._free:
            found: Future[list[ResolveResult]] = Future()
            # What still waits for a name server keeps no process from its end.
            thread = Thread(target=_look_up, args=(found, host, port, family), daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                raise OSError(errno.EAGAIN, "no thread is left on this machine") from error
            return await asyncio.wrap_future(found)

    async def close(self) -> None:
        """Leave the threads to their end."""


def _look_up(
    found: Future[list[ResolveResult]], host: str, port: int, family: socket.AddressFamily
) -> None:
    """Set the result; from here on nobody cancels it."""
    if found.set_running_or_notify_cancel():
        try:
            found.set_result(_addresses(host, port, family))
        except Exception as error:
            found.set_exception(error)


def _addresses(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    infos = socket.getaddrinfo(
        host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [
        ResolveResult(
            hostname=host,
            # A link-local address has its interface behind it so.
            host=socket.getnameinfo(address, _AS_NUMBERS)[0],
            port=port,
            family=kind,
            proto=proto,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
        for kind, _, proto, _, address in infos
    ]
