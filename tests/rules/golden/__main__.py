"""`python -m tests.rules.golden`: tell which digests differ, or write them anew.

With `--dump DIRECTORY` the records of each kind become a file: make it with two versions, and let
`diff -r` tell which differ.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tests.rules.golden.digests import digests_of, known_digests, rows, write_digests
from tests.rules.golden.folds import Rows


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.rules.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the digests anew")
    parser.add_argument("--dump", type=Path, metavar="DIRECTORY", help="write the records there")
    asked = parser.parse_args()
    if asked.write:
        write_digests()
    made = rows()
    if asked.dump is not None:
        _dump(made, asked.dump)
    known, found = known_digests(), digests_of(made)
    differing = sorted(kind for kind in known.keys() | found if known.get(kind) != found.get(kind))
    sys.stdout.writelines(f"{kind}: other bytes than committed\n" for kind in differing)
    return bool(differing)


def _dump(made: Rows, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for kind, records in made.items():
        lines = [re.sub(r"^b['\"]|['\"]$", "", repr(record)) + "\n" for record in records]
        (directory / kind.replace(" ", "-")).write_text("".join(lines))


if __name__ == "__main__":
    sys.exit(main())
