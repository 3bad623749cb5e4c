"""The same logs through `meter export` and `meter fold`: a batch recompute with no server state."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from app.export import What, export
from app.settings import Settings

_FOLD = [sys.executable, "-c", "from app.cli.main import cli; cli()", "fold", "--records-only"]


async def fold_offline(settings: Settings, directory: Path) -> set[bytes]:
    """Every record that the logs make until now."""
    at_ms = time.time_ns() // 1_000_000
    definitions = await _exported(settings, "definitions", directory)
    events = await _exported(settings, "events", directory)
    process = await asyncio.create_subprocess_exec(
        *_FOLD,
        "--at",
        str(at_ms),
        str(definitions),
        str(events),
        cwd=Path(__file__).parents[2],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return set(output.splitlines())


async def _exported(settings: Settings, what: What, directory: Path) -> Path:
    file = directory / f"{what}.jsonl"
    with file.open("wb") as output:
        async for line in export(settings, what):
            output.write(line + b"\n")
    return file
