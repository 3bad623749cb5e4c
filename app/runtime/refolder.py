"""Large refolds are fed in a child of the worker, so that its loop has time for live events.

The child has a share of a core. It reads the ledger, and asks for entries of the event index. What
it made it tells by small parts, which are taken over by turns. Whatever becomes of it, the events
that it did not feed are fed on the loop, as those of small refolds are.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, BinaryIO, Literal, cast

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.ledger.blocks import Located
from app.ledger.ledger import LedgerPart
from app.log import facts, told
from app.runtime import refold_process
from app.runtime.refold_process import (
    AskedIds,
    Done,
    Failed,
    FoundEntries,
    ToRead,
    encode_entries,
    ids_of,
    read_frame,
    write_packed,
)
from app.runtime.scanning.ledger_rows import LedgerRows
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import ScanTurn
from tables.event_index.entries import Entry
from tables.partition import refold_apart
from tables.partition.refold import Refold
from tables.partition.refold_apart import TakingOver

log = logging.getLogger(__name__)

FedBy = Literal["child", "loop"]
"""Where a large refold was fed: in the child, or on the loop because the child had failed."""

REFOLD_ON_LOOP_BYTES = 4 * 1024 * 1024
"""What the ledger has of a refold that is fed on the loop, at most: about 20,000 plain events. A
process takes a third of a second to start."""

REFOLD_SILENT_S = 60.0
"""For so long the process may say nothing, had it a core of its own; longer by its share of one. It
speaks after every 10,000 events, which a busy core feeds in a second."""

SHARE_BEHIND = 0.4
"""This part of its share is left to the child while a partition lags."""


class ChildFailed(RuntimeError):
    """The process that feeds a large refold says that it cannot."""


class Refolder:
    """The child of one worker; there is one at a time."""

    def __init__(self, share: float, lags: Callable[[], bool]):
        """Take which share of a core it may use, and whether a partition lags now."""
        self._share = share
        self._lags = lags
        self._one = asyncio.Lock()
        self.pid: int | None = None
        """Process id of the child that runs; None: none does."""
        self.fed: Counter[FedBy] = Counter()
        self.memory_bytes = 0
        """Most memory that the last child had."""

    async def feed(self, job: Refold, scan: Scan, turn: ScanTurn) -> None:
        """Have a child feed what the ledger has, if that is much; the scan goes on behind it."""
        if not self._share or not job.stands_alone or not await _is_large(scan):
            return
        async with self._one:
            # Files may have been merged meanwhile, and corrections may have come.
            if not job.stands_alone or not await _is_large(scan, anew=True):
                return
            try:
                await self._feed(job, scan, turn)
            except Exception as error:
                self.fed["loop"] += 1
                text = "A large refold of partition %s is fed on the loop, its process failed: %s"
                number = job.partition.number
                log.warning(text, number, told(error), extra=facts("note", partition=number))
                await turn.run(job.beginning())
            else:
                self.fed["child"] += 1

    async def _feed(self, job: Refold, scan: Scan, turn: ScanTurn) -> None:
        child = await ChildProcess.started(REFOLD_SILENT_S / self._share)
        self.pid = child.pid
        try:
            frames = self._frames(job, await scan.located(), scan.rows)
            while frame := await turn.run(_packed(frames)):
                await child.tell(frame)
            taking = TakingOver(job)
            while not isinstance(answer := await child.answer(), Done):
                if isinstance(answer, Failed):
                    raise ChildFailed(answer.reason)
                if isinstance(answer, AskedIds):
                    entries = await turn.run(_found(job, answer))
                    await child.tell(pickle.dumps(FoundEntries(entries, self.share_now)))
                else:
                    await turn.run(_taken(taking, answer))
            self.memory_bytes = answer.memory_bytes
            left = [part for part in await scan.located() if not isinstance(part.chunks, Located)]
            scan.take_over(answer.rows, left)
        finally:
            self.pid = None
            await child.end()

    def _frames(self, job: Refold, parts: list[LedgerPart], rows: LedgerRows) -> Iterator[object]:
        yield from refold_apart.told(job)
        durable = [(part.spans, part.chunks) for part in parts if isinstance(part.chunks, Located)]
        yield ToRead(durable, rows, job.partition.definitions.set_asides, self.share_now)

    @property
    def share_now(self) -> float:
        """Share of a core that the child may use from here on."""
        return self._share * (SHARE_BEHIND if self._lags() else 1)


_PROGRAM = f"from {refold_process.__name__} import main; main()"
"""Run as a module, its messages would be of other classes than ours."""


class ChildProcess:
    """The process, and the two pipes to it, which threads write and read."""

    def __init__(self, process: subprocess.Popen[bytes], silent_s: float):
        self._process = process
        self._writing = cast(BinaryIO, process.stdin)
        self._reading = cast(BinaryIO, process.stdout)
        self._silent_s = silent_s
        self.pid = process.pid

    @classmethod
    async def started(cls, silent_s: float) -> ChildProcess:
        """Start one that may be silent for so long. It needs no setting, and so gets no secret."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("METER_", "LAGO_"))
        }
        # In a thread and by vfork: a copy of the page tables would take the loop too long.
        process = await asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        return cls(process, silent_s)

    async def tell(self, frame: bytes) -> None:
        """Send a message. Raises OSError if it has ended, TimeoutError if it does not take it."""
        async with asyncio.timeout(self._silent_s):
            await asyncio.to_thread(write_packed, self._writing, frame)

    async def answer(self) -> Any:
        """Return its next message. Raises EOFError if it has ended, TimeoutError if silent."""
        async with asyncio.timeout(self._silent_s):
            return await asyncio.to_thread(read_frame, self._reading)

    async def end(self) -> None:
        """End it, however far it has come, and wait for its end unless cancelled."""
        self._process.kill()
        await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, self._reap))

    def _reap(self) -> None:
        self._process.wait()
        for pipe in (self._reading, self._writing):
            with suppress(OSError):
                pipe.close()


async def _is_large(scan: Scan, *, anew: bool = False) -> bool:
    parts = await scan.located(anew=anew)
    located = (part.chunks for part in parts if isinstance(part.chunks, Located))
    return sum(each.size for each in located) > REFOLD_ON_LOOP_BYTES


def _packed(frames: Iterator[object]) -> Steps[bytes]:
    """Return the next message; none is left: nothing."""
    yield
    frame = next(frames, None)
    return b"" if frame is None else pickle.dumps(frame)


def _found(job: Refold, asked: AskedIds) -> Steps[bytes]:
    """Return the entries of ids."""
    found: list[Entry | None] = []
    for some in batches(ids_of(asked), STEP_ITEMS):
        found += job.partition.index.find_many(some)
        yield
    return encode_entries(found)


def _taken(taking: TakingOver, part: refold_apart.Part) -> Steps[None]:
    taking.take(part)
    yield
