"""`python -m tests.simulation --seeds N [--seed S]`: play seeds, report violations."""

from __future__ import annotations

import argparse
import os
import sys
import time

from tests.simulation.play import play
from tests.simulation.script import script_of


def violations_of(seed: int) -> list[str]:
    """Play one seed."""
    try:
        return play(script_of(seed), seed).check()
    except Exception as error:
        return [f"the simulation broke off: {error!r}"]


def main() -> int:
    """Exit status 1 when anything is violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=500, help="how many seeds to play")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="play this one alone")
    parser.add_argument("--steps", action="store_true", help="print the steps played")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    if options.seed is not None:
        seeds = range(options.seed, options.seed + 1)
    violated, since_s = 0, time.monotonic()
    for done, seed in enumerate(seeds, 1):
        if options.steps:
            print(*script_of(seed).steps, sep="\n")  # noqa: T201
        found = violations_of(seed)
        for violation in found:
            print(f"seed {seed}: {violation}", flush=True)  # noqa: T201
        if found:
            violated += 1
            print(f"  replay: python -m tests.simulation --seed {seed}", flush=True)  # noqa: T201
        if done % 100 == 0:
            took_s = time.monotonic() - since_s
            print(  # noqa: T201
                f"{done} of {len(seeds)} seeds, {violated} with violations, {took_s:.0f} s",
                file=sys.stderr,
            )
    print(f"{len(seeds)} seeds, {violated} with violations")  # noqa: T201
    return 1 if violated else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is part of what a seed decides.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])  # noqa: S606
    sys.exit(main())
