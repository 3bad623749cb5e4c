"""`python -m tests.seeded_bugs [--only NAME] [--jobs N]`: plant each bug; its guard must fail."""

from __future__ import annotations

import argparse
import compileall
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from py_compile import PycInvalidationMode
from shutil import copytree, ignore_patterns
from typing import NamedTuple

import pytest

from tests.seeded_bugs.bugs import BUGS, Bug
from tests.world.profiles import PLANTED

ROOT = Path(__file__).resolve().parents[2]
TREES = ("app", "agents", "tables", "tests", "deploy", "docs")
FILES = ("pyproject.toml",)
OPTIONS = ("-q", "-x", "-rf", "--tb=short", "--no-header", "-p", "no:cacheprovider")


class Verdict(NamedTuple):
    """How the tests ended, and what they said."""

    code: int
    output: str


def main() -> int:
    """Exit status 1 when a bug is missed, 2 when a guard fails without one."""
    parser = argparse.ArgumentParser(prog="python -m tests.seeded_bugs")
    parser.add_argument("--only", help="name of a bug", choices=[bug.name for bug in BUGS])
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="copies to work in at once"
    )
    options = parser.parse_args()
    wanted = [bug for bug in BUGS if options.only in (None, bug.name)]
    jobs = min(options.jobs, len(wanted))
    since_s = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(jobs) as pool:
        trees = [_copied(Path(directory), f"copy-{number}") for number in range(jobs)]
        shares = [wanted[number::jobs] for number in range(jobs)]
        for verdict in pool.map(_without_bugs, shares, trees):
            if verdict.code != pytest.ExitCode.OK:
                _tell(f"{verdict.output}\nguards fail without a bug")
                return 2
        missed = sum(pool.map(_missed, shares, trees))
    spent_s = time.monotonic() - since_s
    _tell(f"{len(wanted) - missed} of {len(wanted)} bugs caught in {spent_s:.0f} s")
    return 1 if missed else 0


def _copied(directory: Path, name: str) -> Path:
    """Copy the program and its tests; return where they are.

    Compiled once. What is compiled counts as long as its source has the same hash.
    """
    tree = directory / name
    for part in TREES:
        copytree(ROOT / part, tree / part, ignore=ignore_patterns("__pycache__"))
    for part in FILES:
        (tree / part).write_bytes((ROOT / part).read_bytes())
    compileall.compile_dir(tree, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
    return tree


def _without_bugs(bugs: list[Bug], tree: Path) -> Verdict:
    return _run(tree, sorted({bug.guard for bug in bugs}))


def _missed(bugs: list[Bug], tree: Path) -> int:
    return sum(not _is_caught(bug, tree) for bug in bugs)


def _is_caught(bug: Bug, tree: Path) -> bool:
    path = tree / bug.file
    right = path.read_text()
    if right.count(bug.old) != 1:
        _tell(f"| {bug.name} | **not planted**: the text is there no more | |")
        return False
    path.write_text(right.replace(bug.old, bug.new))
    since_s = time.monotonic()
    try:
        code, output = _run(tree, [bug.guard])
    finally:
        path.write_text(right)
    # Any other code says that it was not there, or could not be run. An error after the last test
    # has the code of a test that failed, too.
    caught = code == pytest.ExitCode.TESTS_FAILED and "\nFAILED " in output
    said = "caught" if caught else f"**missed** ({code}): {output[-1000:]}"
    _tell(f"| {bug.name} | {said} | {time.monotonic() - since_s:.0f} s |")
    return caught


def _run(tree: Path, tests: Iterable[str]) -> Verdict:
    """Run them until one fails; each has its own time limit."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    command = [sys.executable, "-m", "pytest", *OPTIONS, f"--hypothesis-profile={PLANTED}", *tests]
    ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True)
    return Verdict(ended.returncode, ended.stdout.decode()[-4000:])


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
