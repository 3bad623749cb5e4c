"""Run every attack of `tests/attacks` on a real worker, and write what each cost: bench/attacks.md.

    python -m bench.attacks [arguments for pytest]

Cases are held to the budgets as they stand (ATTACK_SLACK=1 unless it is set); one over a budget
is in the table all the same, in bold, and the exit code is that of pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import psutil

from bench.markdown import table
from tests.attacks.victim import MEBIBYTE, QUERY_P99_S, VISIBLE_P99_S, Told

ROOT = Path(__file__).resolve().parent.parent
HEAD = ("case", "stall by histogram", "stall by probe", "memory", "query p99", "visible p99")
TABLE = ROOT / "bench" / "attacks.md"
NO_ATTACK = "tests/attacks/test_quiet.py::test_a_worker_that_stands_still_is_noticed"
"""It stops the worker itself, to see the kit notice."""


def table_of(told: Iterable[Told]) -> list[str]:
    """Rows of Markdown; what is over its budget is bold."""
    rows = []
    for each in told:
        case = each.case.removeprefix("tests/attacks/test_").replace(".py::test_", ": ")
        cells = [
            case.replace("_", " "),
            _ms(each.stall_s, each.most_stall_s),
            _ms(each.probe_s, each.most_stall_s + 0.05),
            _of(
                f"{each.grown_bytes / MEBIBYTE:+.0f} of {each.most_grown_bytes / MEBIBYTE:.0f} MiB",
                each.grown_bytes > each.most_grown_bytes,
            ),
            _ms(each.query_p99_s, QUERY_P99_S),
            _ms(each.visible_p99_s, VISIBLE_P99_S),
        ]
        rows.append(cells)
    return table(HEAD, rows)


def _ms(taken_s: float, most_s: float) -> str:
    return _of(f"{taken_s * 1000:.0f} of {most_s * 1000:.0f} ms", taken_s > most_s)


def _of(text: str, over: bool) -> str:
    return f"**{text}**" if over else text


def main(arguments: list[str]) -> int:
    """Run, write, and answer as pytest did."""
    with tempfile.TemporaryDirectory() as directory:
        report = Path(directory) / "report"
        report.touch()
        began_load = psutil.getloadavg()[0]
        command = [sys.executable, "-m", "pytest", "-q", "--deselect", NO_ATTACK, *arguments]
        if not any(each.startswith("tests/") for each in arguments):
            command.append("tests/attacks")
        ended = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "ATTACK_REPORT": str(report)}, check=False
        )
        lines = report.read_bytes().splitlines()
    told = [msgspec.json.decode(line, type=Told) for line in lines]
    result = "all passed" if ended.returncode == 0 else f"pytest ended with {ended.returncode}"
    text = [
        "# Attacks: what each costs the worker and the organization beside it",
        "",
        "`make attacks` wrote this: each case of `tests/attacks` on a production worker in its own",
        "process, a second organization at work beside it. *Measured of budget*; bold is over it.",
        "Query and *visible* (from sending an event to an answer that counts it) are the second",
        "organization's, p99. The stall by histogram is the upper bound of its bucket, by probe",
        "how long `/health/live` took at most, asked every 20 ms from outside. While the worker or",
        "the second organization waits for a core, no time counts.",
        "",
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, load {began_load:.1f} at the start;",
        f"{len(told)} cases measured, {result}.",
        "",
        *table_of(told),
        "",
    ]
    TABLE.write_text("\n".join(text))
    print(f"wrote {TABLE.relative_to(ROOT)}")
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
