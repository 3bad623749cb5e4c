"""Coverage-guided fuzzing of `targets.py` with atheris.

    python -m tests.fuzz [--seconds 600] [target ...]

Each target runs in a process of its own. What it finds is written to `tests/fuzz/corpus/<target>`,
so that it is a case of the suite from then on; inputs that only reach new code go to `.fuzz`, which
is the next run's beginning.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REACHED = ROOT / ".fuzz"
INSIDE = "--inside"
"""Before the name of a target that is run in this process, and what libFuzzer is told."""
LONGEST_S = 30
"""An input that has no end is stopped after so long; one over its time is found by `check`."""


def fuzz(name: str, arguments: list[str]) -> None:
    """Run one target in this process; libFuzzer ends it."""
    # It has no types, and is not everywhere.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["app", "tables"]):
        from tests.fuzz.targets import TARGETS, WITHIN_BYTES, check
    logging.disable(logging.CRITICAL)
    target = TARGETS[name]

    def one(data: bytes) -> None:
        check(target, data)

    atheris.Setup([sys.argv[0], *arguments], one)
    _limit_memory(WITHIN_BYTES)
    atheris.Fuzz()


def _limit_memory(most: int) -> None:
    """Want of memory is an exception from now on, and so a find."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * resource.getpagesize() + most
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def main() -> int:
    """Run the targets one after another; the number of those with a find."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("NOTHING WAS FUZZED: atheris is not installed; it has wheels for Linux.\n")
        return 2
    from tests.fuzz.targets import CORPUS, TARGETS

    unknown = set(options.targets) - set(TARGETS)
    if unknown:
        parser.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    found = 0
    for name in options.targets or TARGETS:
        print(f"== {name}, {options.seconds} s", flush=True)  # noqa: T201
        (REACHED / name).mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tests.fuzz", INSIDE, name]
        command += [
            f"-max_total_time={options.seconds}",
            f"-timeout={LONGEST_S}",
            "-max_len=4096",
            "-print_final_stats=1",
            "-verbosity=0",
            f"-artifact_prefix={CORPUS / name}/found-",
            str(REACHED / name),
            str(CORPUS / name),
        ]
        found += subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    print(f"{found} targets with a find" if found else "nothing found")  # noqa: T201
    return min(found, 1)


if __name__ == "__main__":
    if sys.argv[1:2] == [INSIDE]:
        fuzz(sys.argv[2], sys.argv[3:])
    else:
        sys.exit(main())
