"""Workers that answer by half, with an error, or not at all are told, and nobody waits for them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click import ClickException

from app.cli import every_worker
from app.cli.every_worker import EveryWorker
from app.cli.exits import NoVerdict
from app.cli.remote import Remote
from tests.world.waiting import PATIENCE_S

FIRST = b'{"peers":[]}\n'
LINE = b'{"records_read":1,"records_total":1,"partitions":[0],"of_partitions":1}\n'
QUIET, PAUSE = b"quiet", b"pause"


@contextmanager
def answering(
    *parts: bytes, status: int = 200, whole: bool = True, not_yet: int = 0, again_s: str = "1"
) -> Iterator[str]:
    """Serve one worker that sends these parts as chunks, once it has refused some requests."""
    ended = threading.Event()
    refusals = iter(range(not_yet))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            if next(refusals, None) is not None:
                self.refuse(b'{"status":503,"code":"temporarily_unavailable"}')
                return
            self.send_response(status)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in parts:
                if part in (QUIET, PAUSE):
                    ended.wait(600 if part == QUIET else 0.5)
                else:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            if whole:
                self.wfile.write(b"0\r\n\r\n")
            self.close_connection = True

        def do_GET(self) -> None:
            assert self.path == "/health/ready"
            self.refuse(b'{"reasons":[{"message":"partition 3 is restored"}]}')

        def refuse(self, body: bytes) -> None:
            self.send_response(503)
            self.send_header("Retry-After", again_s)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            ended.set()
            server.shutdown()
            thread.join()


def asked(url: str) -> list[bytes]:
    """Return the lines that were taken."""
    taken: list[bytes] = []

    def take(line: bytes) -> bool:
        taken.append(line)
        return len(taken) == 2

    asyncio.run(EveryWorker("/api/v1/verify", {}, take, "Asking").ask([Remote(url, "key")]))
    return taken


def test_lines_come_whole_however_they_are_cut() -> None:
    text = FIRST + LINE + LINE
    with answering(text[:5], text[5:40], text[40:]) as url:
        assert asked(url) == [LINE[:-1], LINE[:-1]]


def test_a_worker_that_takes_partitions_over_is_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with answering(FIRST, LINE, LINE, not_yet=2) as url:
        assert asked(url) == [LINE[:-1], LINE[:-1]]
    told = capsys.readouterr().err
    assert told == f"{url} answers 503 (partition 3 is restored): waiting for it, up to 120 s.\n"


@pytest.mark.parametrize(("patience_s", "again_s"), [(1.5, "1"), (120.0, "3600"), (120.0, "soon")])
def test_who_never_can_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, again_s: str
) -> None:
    monkeypatch.setattr(every_worker, "ASKED_FOR_S", patience_s)
    said = "answered 503: temporarily_unavailable" + (", and nothing" if patience_s < 2 else "$")
    with (
        answering(not_yet=1_000, again_s=again_s) as url,
        pytest.raises(NoVerdict, match=said),
    ):
        asked(url)


@pytest.mark.parametrize(
    ("parts", "status", "whole", "said"),
    [
        pytest.param((FIRST, LINE, LINE[:9]), 200, True, "before it was done", id="half a line"),
        pytest.param((FIRST, LINE), 200, True, "before it was done", id="no last line"),
        pytest.param((FIRST, LINE), 200, False, "stopped", id="torn"),
        pytest.param((b'{"error":"busy"}',), 429, True, "answered 429: busy", id="429"),
        pytest.param((FIRST, b'{"error":"no Redis"}\n'), 200, True, "no Redis", id="error"),
    ],
)
def test_an_answer_that_is_not_whole_proves_nothing(
    parts: tuple[bytes, ...], status: int, whole: bool, said: str
) -> None:
    with answering(*parts, status=status, whole=whole) as url, pytest.raises(NoVerdict, match=said):
        asked(url)


def test_a_request_that_is_wrong_is_told_field_by_field() -> None:
    wrong = b'{"code":"validation_errors","error_details":{"field_name":["value_is_mandatory"]}}'
    with answering(wrong, status=422) as url, pytest.raises(ClickException) as told:
        asked(url)
    assert told.value.exit_code == 1
    assert told.value.message.endswith("validation_errors (field_name: value_is_mandatory)")


def test_who_is_not_there_is_told_at_once() -> None:
    with pytest.raises(NoVerdict, match="No worker answers"):
        asked("http://127.0.0.1:9")


def test_nobody_waits_for_a_silent_worker_once_another_has_failed() -> None:
    """A thread that reads it would hold the whole command until its time is over."""
    began = time.monotonic()
    with (
        answering(FIRST, QUIET) as silent,
        answering(FIRST, PAUSE, b'{"error":"no Redis"}\n') as failing,
        answering(f'{{"peers":["{silent}","{failing}"]}}\n'.encode(), LINE, LINE) as url,
    ):
        with pytest.raises(NoVerdict, match="no Redis"):
            asked(url)
        assert time.monotonic() - began < PATIENCE_S
