"""The same logs through `meter export` and `meter fold`, a batch recompute, and `meter verify`."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import get_args

from app.offline.export import What, export
from app.settings import Settings
from app.wire.usage_records import Topic
from tests.world.live.api import KEY

_ROOT = Path(__file__).parents[3]
_METER = [sys.executable, "-c", "from app.cli.main import cli; cli()"]


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
    """What `meter verify` of all workers proved; anything else fails."""
    status, output, said = await _meter("verify", "--json", "--url", url, "--key", KEY)
    assert status == 0, f"{output.decode()}\n{said}"
    found = json.loads(output)
    assert found["equal"]
    assert found["pairs_verified"] > 0
    messages = sum(found["records_verified"].values())
    assert messages > 0
    pairs, cells = found["pairs_verified"], found["cells_verified"]
    return f"{pairs} pairs, {cells} cells, {messages} messages: all equal"


async def _meter(*arguments: str) -> tuple[int | None, bytes, str]:
    """Exit status and output of a command."""
    process = await asyncio.create_subprocess_exec(
        *_METER,
        *arguments,
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode, output, said.decode()


async def _exported(settings: Settings, what: What, directory: Path) -> Path:
    file = directory / f"{what}.jsonl"
    with file.open("wb") as output:
        async with export(settings, what) as batches:
            async for lines in batches:
                output.writelines(line + b"\n" for line in lines)
    return file
