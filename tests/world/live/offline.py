"""The same logs through `meter export` and `meter fold`, a batch recompute, and `meter verify`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from app.cli.main import cli
from app.offline.export import What, export
from app.queries.routing import CHANGED_HANDS
from app.settings import Settings
from app.wire.usage_records import Topic
from tests.world.live.api import KEY
from tests.world.live.worker import FORKS

_TRIES = 5
_ROOT = Path(__file__).parents[3]


async def fold_offline(settings: Settings, directory: Path, at_ms: int | None = None) -> set[bytes]:
    """Every message of any topic that the logs make until then, by default until now."""
    at_ms = time.time_ns() // 1_000_000 if at_ms is None else at_ms
    definitions = await _exported(settings, "definitions", directory)
    events = await _exported(settings, "events", directory)
    status, output, said = await _meter(
        "fold",
        "--records-only",
        *(f"--topic={topic}" for topic in get_args(Topic)),
        "--at",
        str(at_ms),
        str(definitions),
        str(events),
    )
    assert status == 0, said
    return set(output.splitlines())


async def verify(url: str) -> str:
    """What `meter verify` of all workers proved; anything else fails.

    A worker that stood still may come back while it goes on: then it says to ask again.
    """
    for _ in range(_TRIES):
        status, output, said = await _meter("verify", "--json", "--url", url, "--key", KEY)
        if CHANGED_HANDS not in said:
            break
    assert status == 0, f"{output.decode()}\n{said}"
    found = json.loads(output)
    assert found["equal"]
    assert found["pairs_verified"] > 0
    messages = sum(found["records_verified"].values())
    assert messages > 0
    pairs, cells = found["pairs_verified"], found["cells_verified"]
    return f"{pairs} pairs, {cells} cells, {messages} messages: all equal"


async def _meter(*arguments: str) -> tuple[int | None, bytes, str]:
    """Exit status and output of a command, forked off a process that has imported the product."""
    with TemporaryDirectory() as name:
        output, said = Path(name) / "output", Path(name) / "said"
        process = FORKS.Process(
            target=_run, args=(arguments, dict(os.environ), output, said), daemon=True
        )
        process.start()
        try:
            while process.is_alive():
                await asyncio.sleep(0.02)
        finally:
            process.kill()
        return process.exitcode, output.read_bytes(), said.read_text()


def _run(
    arguments: Sequence[str], environment: Mapping[str, str], output: Path, said: Path
) -> None:
    """Be the command, from the fork on."""
    for stream, path in ((sys.stdout, output), (sys.stderr, said)):
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(_ROOT)
    cli(arguments)


async def _exported(settings: Settings, what: What, directory: Path) -> Path:
    file = directory / f"{what}.jsonl"
    with file.open("wb") as output:
        async with export(settings, what) as batches:
            async for lines in batches:
                output.writelines(line + b"\n" for line in lines)
    return file
