"""All workers asked at once: each answers, line by line, for the partitions that it owns."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from app.cli.exits import NoVerdict
from app.cli.output import Terminal, echo
from app.cli.remote import Remote, nobody_answers, told_of

_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 300.0
"""A worker may read for long between two lines, but not for ever."""
ASKED_FOR_S = 120.0
"""For so long a worker that cannot answer yet is asked again: it takes partitions over, mostly."""


Take = Callable[[bytes], bool]
"""Takes one line of a worker's report; whether it is the last."""


class _First(msgspec.Struct):
    """The first line of an answer, or an error in the middle of one."""

    peers: list[str] = []
    owner: str | None = None
    error: str | None = None


class _Reached(msgspec.Struct):
    """What every report says of itself."""

    records_read: int
    records_total: int
    partitions: tuple[int, ...]
    of_partitions: int


class EveryWorker:
    """Asks for something that each worker does for its own partitions."""

    def __init__(self, path: str, body: Any, take: Take, doing: str):
        """Take `doing`: what the progress bar says."""
        self._path = path
        self._body = body
        self._take = take
        self._doing = doing

    async def ask(self, wanted: Sequence[Remote], *, of_all: bool = True) -> None:
        """Ask a worker, once with the key of each organization, who the others are, and those.

        `of_all`: every partition has to be reported on. Raises `NoVerdict`.
        """
        if not all(worker.key for worker in wanted):
            raise NoVerdict("There is no API key to ask with: set --key or METER_API_KEYS")
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Terminal(stderr=True)
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            for worker in wanted:
                task = bar.add_task(self._doing)
                reached: dict[str, _Reached] = {}

                def advance(url: str, line: bytes, task: Any = task, known: Any = reached) -> None:
                    known[url] = msgspec.json.decode(line, type=_Reached)
                    read = sum(each.records_read for each in known.values())
                    total = sum(each.records_total for each in known.values())
                    bar.update(task, completed=read, total=total)

                await self._ask_all(worker, advance, of_all=of_all)
                if of_all:
                    _check_whole(reached)

    async def _ask_all(
        self, worker: Remote, advance: Callable[[str, bytes], None], *, of_all: bool
    ) -> None:
        """Ask one worker who the others are, and then those; together they own every partition."""
        first = await self._ask_one(worker, advance)
        others = first.peers if of_all else []
        if first.owner is not None:
            others = [first.owner]
        await asyncio.gather(
            *(self._ask_one(Remote(other, worker.key), advance) for other in others)
        )

    async def _ask_one(self, worker: Remote, advance: Callable[[str, bytes], None]) -> _First:
        first: _First | None = None
        done = False
        async with aclosing(self._lines(worker)) as lines:
            async for line in lines:
                if first is None:
                    first = msgspec.json.decode(line, type=_First)
                    done = first.owner is not None
                    continue
                if b'"error"' in line[:10]:
                    raise NoVerdict(f"{worker.url}: {msgspec.json.decode(line, type=_First).error}")
                done = self._take(line)
                advance(worker.url, line)
        if first is None or not done:
            raise NoVerdict(f"{worker.url} stopped before it was done")
        return first

    async def _lines(self, worker: Remote) -> AsyncGenerator[bytes]:
        """Yield the lines of one worker's answer. Raises `NoVerdict`."""
        asked = await asyncio.to_thread(_Asked, worker)
        try:
            answer = await self._begun(asked, worker)
            while (line := await asyncio.to_thread(answer.readline)).endswith(b"\n"):
                yield line[:-1]
        except (HTTPException, OSError) as error:
            raise NoVerdict(f"{worker.url} stopped answering: {error or 'timeout'}") from error
        finally:
            asked.close()

    async def _begun(self, asked: _Asked, worker: Remote) -> HTTPResponse:
        """Return an answer that has begun; who cannot give one yet says when to ask again.

        A worker that takes partitions over has nothing to prove before it has them.
        """
        until_s, body = monotonic() + ASKED_FOR_S, msgspec.json.encode(self._body)
        is_told = False
        while True:
            answer = await asyncio.to_thread(asked.post, self._path, body)
            if answer.status == 200:
                return answer
            said = told_of(await asyncio.to_thread(answer.read)) or answer.reason
            again_s = _asked_again_after_s(answer)
            if again_s is None or monotonic() + again_s > until_s:
                message = f"{worker.url} answered {answer.status}: {said}"
                if is_told:
                    message += f", and nothing else for {ASKED_FOR_S:g} s"
                # What is wrong with the request itself is found out.
                refused = answer.status in (403, 404, 422)
                raise click.ClickException(message) if refused else NoVerdict(message)
            if not is_told:
                why = await asyncio.to_thread(_why_not_yet, worker)
                waits = f"waiting for it, up to {ASKED_FOR_S:g} s"
                why = why or f"{said}; mostly a partition is being taken over"
                echo(f"{worker.url} answers {answer.status} ({why}): {waits}.", err=True)
            is_told = True
            await asyncio.sleep(again_s)


def _asked_again_after_s(answer: HTTPResponse) -> float | None:
    """Return in how many seconds a worker wants to be asked again; None: it says nothing of it."""
    told = answer.headers.get("Retry-After", "")
    return float(max(1, int(told))) if answer.status in (429, 503) and told.isdecimal() else None


def _why_not_yet(worker: Remote) -> str:
    """Return what a worker lacks, in its words; nothing if it does not say."""
    try:
        health, _ = worker.health()
        return "; ".join(str(reason["message"]) for reason in health.get("reasons", ()))
    except (click.ClickException, LookupError, TypeError, AttributeError):
        return ""


class _Asked:
    """A connection to one worker, used from threads. Raises `NoVerdict` if nobody answers."""

    def __init__(self, worker: Remote) -> None:
        scheme, server, *_ = urlsplit(worker.url)
        self._connection = (
            HTTPSConnection(server, timeout=_CONNECT_TIMEOUT_S, context=worker.tls)
            if scheme == "https"
            else HTTPConnection(server, timeout=_CONNECT_TIMEOUT_S)
        )
        self._path = urlsplit(worker.url).path
        self._headers = {
            "Authorization": f"Bearer {worker.key}",
            "Content-Type": "application/json",
        }
        try:
            self._connection.connect()
        except (OSError, HTTPException) as error:
            raise NoVerdict(nobody_answers(worker.url, error)) from error
        self._socket: socket.socket = self._connection.sock

    def post(self, path: str, body: bytes) -> HTTPResponse:
        """Send the request and return the answer as far as its headers."""
        self._connection.request("POST", self._path + path, body, self._headers)
        # Another one, if the worker has closed the connection after an answer.
        self._socket = self._connection.sock
        self._socket.settimeout(_READ_TIMEOUT_S)
        return self._connection.getresponse()

    def close(self) -> None:
        """End the connection; a thread that still reads it finds its end."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()


def _check_whole(reached: dict[str, _Reached]) -> None:
    """Raise NoVerdict unless every partition was reported on, whoever owns it."""
    reported = {number for each in reached.values() for number in each.partitions}
    missing = set(range(max(each.of_partitions for each in reached.values()))) - reported
    if missing:
        numbers = ", ".join(map(str, sorted(missing)))
        raise NoVerdict(f"Partitions {numbers} were changing hands: try again")
