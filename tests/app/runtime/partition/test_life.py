"""What is done with what comes once a partition was given up."""

from __future__ import annotations

from app.wire.arrivals import runs_of
from tests.app.runtime.partition.test_owned import AT_MS, owned_of, sent


async def test_what_is_not_folded_once_it_is_given_up_is_not_passed() -> None:
    """Whoever reads the log beside it would take it for folded and lost."""
    owned = owned_of("count")
    await owned.fold(runs_of([sent("a")]), raw_next=1, append_time_ms=AT_MS)
    await owned.abandon()
    await owned.fold(runs_of([sent("b", raw_offset=1)]), raw_next=2, append_time_ms=AT_MS)
    await owned.fold([], rekeyed_next=1, marks={1: (0, 0)})
    checkpoint = owned.state.checkpoint
    assert (checkpoint.raw_next, checkpoint.rekeyed_next, checkpoint.marks) == (1, 0, {})
    assert owned.state.index.length == 1
