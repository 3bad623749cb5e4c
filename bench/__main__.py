"""What `make bench` runs: the contest, or by name what else is measured.

python -m bench [PART,PART ...] [options of bench.contest]
"""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    *("contest", "dedupe", "pairs", "charges", "spellings", "copies", "instants"),
    *("closing", "latency", "restore", "definitions", "subscriptions", "idle", "rebalance"),
    *("waiting", "growth", "large_refold", "ledger", "transport", "page"),
)
OTHERWISE = {
    "start": "index_start",
    "decode": "pairs",
    "fold": "pairs",
    "refold": "growth",
    "close": "restore",
    "memory": "restore",
}
PARTS = {name: name for name in MODULES} | OTHERWISE
"""Each part, with the module that measures it."""


def main(arguments: list[str]) -> int:
    """Run the parts that are named; return the first exit code that is not 0."""
    named = arguments.pop(0).split(",") if arguments and arguments[0][:1] != "-" else ["contest"]
    unknown = [part for part in named if part not in PARTS]
    if unknown:
        print(f"{', '.join(unknown)}: there is {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for module in dict.fromkeys(PARTS[part] for part in named):
        options = arguments if module == "contest" else []
        done = subprocess.run([sys.executable, "-m", f"bench.{module}", *options])
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
