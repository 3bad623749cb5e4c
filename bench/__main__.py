"""What `make bench` runs: the contest, or by name what else is measured.

python -m bench [PART,PART ...] [options of bench.contest]
"""

from __future__ import annotations

import subprocess
import sys

PARTS = {
    "contest": ("contest",),
    "decode": ("decode",),
    "dedupe": ("dedupe", "1000000"),
    "fold": ("fold",),
    "pairs": ("pairs",),
    "charges": ("charges",),
    "spellings": ("spellings",),
    "copies": ("copies",),
    "instants": ("instants",),
    "closing": ("closing",),
    "latency": ("latency",),
    "restore": ("restore",),
    "definitions": ("definitions",),
    "subscriptions": ("subscriptions",),
    "idle": ("idle",),
    "rebalance": ("rebalance",),
    "start": ("index_start",),
    "waiting": ("waiting",),
    "growth": ("growth",),
    # Its rows tell of corrections and refolds, too.
    "refold": ("growth",),
    "large_refold": ("large_refold",),
    "ledger": ("ledger",),
    "transport": ("transport",),
    "page": ("page",),
    # Both are what `restore` tells.
    "close": ("restore",),
    "memory": ("restore",),
}
"""Each part, with the module that measures it and its arguments."""


def main(arguments: list[str]) -> int:
    """Run the parts that are named; return the first exit code that is not 0."""
    named = arguments.pop(0).split(",") if arguments and arguments[0][:1] != "-" else ["contest"]
    unknown = [part for part in named if part not in PARTS]
    if unknown:
        print(f"{', '.join(unknown)}: there is {', '.join(PARTS)}", file=sys.stderr)
        return 2
    commands = dict.fromkeys(PARTS[part] for part in named)
    for module, *own in commands:
        options = arguments if module == "contest" else own
        done = subprocess.run([sys.executable, "-m", f"bench.{module}", *options])
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
