"""Reports: how far each owned partition is, told to all workers outside its transactions.

The newest of each partition is enough. Outside, so that an open transaction of an owner that was
killed holds back nobody who reads `meter-progress`; and while brokers are away none is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from app.meter.errors import Unavailable
from app.runtime.progress import Progress, ProgressTable, Seal

RETRY_S = 0.5

Append = Callable[[str, bytes, bytes, int], Awaitable[object]]


class Reports:
    """What is to be told yet."""

    def __init__(self, topic: str, seal: Seal, append: Append):
        self._topic = topic
        self._seal = seal
        self._append = append
        self._newest: dict[int, Progress] = {}
        self._told = ProgressTable()
        """All that was ever told here."""
        self._wanted = asyncio.Event()

    def tell(self, progress: Progress) -> None:
        """Tell it soon, in place of what is not told yet of the partition."""
        # What was forwarded ahead of the flush stays acknowledged, and of the topic, which is
        # compacted, a worker that comes later reads the newest report alone.
        self._told.note(progress)
        self._newest[progress.partition] = self._told.of(progress.partition) or progress
        self._wanted.set()

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            told, self._newest = self._newest, {}
            # At once: they go in one request.
            taken = await asyncio.gather(*map(self._is_taken, told.values()))
            for progress, is_taken in zip(told.values(), taken, strict=True):
                if not is_taken and progress.partition not in self._newest:
                    self._newest[progress.partition] = progress
            if not all(taken):
                self._wanted.set()
                await asyncio.sleep(RETRY_S)

    async def _is_taken(self, progress: Progress) -> bool:
        """Append a report; return whether brokers took it."""
        key = str(progress.partition).encode()
        try:
            await self._append(self._topic, key, self._seal.close(progress), 0)
        except Unavailable:
            return False
        return True
