"""A request goes with its answer: nothing of it waits for the garbage collector.

The collector passes over what lives while it stops walking it (`app.bounds.collecting`). A circle
of a request, its error and the traceback of that would stay for ever, with a body of up to 900 KB.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.api.http.bodies import Body
from app.bounds.limits import BODY_BYTES
from tests.app.api.conftest import Running
from tests.app.api.http.test_bodies import line_to
from tests.app.api.http.test_gone_clients import Held

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
    gc.collect()
    gc.disable()
    logging.disable()  # pytest keeps what is logged, with its traceback.
    try:
        await play(api)
        await asyncio.sleep(0.1)
        kept = [body for each in seen if (body := each()) is not None]
    finally:
        gc.enable()
        logging.disable(logging.NOTSET)
    assert seen
    assert not kept
