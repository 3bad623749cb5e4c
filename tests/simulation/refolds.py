"""Refolds as large ones are fed, in a simulation: by the child's own code, in this process."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any, BinaryIO

from app.runtime.refold_process import Child, read_frame, write_packed


class ChildHere:
    """The child as a thread that runs only while the loop waits for its answer."""

    pid = 0

    def __init__(self) -> None:
        self._pipes: list[BinaryIO] = []
        reading, self._telling = self._pipe()
        self._hearing, writing = self._pipe()
        self._thread = threading.Thread(target=_run, args=(reading, writing), daemon=True)
        self._thread.start()

    def _pipe(self) -> tuple[BinaryIO, BinaryIO]:
        reading, writing = os.pipe()
        pipe = os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
        self._pipes += pipe
        return pipe

    @classmethod
    async def started(cls, silent_s: float) -> ChildHere:
        return cls()

    async def tell(self, frame: bytes) -> None:
        write_packed(self._telling, frame)

    async def answer(self) -> Any:
        return read_frame(self._hearing)

    async def end(self) -> None:
        # It finds nobody at the other end of either.
        self._telling.close()
        self._hearing.close()
        self._thread.join()
        for pipe in self._pipes:
            pipe.close()


def _run(reading: BinaryIO, writing: BinaryIO) -> None:
    try:
        Child(reading, writing).run()
    except (EOFError, OSError):
        # Whoever began it is killed, or the ledger is torn.
        pass
    finally:
        with suppress(OSError):
            writing.close()
