"""Telling a cancellation that somebody asked for from one that befell what is awaited."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

T = TypeVar("T")


def retrieve(future: asyncio.Future[Any]) -> None:
    """Take note of a failure that somebody else reports; for `add_done_callback`."""
    if not future.cancelled():
        future.exception()


class CancelledUnderneath(Exception):
    """What was awaited was cancelled, by a client that was closed for example; we were not."""


def asked_to_end() -> bool:
    """Return True if somebody has cancelled the running task.

    If nobody has, an `asyncio.CancelledError` is a failure like any other. Most code would take it
    for an order and end the task silently.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def end_if_asked() -> None:
    """Raise the cancellation that somebody asked for, where what was awaited has swallowed it.

    `asyncio.wait_for` of Python 3.11 does if what it waits for ends in the same moment, and clients
    of Kafka and Redis wait by it.
    """
    if asked_to_end():
        raise asyncio.CancelledError


async def ended(task: asyncio.Task[T]) -> T:
    """Return the outcome of a task that must not stop half-way; raise a cancellation afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None and task.exception() is None:
        raise cancelled
    return task.result()
