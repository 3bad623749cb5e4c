"""Siblings: workers that one parent has started, which answer on one port.

Whichever of them is asked for metrics or readiness there asks the others, each on a port of its
own. Where that is, each writes into a directory that they share.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import ClientError, ClientSession
from yarl import URL

from app.directory import private_directory

Json = dict[str, Any]

ASKED_WITHIN_S: Final = 2.0
"""Time for an answer; a worker that gives none counts as missing."""

_NAME: Final = re.compile(r"([^\s{]+)(\{?)")
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

    async def metrics(self, session: ClientSession, own: bytes) -> bytes:
        """Return the metrics of all, `own` among them, each with the label `worker`."""
        answers = await self._ask(session, "/metrics")
        told = {number: answer[1] for number, answer in answers.items() if answer[0] == 200}
        numbers = sorted({self.number, *answers})
        up = [f'{_UP}{{worker="{n}"}} {int(n == self.number or n in told)}' for n in numbers]
        texts = {
            number: body.decode() for number, body in sorted((told | {self.number: own}).items())
        }
        return (merged(texts) + _UP_HEAD + "\n".join(up) + "\n").encode()

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


def merged(texts: Mapping[int, str]) -> str:
    """Return Prometheus texts of several workers as one: each family once, each sample labelled."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for worker, text in texts.items():
        family, known = "", False
        for line in text.splitlines():
            if line.startswith("# HELP "):
                family = line.split(" ", 3)[2]
                known = family in heads
                heads.setdefault(family, [])
                samples.setdefault(family, [])
            if line.startswith("#"):
                if not known:
                    heads[family].append(line)
            elif line:
                samples[family].append(_labelled(line, worker))
    lines = [line for family, head in heads.items() for line in (*head, *samples[family])]
    return "".join(f"{line}\n" for line in lines)


def _labelled(sample: str, worker: int) -> str:
    found = _NAME.match(sample)
    if found is None:
        raise ValueError(f"no sample of a metric: {sample}")
    name, opened = found.groups()
    rest = sample[found.end() :]
    if opened:
        return f'{name}{{worker="{worker}",{rest}'
    return f'{name}{{worker="{worker}"}}{rest}'
