"""What of a body is refused unread, and how long is waited for the rest."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from app.api.http import bodies, connections
from app.bounds.limits import BODY_BYTES, BODY_VALUES
from tests.app.api.conftest import Running
from tests.world.waiting import PATIENCE_S

METRIC = b'{"billable_metric":{"name":"n","code":"c","aggregation_type":"count_agg"}}'


@dataclass
class Line:
    """A connection on which a test says what it likes."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def head(
        self, target: str = "/api/v1/billable_metrics", method: str = "POST", **headers: object
    ) -> None:
        """Send a head, with the good key unless another is named."""
        told: dict[str, object] = {"Host": "localhost", "Authorization": "Bearer full"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in told.items()), "", ""]
        self.writer.write("\r\n".join(lines).encode())
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Status, headers, JSON."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
            body = await self.reader.readexactly(int(headers["content-length"]))
        return int(first.split()[1]), headers, json.loads(body)

    async def ended(self) -> bool:
        """Whether the server closes."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await self.reader.read() == b""
        except TimeoutError:
            return False
        except ConnectionResetError:
            return True


@asynccontextmanager
async def line_to(api: Running) -> AsyncIterator[Line]:
    port = int(api.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Line(reader, writer)
    finally:
        writer.transport.abort()


@pytest.fixture
async def line(api: Running) -> AsyncIterator[Line]:
    async with line_to(api) as opened:
        yield opened


@pytest.mark.parametrize("path", ["/api/v1/billable_metrics", "/nowhere", "/health/live"])
@pytest.mark.parametrize("key", ["Bearer full", "Bearer none", None])
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "identity, gzip", "x"])
async def test_compressed_bodies_are_refused(
    api: Running, path: str, key: str | None, encoding: str
) -> None:
    headers = {"Content-Encoding": encoding} | ({} if key is None else {"Authorization": key})
    answer = await api.call("POST", path, gzip.compress(METRIC), key=None, headers=headers)
    assert (answer.status, answer.body["code"]) == (415, "content_encoding_not_supported")


async def test_identity_is_no_compression(api: Running) -> None:
    answer = await api.call(
        "POST", "/api/v1/billable_metrics", METRIC, headers={"Content-Encoding": "Identity"}
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    ("target", "method", "headers", "expected"),
    [
        ("/nowhere", "POST", {}, 404),
        ("/api/v1/billable_metrics", "DELETE", {}, 405),
        ("/api/v1/billable_metrics", "POST", {"Authorization": "Bearer none"}, 401),
        ("/api/v1/billable_metrics", "POST", {"Authorization": "Bearer reader"}, 403),
        ("/api/v1/billable_metrics", "POST", {}, 413),
    ],
)
async def test_the_head_decides_before_any_of_the_body_comes(
    line: Line,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    method: str,
    headers: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 0.1)
    length = BODY_BYTES + 1 if expected == 413 else BODY_BYTES
    await line.head(target, method, Content_Length=length, **headers)
    status, told, _ = await line.answer()
    assert (status, told["connection"]) == (expected, "close")
    assert await line.ended(), "the body is not waited for"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_body_without_an_end_is_refused(line: Line, method: str) -> None:
    target = "/api/v1/plans" + ("" if method == "POST" else "/p")
    await line.head(target, method)
    status, _, body = await line.answer()
    assert (status, body["code"]) == (411, "length_required")


@pytest.mark.parametrize("crumb", [b"[]", b"{}", b"1", b"1.5", b"[[[]]]"])
async def test_a_body_of_crumbs_is_refused_before_it_becomes_objects(
    api: Running, crumb: bytes
) -> None:
    body = b'{"billable_metric":[' + b",".join([crumb] * BODY_VALUES) + b"]}"
    answer = await api.call("POST", "/api/v1/billable_metrics", body)
    assert answer.status == 413
    assert answer.body["error_details"] == {"body": [f"limit_is_{BODY_VALUES}_values"]}


async def test_commas_within_a_text_are_no_values(api: Running) -> None:
    body = {"billable_metric": {"name": "n", "code": "c", "description": ",[{" * BODY_VALUES}}
    answer = await api.call("POST", "/api/v1/billable_metrics", body)
    assert answer.status == 422


async def test_chunks_have_the_same_limit(line: Line) -> None:
    await line.head(Transfer_Encoding="chunked")
    piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    for _ in range(BODY_BYTES // 0x10000 + 2):
        line.writer.write(piece)
    assert (await line.answer())[0] == 413


async def test_chunks_are_a_body(line: Line) -> None:
    await line.head(Transfer_Encoding="chunked")
    line.writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(METRIC), METRIC))
    assert (await line.answer())[0] == 200


@pytest.mark.parametrize("key", ["full", "none"])
async def test_who_asks_first_is_told_to_go_on_only_when_the_body_is_read(
    line: Line, key: str
) -> None:
    await line.head(
        Authorization=f"Bearer {key}", Content_Length=len(METRIC), Expect="100-continue"
    )
    if key == "none":
        assert (await line.answer())[0] == 401
        return
    assert await line.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    line.writer.write(METRIC)
    assert (await line.answer())[0] == 200


async def test_a_body_that_does_not_come_is_given_up(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_S", 0.1)
    monkeypatch.setattr(connections, "UNREAD_S", 0.1)
    await line.head(Content_Length=10_000)
    line.writer.write(b"{")
    status, _, body = await line.answer()
    assert (status, body["code"]) == (408, "request_timeout")
    assert await line.ended()


async def test_chunks_that_are_none_are_a_bad_request(line: Line) -> None:
    await line.head(Transfer_Encoding="chunked")
    line.writer.write(b"5\r\n{")
    await asyncio.sleep(0.05)
    line.writer.write(b"nonsense\r\nzz\r\n")
    assert (await line.answer())[0] == 400


async def test_little_is_read_on_after_a_refusal(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "UNREAD_S", 30.0)
    await line.head(Authorization="Bearer none", Transfer_Encoding="chunked")
    assert (await line.answer())[0] == 401
    sent, piece = 0, b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    with suppress(ConnectionError):
        while sent < 64 * 1024 * 1024:
            line.writer.write(piece)
            await line.writer.drain()
            sent += len(piece)
    # The buffers on the way take some of it.
    assert sent < 16 * 1024 * 1024


async def test_an_answer_comes_through_to_who_sends_first(api: Running) -> None:
    """As most clients do."""
    answer = await api.call("POST", "/api/v1/plans", b" " * 60_000, key="none")
    assert answer.status == 401


async def test_what_was_sent_whole_leaves_the_connection_open(line: Line) -> None:
    await line.head(Authorization="Bearer none", Content_Length=2)
    line.writer.write(b"{}")
    first = await line.answer()
    if first[1].get("connection") == "close":
        # The two bytes came later than the answer was made.
        return
    await line.head(Content_Length=len(METRIC))
    line.writer.write(METRIC)
    assert (await line.answer())[0] == 200
