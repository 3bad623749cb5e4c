"""Answers of somebody else's size: made by steps, in turns, and sent while they are made.

In a JSON value that is to be streamed a generator stands for a list: what it gives is made when it
is written, and never all in memory.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import GeneratorType
from typing import Any

import msgspec
from aiohttp import web

from app.api.answering.call import Call, Reply
from app.api.http.json_text import encode
from app.bounds.turns import STEP_ITEMS, Steps, Turns, Work
from app.meter.errors import TimeBudgetExceeded, TooManyScans, Unavailable

PART_BYTES = 64 * 1024
"""Written at once."""

WHOLE_BYTES = 256 * 1024
"""What is no larger is sent with its length."""

_LATER = "too much is asked at once: try again later"

log = logging.getLogger(__name__)


def pieces(value: Any) -> Iterator[bytes]:
    """Yield the text of a value; of its lists so many items at a step."""
    if _is_lazy(value):
        yield from _pieces_of(value)
    else:
        yield encode(value)


def _pieces_of(lazy: Any) -> Iterator[bytes]:
    """Yield the text of a value with parts that are long, or not made yet."""
    if isinstance(lazy, dict):
        opening, plain = b"{", dict[Any, Any]()
        for key, item in lazy.items():
            if not _is_lazy(item):
                # What is plain is written together: a piece costs as much as some fields do.
                plain[key] = item
                continue
            if plain:
                yield opening + encode(plain)[1:-1]
                opening, plain = b",", {}
            yield opening + encode(key) + b":"
            yield from _pieces_of(item)
            opening = b","
        yield (opening + encode(plain)[1:] if plain else b"}")
    elif isinstance(lazy, GeneratorType):
        opening = b"["
        for item in lazy:
            yield opening
            yield from pieces(item)
            opening = b","
        yield b"[]" if opening == b"[" else b"]"
    else:
        opening = b"["
        for start in range(0, len(lazy), STEP_ITEMS):
            yield opening + encode(lazy[start : start + STEP_ITEMS])[1:-1]
            opening = b","
        yield b"]"


def _is_lazy(value: object) -> bool:
    """Return True if a part of the value is long, or is made only when it is written."""
    if isinstance(value, dict):
        return any(map(_is_lazy, value.values()))
    if isinstance(value, (list, tuple)):
        return len(value) > STEP_ITEMS
    return isinstance(value, GeneratorType)


def parts(turns: Turns, work: Work, value: Any) -> AsyncGenerator[bytes, None]:
    """Return the text of a value by parts, made in turns."""
    return parts_of(turns, work, pieces(value))


async def parts_of(turns: Turns, work: Work, made: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield texts by parts of some size, made in turns."""
    more = True
    while more:
        part = bytearray()
        more = await turns.run(work, _filled(part, made))
        yield bytes(part)


def _filled(part: bytearray, made: Iterator[bytes]) -> Steps[bool]:
    """Fill a part; whether there is more."""
    for number, piece in enumerate(made, 1):
        part += piece
        if len(part) >= PART_BYTES:
            return True
        if number % STEP_ITEMS == 0:
            yield
    return False


async def streamed(
    call: Call,
    text: AsyncGenerator[bytes, None],
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Reply | web.StreamResponse:
    """Answer text, sent as the client takes it; short ones whole."""
    held = bytearray()
    # A client that leaves early leaves nothing open of what the text is read from.
    async with aclosing(text):
        async for part in text:
            held += part
            if len(held) > WHOLE_BYTES:
                return await _sent(call, bytes(held), text, content_type, headers)
    return Reply(bytes(held), headers=headers or {}, content_type=content_type)


async def _sent(
    call: Call,
    first: bytes,
    text: AsyncIterator[bytes],
    content_type: str,
    headers: Mapping[str, str] | None,
) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_type, response.charset = content_type, "utf-8"
    await response.prepare(call.request)
    async with _begun(call):
        await response.write(first)
        async for part in text:
            await response.write(part)
    await response.write_eof()
    return response


async def lines(
    call: Call, first: object, reports: AsyncGenerator[msgspec.Struct, None] | None
) -> web.StreamResponse:
    """Answer JSON lines: the first one, then reports as they come, if any are to be given.

    A line with `error` is the last one when no more reports can be given now.
    """
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(call.request)
    async with _begun(call):
        await response.write(encode(first) + b"\n")
        if reports is not None:
            await _report(response, reports)
    await response.write_eof()
    return response


async def _report(
    response: web.StreamResponse, reports: AsyncGenerator[msgspec.Struct, None]
) -> None:
    try:
        async with aclosing(reports):
            async for report in reports:
                await response.write(msgspec.json.encode(report) + b"\n")
    except (Unavailable, TooManyScans, TimeBudgetExceeded) as error:
        await response.write(encode({"error": str(error) or _LATER}) + b"\n")


@asynccontextmanager
async def _begun(call: Call) -> AsyncIterator[None]:
    """Close the connection when an answer that has begun fails: else its client waits for ever."""
    try:
        yield
    except ConnectionResetError:
        raise
    except Exception as error:
        # That it ends early is all that can be told now.
        log.warning("An answer to %s broke off: %r", call.request.path, error)
        if call.request.transport is not None:
            call.request.transport.abort()
        raise ConnectionResetError("the answer broke off") from error
