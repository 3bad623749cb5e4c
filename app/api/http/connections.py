"""Bound the connections of clients: their number, and how long each may keep a worker waiting."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestPayloadError

from app.api.http.admission import NOBODY
from app.api.http.certificate import LOOKED_AT_EVERY_S, Certificate
from app.api.http.errors import (
    REASONS,
    ApiError,
    bad_request,
    head_too_large,
    request_timeout,
    unavailable,
    unexpected,
)
from app.api.http.headers import add_headers
from app.api.http.json_text import encode
from app.bounds.limits import (
    ACCEPTED_A_TURN,
    HEAD_BYTES,
    HEAD_FIELDS,
    HEAD_S,
    IDLE_S,
    IN_USE_S,
    ROOM_S,
    SEND_BUFFER_BYTES,
    TURNED_AWAY,
    UNREAD_BYTES,
    UNREAD_S,
    UNTAKEN_S,
)

log = logging.getLogger(__name__)

_LOOKED_AFTER_EVERY_S = 0.5
_READ_BYTES = 16 * 1024
"""Bytes of aiohttp's read buffer. aiohttp reads twice as many of a body before a handler asks."""

_NO_FILES_WAIT_S = 0.1
_ROOM_LOOKED_FOR_EVERY_S = 0.01


def error_response(error: ApiError) -> web.Response:
    """Return the response for an error."""
    return web.Response(
        body=encode(error.body),
        status=error.status,
        headers=error.headers,
        content_type="application/json",
    )


