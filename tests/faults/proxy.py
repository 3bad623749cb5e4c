"""A TCP proxy between the program and a server, which can be slow, silent or cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

_CHUNK_BYTES = 64 * 1024


class Proxy:
    """Passes bytes on in both directions, as slowly as it is told."""

    def __init__(self, host: str, to_port: int):
        self._host = host
        self._to_port = to_port
        self._writers: set[asyncio.StreamWriter] = set()
        self.delay_s = 0.0
        """How long every chunk of bytes is held back."""
        self.answers = asyncio.Event()
        """Cleared: what the server says is kept back, the connections stay open."""
        self.answers.set()
        self.connections = 0

    async def serve(
        self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter
    ) -> None:
        """One connection of a client."""
        self.connections += 1
        try:
            from_server, to_server = await asyncio.open_connection(self._host, self._to_port)
        except OSError:
            to_client.close()
            return
        self._writers |= {to_client, to_server}
        await asyncio.gather(
            self._pass_on(from_client, to_server, None),
            self._pass_on(from_server, to_client, self.answers),
        )
        self._writers -= {to_client, to_server}

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gate: asyncio.Event | None,
    ) -> None:
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if gate is not None:
                    await gate.wait()
                writer.write(chunk)
                await writer.drain()
        writer.close()

    def half_close(self) -> None:
        """Say on every connection that nothing more will be sent; the other way stays open."""
        for writer in self._writers:
            with suppress(OSError, RuntimeError):
                writer.write_eof()

    def cut(self) -> None:
        """Break every connection off."""
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def proxy_to(host: str, port: int, to_port: int) -> AsyncIterator[Proxy]:
    """A proxy that listens on a port."""
    proxy = Proxy(host, to_port)
    server = await asyncio.start_server(proxy.serve, host, port)
    try:
        yield proxy
    finally:
        server.close()
        proxy.answers.set()
        proxy.cut()
