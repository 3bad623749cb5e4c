"""What of a request is refused unread, and how its body is read."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.web_protocol import RequestPayloadError

from app.api.http.errors import (
    bad_request,
    encoded_body,
    head_too_large,
    length_required,
    request_timeout,
    too_large,
    too_many_values,
)
from app.bounds.limits import BODY_BYTES, BODY_BYTES_A_SECOND, BODY_S, BODY_VALUES, HEAD_BYTES
from app.bounds.nesting import holds_more_than

_Lost = TypeVar("_Lost", bound=Exception)
WITH_BODY = ("POST", "PUT", "PATCH")


def require_small_head(request: web.Request) -> None:
    """Raise 431 when all headers together are over the limit."""
    fields = sum(len(name) + len(value) for name, value in request.raw_headers)
    if fields + len(request.rel_url.raw_path_qs) > HEAD_BYTES:
        raise head_too_large(HEAD_BYTES)


def require_plain(request: web.Request) -> None:
    """Raise 415 for any Content-Encoding but identity."""
    encodings = ",".join(request.headers.getall("Content-Encoding", ()))
    if any(each.strip().lower() not in ("", "identity") for each in encodings.split(",")):
        raise encoded_body()


def announced_bytes(request: web.Request) -> int:
    """Return the most bytes of the body. Raises 413 if they are too many, 411 if none are told."""
    length = request.content_length
    if length is not None:
        if length > BODY_BYTES:
            raise too_large(BODY_BYTES)
        return length
    if "Transfer-Encoding" in request.headers:
        return BODY_BYTES
    if request.method in WITH_BODY:
        raise length_required()
    return 0


class Body:
    """A body that comes when it is asked for."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._read: bytes | None = None

    async def read(self) -> bytes:
        """Return the whole body. Raises 413 when it is over the limit, 408 when it is late."""
        if self._read is None:
            seconds = BODY_S + (self._request.content_length or BODY_BYTES) / BODY_BYTES_A_SECOND
            try:
                async with asyncio.timeout(seconds):
                    await self._say_continue()
                    self._read = await self._received()
            except ConnectionResetError as error:
                raise _without_traceback(error) from None
            except TimeoutError as error:
                raise request_timeout() from error
            except RequestPayloadError as error:
                reason = _without_traceback(error)
                raise bad_request("the body is not what its headers say") from reason
        return self._read

    async def _say_continue(self) -> None:
        request = self._request
        if request.headers.get("Expect", "").lower() != "100-continue":
            return
        if request.version == HttpVersion11 and not request.content.is_eof():
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            # The answer proper has not begun.
            request.writer.output_size = 0

    async def _received(self) -> bytes:
        received = bytearray()
        # Not by `Request.read`: it lets the connection buffer a whole body more.
        while chunk := await self._request.content.readany():
            received += chunk
            if len(received) > BODY_BYTES:
                raise too_large(BODY_BYTES)
            if self._request.content_length is None:
                # What has come already is read without a wait, and chunks may be of one byte.
                await asyncio.sleep(0)
        body = bytes(received)
        if holds_more_than(body, BODY_VALUES):
            raise too_many_values(BODY_VALUES)
        return body


def _without_traceback(error: _Lost) -> _Lost:
    """Return a copy of what the stream of a request raised.

    The stream keeps the error. With a traceback, error, stream, request and body would keep each
    other; the collector passes over what lives when it stops walking it, such a circle for ever.
    """
    error.__traceback__ = None
    return type(error)(*error.args)
