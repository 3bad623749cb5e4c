"""Tasks of a worker: each is run until it fails or is told to end, and its failure is not lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from app.bounds.cancellation import CancelledUnderneath, asked_to_end

Work = Callable[[], Coroutine[Any, Any, None]]
"""Begun inside of its task, for a task may be cancelled before it runs at all."""

_CANCEL_AGAIN_S = 5.0


async def failure_of(work: Work) -> BaseException | None:
    """Run work to its end; return what it failed with.

    A cancellation that nobody asked for is a failure as well.
    """
    try:
        await work()
    except asyncio.CancelledError as error:
        if asked_to_end():
            raise
        lost = CancelledUnderneath(f"what {work} waited for was cancelled")
        lost.__cause__ = error
        return lost
    except Exception as error:
        return error
    return None


async def cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel and wait for the end, again and again.

    `asyncio.wait_for` of Python 3.11 may swallow a cancellation, and whoever waits for such a task
    would hold up the whole group.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
    tasks.clear()
