"""What an attempt does to its process is an answer, whatever it is."""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import os
import signal
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

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


def sleeps() -> None:
    time.sleep(3_600)


def waits_in_vain() -> None:
    """Sleep; all that the others do has its time, however busy the machine is."""
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(3_600)


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
        (sleeps, "it does not end within 0 s"),
        (leaves, "it ends the process (exit code 3)"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
async def test_the_first_that_fails_is_told(
    monkeypatch: pytest.MonkeyPatch, attempt: Callable[[], None], reason: str
) -> None:
    monkeypatch.setattr("app.runtime.apart.CAREFUL_TRIAL_S", 0.2)
    monkeypatch.setattr("app.runtime.apart.WAITS_S", 0.4 if attempt is sleeps else 60.0)
    monkeypatch.setattr("app.runtime.apart.PAUSES_S", (0.0, 0.0))
    made: list[int] = []
    attempts = [lambda: made.append(0), lambda: made.append(1), attempt, raises]
    assert await first_failure(attempts) == Failed(2, reason)
    assert made == []


def ended(made: Path, name: str, times: int, end: Callable[[], None]) -> None:
    """Come to an end from without the first times that it is made; note each time."""
    with made.open("a") as file:
        file.write(name)
    if made.read_text().count(name) <= times:
        end()


@pytest.mark.parametrize("end", [is_killed, waits_in_vain])
async def test_what_is_killed_from_without_is_made_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, end: Callable[[], None]
) -> None:
    """As often as there are pauses; another goes on where the copy was, and has as many."""
    monkeypatch.setattr("app.runtime.apart.PAUSES_S", (0.0, 0.0))
    made = tmp_path / "made"
    given = [("a", 0), ("b", 2), ("c", 0), ("d", 2), ("e", 0)]
    attempts: list[Attempt] = [partial(ended, made, *each, end) for each in given]
    assert await first_failure(attempts) is None
    assert made.read_text() == "abbbcddde"
    made.unlink()
    attempts[3] = partial(ended, made, "d", 3, end)
    failed = await first_failure(attempts)
    assert failed is not None
    assert failed.number == 3
    assert made.read_text() == "abbbcddd"


async def test_who_waits_uses_no_time_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while the machine stands still."""
    monkeypatch.setattr("app.runtime.apart.CAREFUL_TRIAL_S", 0.1)
    assert await first_failure([partial(time.sleep, 0.5)]) is None


async def test_what_ended_a_copy_is_not_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runtime.apart.PAUSES_S", (0.0,))
    forks = iter([os.fork])

    def fork() -> int:
        for really in forks:
            return really()
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr("os.fork", fork)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        await first_failure([is_killed])


async def test_the_kernel_kills_the_copy_before_the_worker() -> None:
    adjusted = Path("/proc/self/oom_score_adj")
    if not adjusted.exists():
        pytest.skip("not this kernel")

    def told() -> None:
        raise ValueError(int(adjusted.read_text()))

    assert await first_failure([told]) == Failed(0, "ValueError(1000)")


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
