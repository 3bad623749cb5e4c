"""What each event costs most, compiled from C: records of a batch, plain events, ids, the head of
the index, the straight way to a cell, values, digests, members, and cells as they are written. Its
twin in Python has the same functions.

It imports nothing of ours and decides nothing. METER_KERNEL=python uses the twin.
"""

from __future__ import annotations

import os
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from types import ModuleType

from app.kernel import twin
from app.kernel.twin import EARLY_MS as EARLY_MS


def _chosen() -> tuple[ModuleType, str]:
    """Return the module to use, and what it is called."""
    if os.environ.get("METER_KERNEL") == "python":
        return twin, "python, as METER_KERNEL says"
    try:
        compiled = import_module(f"{__name__}._kernel")
    except ImportError:
        return twin, "python, for none was compiled"
    texts = (path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.[ch]")))
    if sha256(b"".join(texts)).hexdigest() != compiled.SOURCE:
        return twin, "python, for another source was compiled: run make setup"
    return compiled, "compiled"


chosen, described = _chosen()
checksum = chosen.checksum
split = chosen.split
arrive = chosen.arrive
arrive_many = chosen.arrive_many
arrive_forwards = chosen.arrive_forwards
note_leaving = chosen.note_leaving
learn = chosen.learn
learn_state = chosen.learn_state
reach_of = chosen.reach_of
event_ids = chosen.event_ids
index_rows = chosen.index_rows
take_run = chosen.take_run
take_operations = chosen.take_operations
lead = chosen.lead
apart = chosen.apart
by_literals = chosen.by_literals
fold_led = chosen.fold_led
pack_cells = chosen.pack_cells
Head = chosen.Head
maybe_among = chosen.maybe_among
row_among = chosen.row_among
write_plain = chosen.write_plain
