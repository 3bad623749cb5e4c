"""Try attempts that may end their process in a copy of this process.

A crash in C code, a kill for want of memory or an endless call is then an answer like any other.
This process learns from the copy which attempt caused it (bounded-work §1.4).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import struct
import warnings
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from app.bounds.limits import CAREFUL_DATA_BYTES, CAREFUL_TRIAL_S

log = logging.getLogger(__name__)

Attempt = Callable[[], object]


class Failed(NamedTuple):
    """An attempt that raised, took too long or ended its process."""

    number: int
    reason: str


FirstFailure = Callable[[Sequence[Attempt]], Awaitable[Failed | None]]
"""Makes attempts one after another, up to the first that fails."""

_NUMBER: Final = struct.Struct("<q")
_DONE, _RAISED = -1, -2
_LEFT_ALONE: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SIZES: Final = Path("/proc/self/statm")


async def first_failure(attempts: Sequence[Attempt]) -> Failed | None:
    """Make attempts in a copy of this process; nothing that they change is changed here.

    Each has `CAREFUL_TRIAL_S` and `CAREFUL_DATA_BYTES` of memory beside what there is.
    """
    reading, writing = os.pipe()
    try:
        with warnings.catch_warnings():
            # Other threads hold no lock that an attempt needs; one that waits for ever is ended.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        log.warning("No process can be begun to try events in, they are tried here: %s", error)
        return await first_failure_here(attempts)
    if pid == 0:
        _make_all(attempts, writing)
    os.close(writing)
    try:
        told = await _all_of(reading)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        ended = asyncio.get_running_loop().run_in_executor(None, os.waitpid, pid, 0)
    _, status = await ended
    return _failure_of(told, os.waitstatus_to_exitcode(status))


class Together:
    """Makes the attempts of all who wait in one copy: it costs what the process has in memory."""

    def __init__(self, first_failure: FirstFailure):
        self._first_failure = first_failure
        self._turn = asyncio.Lock()
        self._waiting: list[_Asked] = []

    async def first_failure(self, attempts: Sequence[Attempt]) -> Failed | None:
        """Make attempts one after another, up to the first that fails."""
        asked = _Asked(attempts)
        self._waiting.append(asked)
        try:
            async with self._turn:
                while not asked.answered:
                    await self._answer()
        finally:
            asked.answered = True
        return asked.failed

    async def _answer(self) -> None:
        """Answer those who wait: all, or up to the first of them that fails."""
        asking = [each for each in self._waiting if not each.answered]
        self._waiting = []
        try:
            failed = await self._first_failure([one for each in asking for one in each.attempts])
        except BaseException:
            self._waiting = asking + self._waiting
            raise
        first = 0
        for at, each in enumerate(asking):
            end = first + len(each.attempts)
            each.answered = True
            if failed is not None and failed.number < end:
                each.failed = Failed(failed.number - first, failed.reason)
                self._waiting = asking[at + 1 :] + self._waiting
                break
            first = end


class _Asked:
    """Attempts of one who waits."""

    def __init__(self, attempts: Sequence[Attempt]):
        self.attempts = attempts
        self.answered = False
        """Also of who waits no longer."""
        self.failed: Failed | None = None


async def first_failure_here(attempts: Sequence[Attempt]) -> Failed | None:
    """Make attempts in this very process; an attempt that ends the process is not found."""
    for number, attempt in enumerate(attempts):
        try:
            _make(attempt)
        except Exception as error:
            return Failed(number, repr(error))
        await asyncio.sleep(0)
    return None


async def _all_of(reading: int) -> bytes:
    loop = asyncio.get_running_loop()
    told, whole = bytearray(), loop.create_future()

    def take() -> None:
        chunk = os.read(reading, 65_536)
        told.extend(chunk)
        if not chunk and not whole.done():
            whole.set_result(None)

    loop.add_reader(reading, take)
    try:
        await whole
    finally:
        loop.remove_reader(reading)
    return bytes(told)


def _failure_of(told: bytes, code: int) -> Failed | None:
    """Return the failure that the copy wrote: attempt numbers, then the end of the last attempt."""
    number = 0
    for at in range(0, len(told) - len(told) % _NUMBER.size, _NUMBER.size):
        (mark,) = _NUMBER.unpack_from(told, at)
        if mark == _DONE:
            return None
        if mark == _RAISED:
            return Failed(number, told[at + _NUMBER.size :].decode(errors="replace"))
        number = mark
    if code == -signal.SIGALRM:
        return Failed(number, f"it takes longer than {CAREFUL_TRIAL_S:.0f} s")
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return Failed(number, f"it ends the process ({how})")


def _make_all(attempts: Sequence[Attempt], writing: int) -> NoReturn:
    """Make all attempts, write each number and the end, then exit; runs in the copy only."""
    try:
        # Collecting would touch, and so copy, all memory.
        gc.disable()
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.set_wakeup_fd(-1)
        for each in _LEFT_ALONE:
            # Its parent is told to end, and sees to it.
            signal.signal(each, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        for number, attempt in enumerate(attempts):
            os.write(writing, _NUMBER.pack(number))
            signal.setitimer(signal.ITIMER_REAL, CAREFUL_TRIAL_S)
            _limit_memory()
            _make(attempt)
        os.write(writing, _NUMBER.pack(_DONE))
    except BaseException as error:
        _unlimit_memory()
        os.write(writing, _NUMBER.pack(_RAISED) + repr(error).encode(errors="replace"))
    finally:
        os._exit(0)


def _make(attempt: Attempt) -> None:
    """Make an attempt. A disk that cannot be read is no fault of what is tried."""
    with suppress(OSError):
        attempt()


def _limit_memory() -> None:
    """Limit data memory, so that want of memory raises MemoryError instead of a kill."""
    if not _SIZES.exists():
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = int(_SIZES.read_text().split()[5]) * resource.getpagesize() + CAREFUL_DATA_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard < 0 else min(most, hard), hard))


def _unlimit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
