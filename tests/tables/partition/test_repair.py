"""Corrections are put in force by repairs, or left to a refold that can."""

from __future__ import annotations

import msgspec

from app.bounds.turns import drained
from app.wire.arrivals import CorrectionArrival
from app.wire.events import Correction
from tables.closing.close import next_cut
from tables.partition.repair import Original, Repair
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
TOLD = msgspec.structs.replace(SETTINGS, usage_changed=True, revise_every_s=3_600)


def cancel(offset: int, at_ms: int) -> CorrectionArrival:
    body = Correction(*NAME, "t0", "cancel", None, f"c{offset}", b"")
    return CorrectionArrival(body, ORG, at_ms, 0, offset, 0)


def test_what_is_folded_nowhere_is_left_to_no_refold() -> None:
    """Of undefined names beyond those that are kept one by one a refold would find no event."""
    made = definitions_of(["sum"], TOLD)
    live = Live([line for line in made if line.command.type != "create_subscription"])
    live.define_all()
    live.partition.event_ranges.most_undefined = 0
    live.deliver([arrived("sum", 0, START_MS, START_MS, v="1")])
    # The second shows at a later cut only; so another version counts after the first.
    for offset, at_ms in ((1, START_MS + 1), (2, START_MS + DAY_MS)):
        assert live.partition.corrected.correct(cancel(offset, at_ms))
    cut_ms = next_cut(live.partition, NAME)
    assert START_MS < cut_ms <= START_MS + HOUR_MS
    job = Repair(live.partition, NAME, cut_ms)
    assert job.is_possible
    (identity,) = set(job.turning())
    entry = live.partition.index.find(identity)
    assert entry is not None
    assert live.partition.changed.notes
    left = drained(job.repairing({identity: Original.of(entry, live.arrived()[0])}))
    assert (left, job.is_done) == (set(), True)
