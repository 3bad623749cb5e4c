"""What a fold notes besides its cells."""

from __future__ import annotations

from msgspec.structs import replace

from tables.fold import Folded
from tests.world.clock import START_MS
from tests.world.events import arrived


def test_each_charge_bills_an_event_as_it_came() -> None:
    """A correction is of a cut of its own, where another may decide the event."""
    before, came = arrived("sum", 0, START_MS, v="1"), arrived("sum", 1, START_MS, v="2")
    amended = replace(came, event=replace(came.event, timestamp_ms=START_MS + 1))
    folded = Folded()
    folded.billed_at_once += [before, amended, amended]
    folded.bills_as_it_came(came)
    assert folded.billed_at_once == [before, came, came]
    folded.bills_as_it_came(replace(came, raw_offset=2))
    assert folded.billed_at_once == [before, came, came]
