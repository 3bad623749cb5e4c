"""`python -m tests.seeded_bugs [--only NAME]`: plant each bug in a copy and see who catches it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import NamedTuple

from tests.seeded_bugs.bugs import BUGS, Bug
from tests.world.profiles import LONG

ROOT = Path(__file__).resolve().parents[2]
TREES = ("app", "agents", "tables", "tests", "deploy", "docs")
FILES = ("pyproject.toml",)
PATIENCE_S = 600


class Catch(NamedTuple):
    """Which tests caught it, and how they ended."""

    stage: str
    output: str


class Stage(NamedTuple):
    """Tests that are run together, the quick ones first."""

    name: str
    arguments: tuple[str, ...]


def _pytest(name: str, *arguments: str) -> Stage:
    quiet = ("-q", "-x", "--no-header", "-p", "no:cacheprovider", "-m", "not servers")
    return Stage(name, ("pytest", *quiet, f"--hypothesis-profile={LONG}", *arguments))


STAGES = (
    _pytest("recount", "tests/simulation/test_recount.py"),
    _pytest("vectors", "tests/conformance"),
    _pytest("stories", "tests/semantics", "tests/rules"),
    Stage("simulation", ("tests.simulation", "--seeds", "60")),
    _pytest("scripts", "tests/simulation", "-k", "not seeds_come"),
    _pytest(
        "units",
        *(
            "tests/app/offline/test_comparison.py",
            "tests/app/offline/test_fold.py",
            "tests/app/runtime/test_progress.py",
            "tests/app/wire/test_usage_records.py",
            "tests/app/test_numbers.py",
        ),
        *(
            "tests/tables",
            "tests/agents",
            "tests/app/kernel",
            "tests/app/wire",
            "tests/app/billing_periods",
            "tests/app/definitions",
            "tests/app/webhooks",
        ),
    ),
    _pytest("laws", "tests/laws"),
    _pytest(
        "surfaces",
        *("tests/app/page", "--ignore=tests/app/page/test_chromium.py", "tests/app/cli/lago"),
        *("tests/app/offline/test_statement.py", "tests/app/queries"),
        "tests/app/api/answering/test_csv.py",
    ),
    _pytest(
        "door",
        *(
            f"tests/app/api/http/test_{name}.py"
            for name in ("admission", "bodies", "connections", "gone_clients", "hosts")
        ),
    ),
)


def main() -> int:
    """Exit status 1 when a bug is missed, 2 when there is something wrong without one."""
    parser = argparse.ArgumentParser(prog="python -m tests.seeded_bugs")
    parser.add_argument("--only", help="name of a bug", choices=[bug.name for bug in BUGS])
    parser.add_argument("--jobs", type=int, default=1, help="how many copies to work in")
    options = parser.parse_args()
    wanted = [bug for bug in BUGS if options.only in (None, bug.name)]
    with tempfile.TemporaryDirectory() as directory:
        trees = [_copied(Path(directory), f"copy-{number}") for number in range(options.jobs)]
        if options.only is None and (caught := _caught(trees[0])) is not None:
            _tell(f"{caught.output}\nthe tree itself fails at {caught.stage}")
            return 2
        shares = [wanted[number :: options.jobs] for number in range(options.jobs)]
        with ThreadPoolExecutor(options.jobs) as pool:
            missed = sum(pool.map(_missed, shares, trees))
    _tell(f"{len(wanted) - missed} of {len(wanted)} bugs caught")
    return 1 if missed else 0


def _missed(bugs: list[Bug], tree: Path) -> int:
    return sum(not _is_caught(bug, tree) for bug in bugs)


def _copied(directory: Path, name: str) -> Path:
    """Copy the program and its tests; return where they are."""
    tree = directory / name
    for part in TREES:
        copytree(ROOT / part, tree / part, ignore=ignore_patterns("__pycache__"))
    for part in FILES:
        (tree / part).write_bytes((ROOT / part).read_bytes())
    return tree


def _is_caught(bug: Bug, tree: Path) -> bool:
    path = tree / bug.file
    right = path.read_text()
    if right.count(bug.old) != 1:
        _tell(f"| {bug.name} | {bug.file} | **not planted**: the text is there no more |")
        return False
    path.write_text(right.replace(bug.old, bug.new))
    since_s = time.monotonic()
    stages = (_pytest(bug.guard, bug.guard), *STAGES) if bug.guard else STAGES
    try:
        caught = _caught(tree, stages)
    finally:
        path.write_text(right)
    verdict = f"caught by {caught.stage}" if caught else "**missed**"
    _tell(f"| {bug.name} | {bug.file} | {verdict} | {time.monotonic() - since_s:.0f} s |")
    return caught is not None


def _caught(tree: Path, stages: Iterable[Stage] = STAGES) -> Catch | None:
    """The first stage that fails."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(tree),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
    }
    for stage in stages:
        command = [sys.executable, "-m", *stage.arguments]
        try:
            ended = subprocess.run(
                command, cwd=tree, env=environment, capture_output=True, timeout=PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            return Catch(f"{stage.name} (no end)", "")
        if ended.returncode:
            return Catch(stage.name, ended.stdout.decode()[-4000:])
    return None


def _tell(line: str) -> None:
    print(line, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
