"""`python -m tests.simulation --seeds N [--seed S]`: play seeds, report violations."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

from tests.simulation.many import Played, play_all, processors
from tests.simulation.script import script_of

TOLD_EVERY_S = 60.0


@dataclass
class Tally:
    """How far a run has come."""

    seeds: range
    done: set[int] = field(default_factory=set)
    faults: int = 0
    records: int = 0
    violated: int = 0
    interrupted: bool = False

    def interrupt(self, *_: object) -> None:
        """Handle a signal: end with what is being played, which an exception may not get out of."""
        self.interrupted = True

    def add(self, one: Played) -> None:
        """Count a seed in."""
        self.done.add(one.seed)
        self.faults += one.faults
        self.records += one.records
        self.violated += bool(one.violations)

    def __str__(self) -> str:
        return (
            f"{len(self.done)} of {len(self.seeds)} seeds, {self.faults} faults, "
            f"{self.records} usage records, {self.violated} seeds with violations"
        )

    @property
    def next(self) -> int:
        """The first seed that is not played yet."""
        return next(seed for seed in self.seeds if seed not in self.done)


def main() -> int:
    """Exit status 1 when anything is violated, 2 when not everything was played."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="play this one alone")
    parser.add_argument("--jobs", type=int, default=1, help="processes; 0: one a processor")
    parser.add_argument("--steps", action="store_true", help="print the steps played")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    if options.steps:
        for seed in seeds:
            print(*script_of(seed).steps, sep="\n")  # noqa: T201
    jobs = min(options.jobs or processors(), len(seeds))
    tally = Tally(seeds)
    for each in (signal.SIGINT, signal.SIGTERM):
        # In the background of a shell the first of them is ignored otherwise.
        signal.signal(each, tally.interrupt)
    _say(f"seeds {seeds.start} to {seeds.stop - 1}, processes: {jobs}")
    return _run(tally, play_all(seeds, jobs))


def _run(tally: Tally, played: Iterator[Played]) -> int:
    since_s = told_s = time.monotonic()
    why = ""
    try:
        for one in played:
            _tell_violations(one)
            tally.add(one)
            now_s = time.monotonic()
            if now_s - told_s >= TOLD_EVERY_S:
                told_s = now_s
                left = len(tally.seeds) - len(tally.done)
                left_s = (now_s - since_s) / len(tally.done) * left
                _say(f"{tally}, {now_s - since_s:.0f} s, about {left_s:.0f} s to go")
            if tally.interrupted and len(tally.done) < len(tally.seeds):
                why = "interrupted"
                break
    except BrokenProcessPool:
        why = "a process was killed"
    finally:
        played.close()  # type: ignore[attr-defined]
    took_s = time.monotonic() - since_s
    print(f"{tally}, {took_s:.0f} s", flush=True)  # noqa: T201
    if why:
        end = tally.seeds.stop
        rest = f"--first {tally.next} --seeds {end - tally.next}"
        _say(f"{why}: go on with python -m tests.simulation {rest} --jobs 0")
        return 2
    return 1 if tally.violated else 0


def _tell_violations(one: Played) -> None:
    for violation in one.violations:
        print(f"seed {one.seed}: {violation}", flush=True)  # noqa: T201
    if one.violations:
        print(f"  replay: python -m tests.simulation --seed {one.seed}", flush=True)  # noqa: T201


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is part of what a seed decides.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606
    sys.exit(main())
