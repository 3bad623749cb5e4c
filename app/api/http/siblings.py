"""Siblings: workers that one parent has started, which answer on one port.

Whichever of them is asked for metrics or readiness there asks the others, each on a port of its
own. Where that is, each writes into a directory that they share.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import ClientError, ClientSession
from yarl import URL

from app.bounds.turns import STEP_ITEMS, Steps, Turns, Work, batches
from app.directory import private_directory

Json = dict[str, Any]

ASKED_WITHIN_S: Final = 2.0
"""Time for an answer; a worker that gives none counts as missing."""

_UP: Final = "meter_worker_up"
_UP_HEAD: Final = f"# HELP {_UP} Whether a worker of the same parent answers.\n# TYPE {_UP} gauge\n"


class Siblings:
    """The workers of one parent, by their numbers; one of them is this one."""

    def __init__(self, directory: Path, number: int, count: int):
        self._directory = directory
        self.number = number
        self._others = [each for each in range(1, count + 1) if each != number]

    def tell(self, url: str) -> None:
        """Tell the others where this one answers alone."""
        private_directory(self._directory)
        path = self._path(self.number)
        written = path.with_suffix(".new")
        written.write_text(url)
        written.replace(path)

    async def metrics(
        self, session: ClientSession, turns: Turns, own: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """Return the metrics of all, `own` among them, each with the label `worker`."""
        text = await own()
        answers = await self._ask(session, "/metrics")
        told = {number: answer[1] for number, answer in answers.items() if answer[0] == 200}
        numbers = sorted({self.number, *answers})
        up = [f'{_UP}{{worker="{n}"}} {int(n == self.number or n in told)}' for n in numbers]
        texts = dict(sorted((told | {self.number: text}).items()))
        families = await turns.run(Work("request", "metrics of all"), merged(texts))
        return b"".join((*families, (_UP_HEAD + "\n".join(up) + "\n").encode()))

    async def health(self, session: ClientSession, query: str) -> tuple[list[int], list[Json]]:
        """Return the numbers of those not ready or silent, and what is wrong, by worker."""
        answers = sorted((await self._ask(session, f"/health/ready?{query}")).items())
        wrong: list[Json] = [
            {**reason, "worker": number}
            for number, (status, body) in answers
            if status in (200, 503)
            for reason in msgspec.json.decode(body).get("reasons", ())
        ]
        return [number for number, (status, _) in answers if status != 200], wrong

    async def _ask(self, session: ClientSession, target: str) -> dict[int, tuple[int, bytes]]:
        """Return (status, body) of each of the others; (0, nothing) of one that does not answer."""
        answers = await asyncio.gather(*(self._of(session, each, target) for each in self._others))
        return dict(zip(self._others, answers, strict=True))

    async def _of(self, session: ClientSession, number: int, target: str) -> tuple[int, bytes]:
        try:
            base = self._path(number).read_text().rstrip("/")
            async with (
                asyncio.timeout(ASKED_WITHIN_S),
                session.get(URL(base + target, encoded=True), allow_redirects=False) as answer,
            ):
                return answer.status, await answer.read()
        except (ClientError, TimeoutError, OSError, ValueError):
            return 0, b""

    def _path(self, number: int) -> Path:
        return self._directory / f"{number}.url"


def merged(texts: Mapping[int, bytes]) -> Steps[list[bytearray]]:
    """Return families of Prometheus texts of several workers: each once, each sample labelled.

    Some lines are taken at a step.
    """
    families: dict[bytes, bytearray] = {}
    for worker, text in texts.items():
        label, known = b'{worker="%d"' % worker, False
        told = bytearray()
        for some in batches(text.split(b"\n"), STEP_ITEMS):
            for line in some:
                if line.startswith(b"# HELP "):
                    family = line.split(b" ", 3)[2]
                    known = family in families
                    told = families.setdefault(family, bytearray())
                if line.startswith(b"#"):
                    if not known:
                        told += line + b"\n"
                elif line:
                    told += _labelled(line, label)
            yield
    return list(families.values())


def _labelled(sample: bytes, label: bytes) -> bytes:
    """Return the line of a sample with one label more, the first."""
    name, opened, rest = sample.partition(b"{")
    if opened:
        return b"%b%b,%b\n" % (name, label, rest)
    name, _, rest = sample.partition(b" ")
    return b"%b%b} %b\n" % (name, label, rest)
