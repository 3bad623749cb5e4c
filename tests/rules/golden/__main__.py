"""`python -m tests.rules.golden`: tell which digests differ, or make files anew.

`--write` writes the digests, `--write-log` the logs and the digests. With `--dump DIRECTORY` the
records of each kind become a file: make it with two versions, and let `diff -r` tell which differ.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from tests.rules.golden import story, story_2
from tests.rules.golden.digests import digests_of, known_digests, rows, write_digests
from tests.rules.golden.folds import LOG, LOG_2, Rows


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.rules.golden", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the digests anew")
    parser.add_argument("--write-log", action="store_true", help="write the logs anew, too")
    parser.add_argument("--dump", type=Path, metavar="DIRECTORY", help="write the records there")
    asked = parser.parse_args()
    if asked.write_log:
        for log, told in ((LOG, story), (LOG_2, story_2)):
            log.definitions.write_bytes(told.definitions())
            log.events.write_bytes(told.events())
    if asked.write or asked.write_log:
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
