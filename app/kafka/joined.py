"""Questions to brokers that are put together: who waits for an answer is asked for in the next.

Brokers take the requests of a connection one by one, and a fetch may wait there for what comes. So
an answer takes as long however many keys it tells of, and each request costs both sides the same.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from time import monotonic
from typing import Final, Generic, TypeVar

from aiokafka.errors import KafkaError, LeaderNotAvailableError

Key = TypeVar("Key")
Answer = TypeVar("Answer")

_AGAIN_S: Final = 0.2

log = logging.getLogger(__name__)


class Joined(Generic[Key, Answer]):
    """Asks for many at once, one request at a time."""

    def __init__(self, ask: Callable[[Collection[Key]], Awaitable[Mapping[Key, Answer]]]):
        """Take how brokers are asked for some keys."""
        self._ask = ask
        self._next = _Question[Key, Answer]()
        self._asking = asyncio.Lock()

    async def answers(self, keys: Iterable[Key]) -> dict[Key, Answer]:
        """Return what brokers answer for these keys, asked for after this call.

        Keys that they tell nothing of are left out.

        Raises:
            KafkaError: they do not answer.
        """
        wanted, question = set(keys), self._next
        question.keys |= wanted
        async with self._asking:
            if question.answers is None:
                # Who comes from here on was not asked for.
                self._next = _Question()
                try:
                    question.answers = await self._ask(question.keys)
                except KafkaError as error:
                    # One that has no leader is no matter of the others.
                    log.warning(
                        "Brokers were asked about %s partitions at once, and are asked about each "
                        "again: %r",
                        len(question.keys),
                        error,
                    )
                    question.answers, question.failed = {}, True
        told = await self._ask(wanted) if question.failed else question.answers
        return {key: told[key] for key in wanted & told.keys()}

    async def all_answers(self, keys: Collection[Key], within_s: float) -> dict[Key, Answer]:
        """Return the answers for all of these keys: others are asked for while these are waited on.

        Raises:
            LeaderNotAvailableError: brokers still tell nothing of one after so long.
            KafkaError: they do not answer.
        """
        until_s = monotonic() + within_s
        while left := set(keys) - (told := await self.answers(keys)).keys():
            if monotonic() >= until_s:
                raise LeaderNotAvailableError(", ".join(sorted(map(str, left))))
            await asyncio.sleep(_AGAIN_S)
        return told


class _Question(Generic[Key, Answer]):
    """Keys that are asked for at once."""

    def __init__(self) -> None:
        self.keys: set[Key] = set()
        self.answers: Mapping[Key, Answer] | None = None
        self.failed = False
