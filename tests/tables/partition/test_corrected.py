"""Corrections: what is noted of them, and that it is forgotten once the cut is taken."""

from __future__ import annotations

from itertools import pairwise

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS
from app.definitions.state import Definitions
from app.wire.arrivals import CorrectionArrival
from app.wire.events import Correction
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.revised import Versions
from tables.spool import Spool
from tests.world.clock import HOUR_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

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


def test_what_is_amended_into_a_code_is_read_where_it_came_with_another() -> None:
    """Else a refold of that code begins behind it."""
    live = Live(definitions_of(["count", "sum"]))
    live.define_all()
    came, other = (arrived(code, n, START_MS, v="1") for n, code in enumerate(["count", "sum"]))
    live.deliver([came, other])
    of_sum = live.partition.event_ranges.find((ORG, SUBSCRIPTION), "sum")
    assert of_sum is not None
    assert of_sum.raw_first == other.raw_offset
    amended, of = replace(came.event, code="sum"), came.event.transaction_id
    body = Correction(ORG, SUBSCRIPTION, of, "amend", amended, "c", b"")
    sent = CorrectionArrival(body, ORG, START_MS + HOUR_MS, 0, 2, 0)
    assert live.partition.corrected.correct(sent)
    assert of_sum.raw_first == came.raw_offset
