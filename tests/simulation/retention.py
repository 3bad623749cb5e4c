"""What seeds from `RETENTION_FROM` on have beside: retention takes events that are folded.

No state is damaged there, for it could not be made again: `docs/operating.md` says so.
"""

from __future__ import annotations

import random

from tests.simulation.steps import CRASH, TORN, Event, Fault, Retain, Script, Step

RETENTION_FROM = 60_000_000
"""Seeds from here on delete old records of events-raw and events-rekeyed."""

LONGER_FROM = 61_000_000
"""Seeds from here on keep more of them, so that some have all that is not forgotten."""

_LEFT, _LEFT_LONGER = (0, 0, 1, 3, 10), (10, 20, 30, 50)


def with_retention(script: Script, seed: int) -> Script:
    """The same, where old events are deleted some times."""
    choose = random.Random(f"retention {seed}")
    damaging = (TORN, Fault.REDIS_ALTERED)
    steps: list[Step] = [CRASH if step in damaging else step for step in script.steps]
    begin = next((at for at, step in enumerate(steps) if isinstance(step, Event)), len(steps))
    for _ in range(choose.randint(1, 5)):
        place = choose.randrange(script.partitions)
        left = choose.choice(_LEFT_LONGER if seed >= LONGER_FROM else _LEFT)
        steps.insert(choose.randint(begin, len(steps)), Retain(place, left))
    return script._replace(steps=steps)