def _bytes_of(error: ApiError, *, tls: bool) -> bytes:
    """Return the bytes of a response to a connection from which no request was read."""
    body = encode(error.body)
    headers = {
        **error.headers,
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(body)),
        "Connection": "close",
    }
    add_headers(headers, tls=tls)
    lines = [f"HTTP/1.1 {error.status} {REASONS[error.status]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class _Messages(deque[Any]):
    """What was read and is not answered yet; of an error without its traceback.

    That has the frame that read it, and so the connection and its bytes: a circle, which only the
    garbage collector would find (`app.bounds.collecting`).
    """

    def append(self, message: Any) -> None:
        read, _ = message
        if not isinstance(read, RawRequestMessage):
            read.exc.__traceback__ = None
        super().append(message)


class Connection(web.RequestHandler):
    """aiohttp's protocol of one connection, within our limits; it answers bad HTTP with JSON."""

    def __init__(self, server: web.Server, listener: Connections, accepted: socket.socket) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            keepalive_timeout=IDLE_S,
            # `finish_response` reads on instead: this one counts no bytes.
            lingering_time=0,
            read_bufsize=_READ_BYTES,
            max_line_size=HEAD_BYTES,
            max_field_size=HEAD_BYTES,
            max_headers=HEAD_FIELDS,
        )
        self._messages = _Messages()
        self.listener = listener
        self._accepted = accepted
        self._wire: asyncio.Transport | None = None
        """The transport, kept after aiohttp dropped it: written bytes may not have left yet."""
        self._head_since_s: float | None = None
        self._head_bytes = 0
        self._unsent_bytes = 0
        self._taken_s = 0.0
        """When the client last took bytes of its answer, in seconds of the loop's clock."""
        self.idle_since_s = self._loop.time()
        """When the last request ended or the connection began, in seconds of the loop's clock."""

        self.is_idle = True
        """True: no request is in hand; none has come, or only a part of its head."""
        self.organization = NOBODY
        """Owner of the key that came last."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._wire = cast(asyncio.Transport, transport)
        self.idle_since_s = self._taken_s = self._loop.time()
        self.listener.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.listener.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        requests = self._request_count
        super().data_received(data)
        if self._request_count > requests:
            self.is_idle = False
            self._head_since_s, self._head_bytes = None, 0
            self._end_broken_body()
        elif self.is_idle and data:
            if self._head_since_s is None:
                self._head_since_s = self._loop.time()
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(head_too_large(HEAD_BYTES))

    def _end_broken_body(self) -> None:
        """Raise an error in the reader of a broken body; aiohttp only queues one."""
        request, last = self._current_request, self._messages[-1][0] if self._messages else None
        if request is None or request.content.is_eof() or isinstance(last, RawRequestMessage):
            return
        request.content.set_exception(RequestPayloadError("not what its headers say"))

    def resume_writing(self) -> None:
        self._taken_s = self._loop.time()
        super().resume_writing()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; if the body is not read, read on for a moment and then close."""
        unread = not request.content.is_eof()
        if unread:
            resp.force_close()
        answered = await super().finish_response(request, resp, start_time)
        if unread:
            await _read_on(request)
        self.is_idle = not self._messages
        self.idle_since_s = self._loop.time()
        return answered

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        log.debug("Unreadable request from %s: %s", request.remote, message, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the connection broke within an answer")
        error = unexpected() if exc is None else bad_request("not an HTTP request")
        if isinstance(exc, LineTooLong):
            error = head_too_large(HEAD_BYTES)
        response = error_response(error)
        add_headers(response.headers, tls=self.listener.tls)
        response.force_close()
        return response

    def look_after(self, now_s: float) -> None:
        """End the connection when its client keeps the worker waiting for too long."""
        wire = self._wire
        if wire is None:
            return
        unsent_bytes = wire.get_write_buffer_size()
        if unsent_bytes == 0 or unsent_bytes < self._unsent_bytes:
            self._taken_s = now_s
        self._unsent_bytes = unsent_bytes
        if now_s - self._taken_s > UNTAKEN_S:
            wire.abort()
        elif self._head_since_s is not None and now_s - self._head_since_s > HEAD_S:
            self._refuse(request_timeout())

    def end(self) -> None:
        """Close at once."""
        if self._wire is not None:
            self._wire.abort()
            return
        with suppress(OSError):
            # Its handshake fails.
            self._accepted.shutdown(socket.SHUT_RDWR)

    def fail(self) -> None:
        """Close what did not come about, and let go of the parser, which has this."""
        self._accepted.close()
        self._parser = None

    def _refuse(self, error: ApiError) -> None:
        if self.transport is not None:
            self.transport.write(self.listener.refusal(error))
        self._head_since_s = None
        self.force_close()


async def _read_on(request: web.BaseRequest) -> None:
    """Read on, so that a client that is still sending gets to its answer."""
    left = UNREAD_BYTES
    try:
        async with asyncio.timeout(UNREAD_S):
            while left > 0 and (chunk := await request.content.readany()):
                left -= len(chunk)
    except (TimeoutError, ConnectionError, RequestPayloadError):
        pass


class Connections:
    """Listens on one address, and keeps its connections within the limits."""

    def __init__(
        self,
        server: web.Server,
        most: int,
        certificate: Certificate | None,
        refused: Callable[[ApiError], None],
        *,
        admin: bool = False,
        shared: bool = False,
    ) -> None:
        self._server = server
        self._most = most
        self._certificate = certificate
        self._refused = refused
        self.admin = admin
        """True: only health and metrics answer here."""
        self.shared = shared
        """True: other workers of this machine listen on the same port."""
        self._open: set[Connection] = set()
        self._opened = asyncio.Event()
        """Set by each connection that is opened."""
        self._starting: dict[Connection, asyncio.Task[None]] = {}
        """Connections that are not open yet, each with what opens it: over TLS the handshake."""
        self._turned_away: set[socket.socket] = set()
        self._full_since_s: float | None = None
        """Since when no connection makes room for another; None: the last one found room."""
        self._listeners: list[socket.socket] = []
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def tls(self) -> bool:
        """True: clients speak TLS to this listener."""
        return self._certificate is not None

    def count(self) -> tuple[int, int]:
        """Return how many connections are active, and how many idle."""
        idle = sum(connection.is_idle for connection in self._open)
        return len(self._open) - idle, idle

    def add(self, connection: Connection) -> None:
        """Count a connection that was opened."""
        self._starting.pop(connection, None)
        self._open.add(connection)
        self._opened.set()

    def discard(self, connection: Connection) -> None:
        """Forget a connection that was closed."""
        self._open.discard(connection)

    def refusal(self, error: ApiError) -> bytes:
        """Return the answer to bytes that are no request, and count it."""
        self._refused(error)
        return _bytes_of(error, tls=self.tls)

    async def listen(self, host: str, port: int) -> int:
        """Listen and return the port; with port 0 the system chooses one."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            listener = socket.create_server(
                address, family=family, backlog=self._most, reuse_port=self.shared
            )
            listener.setblocking(False)
            # Connections have it from their listener.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
            self._listeners.append(listener)
        self._tasks = [
            asyncio.create_task(each)
            for each in (*map(self._accept, self._listeners), self._look_after_all())
        ]
        return int(self._listeners[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening; open connections stay."""
        for task in self._tasks:
            task.cancel()
        for connection in self._starting:
            connection.end()
        await asyncio.gather(*self._tasks, *self._starting.values(), return_exceptions=True)
        for each in (*self._listeners, *self._turned_away):
            each.close()
        self._listeners, self._tasks = [], []

    async def _accept(self, listener: socket.socket) -> None:
        loop, failing = asyncio.get_running_loop(), False
        while True:
            for _ in range(ACCEPTED_A_TURN):
                try:
                    accepted, _ = await loop.sock_accept(listener)
                except OSError as error:
                    if not failing:
                        log.warning("No connection can be accepted now: %s", error)
                    failing = True
                    await asyncio.sleep(_NO_FILES_WAIT_S)
                else:
                    failing = False
                    await self._take(accepted)
            await asyncio.sleep(0)

    async def _take(self, accepted: socket.socket) -> None:
        try:
            is_room = await self._has_room()
        except asyncio.CancelledError:
            accepted.close()
            raise
        if not is_room:
            self._turn_away(accepted)
            return
        connection = Connection(self._server, self, accepted)
        self._starting[connection] = asyncio.create_task(self._start(connection, accepted))

    async def _start(self, connection: Connection, accepted: socket.socket) -> None:
        certificate = self._certificate
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=None if certificate is None else certificate.context,
                ssl_handshake_timeout=None if certificate is None else HEAD_S,
            )
        except OSError as error:
            log.debug("A connection did not come about: %s", error)
            connection.fail()
            # It has the frame of asyncio's future that raised it: a circle.
            error.__traceback__ = None
        finally:
            self._starting.pop(connection, None)

    async def _has_room(self) -> bool:
        """Return whether there is room for one more, once some is made or waited for."""
        loop = asyncio.get_running_loop()
        while len(self._open) + len(self._starting) >= self._most and not self._end_idle():
            now_s = loop.time()
            if self._full_since_s is None:
                self._full_since_s = now_s
            if now_s - self._full_since_s >= ROOM_S:
                return False
            await asyncio.sleep(_ROOM_LOOKED_FOR_EVERY_S)
        self._full_since_s = None
        return True

    def _end_idle(self) -> bool:
        """End an idle connection of whoever has most, the one idle for longest; or none.

        One that has not shaken hands is idle, and nobody's.
        """
        places = [*self._open, *self._starting]
        held = Counter(connection.organization for connection in places)
        idle = [connection for connection in places if connection.is_idle]
        if not idle:
            return False
        longest = min(idle, key=lambda each: (-held[each.organization], each.idle_since_s))
        idle_s = asyncio.get_running_loop().time() - longest.idle_since_s
        if idle_s < IN_USE_S and held[longest.organization] < max(held.values()):
            # Its next request may be on its way, while others have the places.
            return False
        # Its place is free from here on.
        self._open.discard(longest)
        self._starting.pop(longest, None)
        longest.end()
        return True

    def _turn_away(self, accepted: socket.socket) -> None:
        """Say 503, and leave the client a moment to read it."""
        refusal = self.refusal(unavailable("too_many_connections"))
        if self.tls or len(self._turned_away) >= TURNED_AWAY:
            accepted.close()
            return
        try:
            accepted.send(refusal)
            accepted.shutdown(socket.SHUT_WR)
        except OSError:
            accepted.close()
            return
        self._turned_away.add(accepted)
        asyncio.get_running_loop().call_later(UNREAD_S, self._forget, accepted)

    def _forget(self, accepted: socket.socket) -> None:
        self._turned_away.discard(accepted)
        accepted.close()

    async def _look_after_all(self) -> None:
        loop = asyncio.get_running_loop()
        certificate_s = loop.time()
        while True:
            await self._some_open()
            await asyncio.sleep(_LOOKED_AFTER_EVERY_S)
            now_s = loop.time()
            for connection in list(self._open):
                connection.look_after(now_s)
            if self._certificate is not None and now_s - certificate_s >= LOOKED_AT_EVERY_S:
                certificate_s = now_s
                self._certificate.look()

    async def _some_open(self) -> None:
        """Wait while no connection is open, but not until a certificate is long due to be seen."""
        if self._open:
            return
        self._opened.clear()
        at_most_s = None if self._certificate is None else LOOKED_AT_EVERY_S
        with suppress(TimeoutError):
            await asyncio.wait_for(self._opened.wait(), at_most_s)
