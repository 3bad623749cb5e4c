"""The command: plays rows, and prints what they spend at each size and how that grows."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

from bench.growth.rows import ROWS, Row
from bench.growth.spent import Spent
from bench.markdown import row as row_of
from bench.markdown import table

HEAD = (
    "operation",
    "what grows",
    "touched",
    "steps of the interpreter",
    "times, at 10",
    "times, at 100",
    "µs of CPU",
)


def line(row: Row, found: Iterable[Spent]) -> str:
    """Return a line of the table."""
    spent = list(found)
    kinds = sorted({kind for each in spent for kind in each.touched})
    touched = [f"{kind} {_three(e.touched.get(kind, 0) for e in spent)}" for kind in kinds]
    cells = [
        row.name,
        f"{row.grows} {_three(row.sizes)}",
        ", ".join(touched) or "nothing",
        _three(each.steps for each in spent),
        *(f"{each.steps / spent[0].steps:.2f}" for each in spent[1:]),
        _three(each.cpu_us for each in spent),
    ]
    return row_of(cells)


def _three(numbers: Iterable[float]) -> str:
    return " / ".join(f"{number:,.0f}" for number in numbers)


def main() -> None:
    """Play the rows that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help="parts of names")
    wanted = parser.parse_args().rows
    print(*table(HEAD, ()), sep="\n")
    for row in ROWS:
        if not wanted or any(part in row.name for part in wanted):
            print(line(row, [row.play(size) for size in row.sizes]), flush=True)


if __name__ == "__main__":
    main()
