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

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0)
"""Seconds before an attempt is made again whose copy was killed or waited. What ends each of these
copies, and one more, fails: what is at fault is found in the end."""

WAITS_S: Final = 30.0
"""Seconds after which an attempt ends that waits, or hardly gets the processor. A fold waits for
nothing but local disk and locks that another thread held when the copy was made."""

_NUMBER: Final = struct.Struct("<q")
_DONE, _RAISED = -1, -2
_LEFT_ALONE: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NO_VERDICTS: Final = (-signal.SIGKILL, -signal.SIGALRM)
"""Ends of a copy that may have another cause than what was tried: the kernel kills whom it likes
when memory is short. An attempt that wants too much itself raises MemoryError before."""
_KILLED_FIRST: Final = Path("/proc/self/oom_score_adj")
_SIZES: Final = Path("/proc/self/statm")


async def first_failure(attempts: Sequence[Attempt]) -> Failed | None:
    """Make attempts in a copy of this process; nothing that they change is changed here.

    Each has `CAREFUL_TRIAL_S` and `CAREFUL_DATA_BYTES` of memory beside what there is. A copy that
    is killed, or waits, says nothing of what it tried: another one goes on there after a pause.

    Raises:
        OSError: no other copy can be made.
    """
    first = tries = 0
    while True:
        reading, writing = os.pipe()
        try:
            pid = _fork()
        except OSError as error:
            os.close(reading)
            os.close(writing)
            if tries:
                # What a copy was killed for might have this process killed.
                raise
            log.warning("No process can be begun to try events in, they are tried here: %s", error)
            return await first_failure_here(attempts)
        if pid == 0:
            _make_all(attempts[first:], writing)
        os.close(writing)
        told, code = await _end_of(pid, reading)
        failed = _failure_of(told, code)
        if failed is None:
            return None
        first += failed.number
        tries = 1 if failed.number else tries + 1
        if code not in _NO_VERDICTS or tries > len(PAUSES_S):
            return Failed(first, failed.reason)
        text = "A trial of events says nothing of them (%s), it is made again in %.0f s"
        log.warning(text, failed.reason, PAUSES_S[tries - 1])
        await asyncio.sleep(PAUSES_S[tries - 1])


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


def _fork() -> int:
    with warnings.catch_warnings():
        # Other threads hold no lock that an attempt needs; one that waits for ever is ended.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


async def _end_of(pid: int, reading: int) -> tuple[bytes, int]:
    """Return what a copy wrote, and its exit code; below 0: the signal that ended it."""
    try:
        told = await _all_of(reading)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(reading)
        ended = asyncio.get_running_loop().run_in_executor(None, os.waitpid, pid, 0)
    _, status = await ended
    return told, os.waitstatus_to_exitcode(status)


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
    if code == -signal.SIGPROF:
        return Failed(number, f"it takes longer than {CAREFUL_TRIAL_S:.0f} s")
    if code == -signal.SIGALRM:
        return Failed(number, f"it does not end within {WAITS_S:.0f} s")
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
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        _be_killed_first()
        for number, attempt in enumerate(attempts):
            os.write(writing, _NUMBER.pack(number))
            # Time of the processor: a machine that stands still is no fault of what is tried.
            signal.setitimer(signal.ITIMER_PROF, CAREFUL_TRIAL_S)
            signal.setitimer(signal.ITIMER_REAL, WAITS_S)
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


def _be_killed_first() -> None:
    """Have the kernel kill this copy, and not the worker, when it is short of memory."""
    with suppress(OSError):
        _KILLED_FIRST.write_text("1000")


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
