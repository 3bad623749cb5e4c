"""Many seeds, one after the other or in several processes, each as it would be alone."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import chain
from multiprocessing import get_context
from typing import NamedTuple, NoReturn

from tests.simulation.play import play
from tests.simulation.script import script_of

AT_ONCE = 2
"""Seeds that a process is given at a time, a second of work: an interruption waits for them."""

LONGEST_S = 120.0
"""Processor time of one seed, which takes half a second."""


class Played(NamedTuple):
    """What a seed came to."""

    seed: int
    faults: int
    records: int
    violations: list[str]


class Endless(SystemExit):
    """Nothing in between may take it for a failure of its own."""


def played(seed: int) -> Played:
    """Play one seed."""
    script = script_of(seed)
    records = 0
    # Worlds hold files, and the collector comes by ever more seldom. A worker that rests has it
    # pass over what there is, also of the worlds before.
    gc.unfreeze()
    _begin()
    try:
        with _ends_within(LONGEST_S):
            outcome = play(script, seed)
            records, violations = len(outcome.records), outcome.check()
    except (Exception, Endless) as error:
        violations = [f"the simulation broke off: {error!r}"]
    return Played(seed, script.faults, records, violations)


def play_all(seeds: Sequence[int], processes: int) -> Iterator[Played]:
    """Play them in this process, or share them among several; those that are done first come first.

    Left before the end, it waits for what is being played.
    """
    if processes == 1:
        _begin()
        yield from map(played, seeds)
        return
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin_in_pool)
    try:
        shares = [pool.submit(_played_share, share) for share in _shares(seeds)]
        yield from chain.from_iterable(map(Future.result, as_completed(shares)))
    finally:
        pool.shutdown(cancel_futures=True)


def _shares(seeds: Sequence[int]) -> Iterator[Sequence[int]]:
    return (seeds[at : at + AT_ONCE] for at in range(0, len(seeds), AT_ONCE))


def _played_share(seeds: Sequence[int]) -> list[Played]:
    return [played(seed) for seed in seeds]


def _begin_in_pool() -> None:
    # Who interrupts the run means the process that shares the seeds out.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _begin()


def _begin() -> None:
    """What is imported by now stays: the collector need not walk it again and again."""
    gc.collect()
    gc.freeze()


@contextmanager
def _ends_within(longest_s: float) -> Iterator[None]:
    def end(*_: object) -> NoReturn:
        raise Endless(f"no end after {longest_s:.0f} s of processor time")

    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, longest_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
