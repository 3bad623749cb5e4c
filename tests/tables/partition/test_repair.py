"""Corrections are put in force by repairs, or left to a refold that can."""

from __future__ import annotations

import msgspec
import pytest

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


def with_an_event(*, kept: int) -> Live:
    """Return a partition with an event of a subscription that nobody defined.

    `kept`: how many such names are kept one by one.
    """
    made = definitions_of(["sum"], TOLD)
    live = Live([line for line in made if line.command.type != "create_subscription"])
    live.define_all()
    live.partition.event_ranges.most_undefined = kept
    live.deliver([arrived("sum", 0, START_MS, START_MS, v="1")])
    return live


def test_what_is_folded_nowhere_is_left_to_no_refold() -> None:
    """Of undefined names beyond those that are kept one by one a refold would find no event."""
    live = with_an_event(kept=0)
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


@pytest.mark.parametrize("kept", [0, 1])
def test_an_event_that_is_gone_is_left_to_a_refold_that_tells_so(kept: int) -> None:
    """No refold would ever tell so of a subscription of which it finds nothing."""
    live = with_an_event(kept=kept)
    assert live.partition.corrected.correct(cancel(1, START_MS + 1))
    job = Repair(live.partition, NAME, next_cut(live.partition, NAME))
    assert job.is_folded is (kept > 0)
    left = drained(job.repairing(dict.fromkeys(job.turning())))
    assert (left, job.is_done) == ((None, False) if kept else (set(), True))


@pytest.mark.parametrize("kept", [0, 1])
def test_a_correction_that_takes_the_place_of_another_calls_for_a_refold(kept: int) -> None:
    """Unless a refold would find nothing, and cells show nothing."""
    live = with_an_event(kept=kept)
    for offset in (2, 1):
        again = cancel(offset, START_MS + offset)
        body = msgspec.structs.replace(again.correction, correction_id="same")
        assert live.partition.corrected.correct(again._replace(correction=body))
    assert not live.partition.corrections.followed.is_clear(NAME)
    assert Repair(live.partition, NAME, next_cut(live.partition, NAME)).is_possible is (kept == 0)
