"""Waiting until something holds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE_S = 60.0
"""Longer than anything takes on a machine that has much else to do. Who passes waits for none of
it: a test names a time of its own only where the time is what it is about."""


async def until(
    holds: Callable[[], object], timeout_s: float = PATIENCE_S, every_s: float = 0.02
) -> None:
    """Wait until a condition holds; raise TimeoutError if it does not."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(every_s)


async def eventually(
    ask: Callable[[], Awaitable[object]],
    wanted: object,
    timeout_s: float = PATIENCE_S,
    every_s: float = 0.2,
) -> None:
    """Ask until the answer is the wanted one; fail with the last answer."""
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while True:
        answer = await ask()
        if answer == wanted:
            return
        if asyncio.get_running_loop().time() > deadline_s:
            raise AssertionError(difference(answer, wanted))
        await asyncio.sleep(every_s)


def difference(answer: object, wanted: object) -> str:
    """A few lines of what differs; pytest's own comparison of large answers takes minutes."""
    if isinstance(answer, dict) and isinstance(wanted, dict):
        names = [n for n in answer.keys() | wanted.keys() if answer.get(n) != wanted.get(n)]
        lines = [f"{n}: {difference(answer.get(n), wanted.get(n))}" for n in names[:_SHOWN]]
        return "\n".join([f"{len(names)} of {len(wanted)} differ:", *lines])
    if type(answer) is type(wanted) is tuple:
        return "\n".join(map(difference, answer, wanted))
    return f"{str(answer)[:_WIDTH]}, wanted {str(wanted)[:_WIDTH]}"


_SHOWN = 8
_WIDTH = 500
