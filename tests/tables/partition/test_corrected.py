"""What corrections revise is forgotten once the cut is taken, however many they are."""

from __future__ import annotations

from itertools import pairwise

from app.bounds.turns import STEP_ITEMS
from app.definitions.state import Definitions
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.revised import Versions
from tables.spool import Spool
from tests.world.clock import START_MS
from tests.world.definitions import ORG

MANY = 2 * STEP_ITEMS + 3


def test_what_corrections_revised_is_forgotten_by_small_steps() -> None:
    """Every other one is of a cut to come. A refold takes one of them in between."""
    corrected = Partition(0, Definitions(), EventIndex()).corrected
    names = [(ORG, f"sub-{number}") for number in range(2 * MANY)]
    spool = Spool()
    revised = {
        (name, "count", START_MS + number % 2): Versions(spool) for number, name in enumerate(names)
    }
    corrected.revise((), revised)
    left = list[int]()
    for _ in corrected.settling(START_MS):
        left.append(len(corrected.names()))
        corrected.revise([(*names[-1], "count")], {})
    assert corrected.names() == set(names[1:-1:2])
    assert left[0] < 2 * MANY > left[-1]
    assert max(before - after for before, after in pairwise([2 * MANY, *left])) <= STEP_ITEMS + 1
