"""Partitions that wait, told together: what takes a broker away from one takes it from hundreds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from app.log import facts

TOLD_AFTER_S: Final = 1.0
"""Partitions that begin to wait within so many seconds are told by one line."""
NAMED: Final = 8
"""Partitions that a line names."""


class WaitingPartitions:
    """Partitions that wait for one thing."""

    def __init__(self, log: logging.Logger, what: str):
        """Take what they wait for, as a line says it: `for brokers`."""
        self._log = log
        self._what = what
        self._known: dict[int, type[BaseException]] = {}
        self._untold: dict[int, BaseException] = {}

    @contextmanager
    def while_it_waits(self, number: int) -> Iterator[Callable[[BaseException], None]]:
        """Give what tells why a partition waits; after the block it waits no more."""
        try:
            yield partial(self.note, number)
        finally:
            self.over(number)

    def note(self, number: int, error: BaseException) -> None:
        """Tell why a partition waits; the same again is not told."""
        if self._known.get(number) is type(error):
            return
        self._known[number] = type(error)
        if not self._untold:
            asyncio.get_running_loop().call_later(TOLD_AFTER_S, self._tell)
        self._untold[number] = error

    def over(self, number: int) -> None:
        """Forget one that waits no more."""
        self._known.pop(number, None)

    def _tell(self) -> None:
        numbers, error = sorted(self._untold), next(iter(self._untold.values()))
        self._untold.clear()
        if len(numbers) == 1:
            told = facts("note", partition=numbers[0])
            self._log.warning("Partition %s waits %s: %r", *numbers, self._what, error, extra=told)
            return
        named = ", ".join(map(str, numbers[:NAMED]))
        more = f" and {len(numbers) - NAMED} more" if len(numbers) > NAMED else ""
        self._log.warning(
            "%s partitions wait %s: %s%s; the first: %r",
            len(numbers),
            self._what,
            named,
            more,
            error,
            extra=facts("note", partitions=numbers[:NAMED], count=len(numbers)),
        )
