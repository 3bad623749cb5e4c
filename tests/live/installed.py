"""What examples need beside the product: installed once, next to other local state."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALLED = ROOT / ".meter" / "examples"
TIMEOUT_S = 120.0


async def run(*command: str, user: str | None = None, **environment: str) -> str:
    """Return what a command prints; it has to succeed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
        cwd=ROOT,
        user=user,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, (out.decode(), err.decode())
    return out.decode()


class NotInstalled(Exception):
    """What an example needs is not there."""


async def install(what: str, *command: str) -> None:
    """Install something beside other local state."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    try:
        await run(*command, what)
    except (AssertionError, TimeoutError) as error:
        raise NotInstalled(f"{what} could not be installed: {error}") from error


def cells_of(notebook: Path) -> list[str]:
    """Return the lines of the code of a notebook, from its first cell to its last."""
    cells = json.loads(notebook.read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return "\n".join(sources).splitlines()
