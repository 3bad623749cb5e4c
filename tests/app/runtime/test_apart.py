"""What an attempt does to its process is an answer, whatever it is."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import signal
from collections.abc import Callable, Sequence

import pytest

from app.runtime.apart import (
    Attempt,
    Failed,
    FirstFailure,
    Together,
    first_failure,
    first_failure_here,
)


def raises() -> None:
    raise ValueError("no number")


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crashes() -> None:
    # Its stack would stand in the output of the tests as if something were wrong.
    faulthandler.disable()
    ctypes.string_at(0)


def takes_memory() -> None:
    bytearray(1 << 40)


def never_returns() -> None:
    sum(range(1 << 60))


def leaves() -> None:
    os._exit(3)


def cannot_read() -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("first", [first_failure, first_failure_here])
async def test_a_disk_that_cannot_be_read_is_no_fault_of_what_is_tried(
    first: FirstFailure,
) -> None:
    assert await first([cannot_read]) is None
    assert await first([cannot_read, raises]) == Failed(1, "ValueError('no number')")


@pytest.mark.parametrize(
    ("attempt", "reason"),
    [
        (raises, "ValueError('no number')"),
        (is_killed, "it ends the process (SIGKILL)"),
        (crashes, "it ends the process (SIGSEGV)"),
        (takes_memory, "MemoryError()"),
        (never_returns, "it takes longer than 0 s"),
        (leaves, "it ends the process (exit code 3)"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_the_first_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, attempt: Callable[[], None], reason: str
) -> None:
    monkeypatch.setattr("app.runtime.apart.CAREFUL_TRIAL_S", 0.2)
    made: list[int] = []
    attempts = [lambda: made.append(0), lambda: made.append(1), attempt, raises]
    assert await first_failure(attempts) == Failed(2, reason)
    assert made == []


async def test_none_fails() -> None:
    assert await first_failure([lambda: None] * 20_000) is None
    assert await first_failure([]) is None


async def test_without_processes_they_are_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("os.fork", refused)
    made: list[int] = []
    attempts = [lambda: made.append(0), raises, lambda: made.append(1)]
    assert await first_failure(attempts) == Failed(1, "ValueError('no number')")
    assert made == [0]
    assert await first_failure_here([]) is None


class Copies:
    """Makes attempts here; notes how many were asked for together, and waits until it may."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.may = asyncio.Event()

    async def first_failure(self, attempts: Sequence[Attempt]) -> Failed | None:
        self.asked.append(len(attempts))
        await self.may.wait()
        return await first_failure_here(attempts)


def fine() -> None:
    pass


async def asking(together: Together, *attempts: Attempt) -> asyncio.Task[Failed | None]:
    asked = asyncio.create_task(together.first_failure(attempts))
    await asyncio.sleep(0)
    return asked


async def test_all_who_wait_share_a_copy_of_the_process() -> None:
    copies = Copies()
    together = Together(copies.first_failure)
    tasks = [await asking(together, *[fine] * count) for count in (1, 2, 0, 3)]
    copies.may.set()
    assert await asyncio.gather(*tasks) == [None] * 4
    assert copies.asked == [1, 5]


async def test_each_is_told_of_its_own_failure() -> None:
    """What comes after a failure is tried again, without what was answered."""
    copies = Copies()
    together = Together(copies.first_failure)
    given = [(fine,), (fine, fine), (fine, raises, fine), (fine,), (raises,), (fine,)]
    tasks = [await asking(together, *attempts) for attempts in given]
    copies.may.set()
    reason = "ValueError('no number')"
    assert await asyncio.gather(*tasks) == [
        None, None, Failed(1, reason), None, Failed(0, reason), None
    ]  # fmt: skip
    assert copies.asked == [1, 8, 3, 1]


async def test_whoever_waits_no_longer_leaves_the_others_their_answers() -> None:
    copies = Copies()
    together = Together(copies.first_failure)
    first, second, third = [await asking(together, fine) for _ in range(3)]
    second.cancel()
    await asyncio.sleep(0)
    first.cancel()
    copies.may.set()
    assert await third is None
    assert copies.asked == [1, 1]
    with pytest.raises(asyncio.CancelledError):
        await first
