"""Telling a cancellation that somebody asked for from one that befell what is awaited."""

from __future__ import annotations

import asyncio


class CancelledUnderneath(Exception):
    """What was awaited was cancelled, by a client that was closed for example; we were not."""


def asked_to_end() -> bool:
    """Whether somebody has cancelled the running task.

    If not, an `asyncio.CancelledError` is a failure like any other; but most code takes it for an
    order and ends the task without a word.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
