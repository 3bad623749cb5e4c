"""What is read through a connection of its own: who begins to read it closes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from functools import wraps
from typing import ParamSpec, TypeAlias, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

Reading: TypeAlias = AbstractAsyncContextManager[AsyncIterator[T]]
"""Yields batches within its block; at the block's end nothing is left open."""


def reading(read: Callable[P, AsyncGenerator[T, None]]) -> Callable[P, Reading[T]]:
    """Have a generator read by `async with`: a loop that is left early does not close it."""

    @wraps(read)
    def opened(*args: P.args, **kwargs: P.kwargs) -> Reading[T]:
        return aclosing(read(*args, **kwargs))

    return opened


@contextmanager
def driven(runner: asyncio.Runner, read: Reading[T]) -> Iterator[Iterator[T]]:
    """Give the batches to code without an event loop; it runs while one is fetched."""
    batches = runner.run(_entered(read))

    async def following() -> T | None:
        return await anext(batches, None)

    try:
        yield iter(lambda: runner.run(following()), None)
    finally:
        runner.run(_left(read))


async def _entered(read: Reading[T]) -> AsyncIterator[T]:
    return await read.__aenter__()


async def _left(read: Reading[T]) -> None:
    await read.__aexit__(None, None, None)
