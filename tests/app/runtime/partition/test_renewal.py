"""Definitions that never end leave cuts their turn; what concerns nobody makes no flush."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec
import pytest

from app.bounds.turns import Steps, Work, drained
from app.definitions.outcome import Impact
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import runs_of
from tables.changelogged.checkpoint import Checkpoint
from tables.partition.redirection import Redirection
from tests.app.runtime.partition.test_owned import AT_MS, owned_of, sent
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION

MOST = 20


async def test_a_cut_comes_between_definitions_that_never_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With each that is looked at another one comes."""
    owned = owned_of("count")
    looks = 0

    def concerned(*_: object) -> Iterator[tuple[str, str]]:
        nonlocal looks
        looks += 1
        if looks < MOST:
            owned.renewal.define(Impact(ORG), 7 + looks, AT_MS + looks)
        yield from ()

    async def cut() -> int:
        async with owned.work.shaping:
            return looks

    monkeypatch.setattr(Redirection, "concerned", concerned)
    owned.renewal.define(Impact(ORG), 7, AT_MS)
    async with owned.work.shaping:
        renewing = asyncio.create_task(owned.renewal.renew())
        await asyncio.sleep(0)
        cutting = asyncio.create_task(cut())
        await asyncio.sleep(0)
    assert await cutting == 1
    await renewing
    assert looks == MOST
    assert owned.state.standing.behind_since_ms is None


def flushed(owned: OwnedPartition) -> Checkpoint:
    """Return the checkpoint of a flush that is packed now."""
    owned.next_flush.begin()
    owned.cuts.progress(0, -1)
    records, _ = drained(owned._packing._taking())
    return msgspec.msgpack.decode(records[-1].value or b"", type=Checkpoint)


async def renewed(owned: OwnedPartition, impact: Impact | None, offset: int) -> bool:
    """Tell of a definition, look at it, and return whether that makes a flush."""
    if impact is None:
        owned.renewal.pass_over(offset + 1, AT_MS + offset)
    else:
        owned.renewal.define(impact, offset, AT_MS + offset)
    await owned.renewal.renew()
    return not owned.next_flush.is_empty()


async def test_a_definition_that_concerns_nobody_goes_with_the_next_flush() -> None:
    owned = owned_of("count")
    flushed(owned)
    for offset in range(7, 20):
        assert not await renewed(owned, None, offset)
    assert (owned.renewal.seen, owned.refold_queue.is_told_more) == (20, True)
    assert (flushed(owned).definitions_offset, owned.refold_queue.is_told_more) == (20, False)
    # Nor does one that might concern many: nobody here is of that organization.
    assert not await renewed(owned, Impact("other"), 20)
    # It brings the first cut, which is told.
    assert await renewed(owned, Impact(ORG, SUBSCRIPTION), 21)
    assert flushed(owned).definitions_offset == 22


async def test_one_of_who_has_no_event_goes_with_the_next_flush() -> None:
    """As of most subscriptions that are created: each would be a transaction."""
    owned, concerned = owned_of("count"), Impact(ORG, SUBSCRIPTION)
    assert await renewed(owned, concerned, 7)
    flushed(owned)
    assert not await renewed(owned, concerned, 8)
    assert owned.refold_queue.is_told_more
    assert flushed(owned).definitions_offset == 9
    await owned.fold(runs_of([sent("a", AT_MS)]), raw_next=1, append_time_ms=AT_MS)
    flushed(owned)
    assert await renewed(owned, concerned, 9)
    assert flushed(owned).definitions_offset == 10


async def test_one_look_at_definitions_takes_the_tables_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each subscription that is created makes one, and each time costs several turns."""
    owned, taken = owned_of("count"), 0
    run = owned.work.run

    async def counted(work: Work, steps: Steps[bool]) -> bool:
        nonlocal taken
        taken += 1
        return await run(work, steps)

    monkeypatch.setattr(owned.work, "run", counted)
    await renewed(owned, Impact(ORG, SUBSCRIPTION), 7)
    assert taken == 1
    await owned.renewal.renew()
    assert taken == 1


async def test_what_was_looked_at_half_is_flushed_again() -> None:
    """Else a restart takes for unclear which definitions the cells show."""
    owned = owned_of("count")
    owned.renewal.define(Impact("other"), 7, AT_MS)
    assert flushed(owned).behind
    await owned.renewal.renew()
    assert not owned.next_flush.is_empty()
    assert not flushed(owned).behind


async def test_a_cut_that_a_definition_makes_is_told_at_once() -> None:
    """The logs of others pass it by ticks, and their owners have to know."""
    owned = owned_of("count", usage_changed=True)
    owned.state.changed.told(owned.state.changed.next_ms())
    flushed(owned)
    # Usage-changed is to tell of it, whomever it concerns.
    owned.renewal.define(Impact("other"), 7, AT_MS + WEEK_MS)
    assert not owned.cuts.is_told()
    assert not owned.next_flush.is_empty()
    flushed(owned)
    assert owned.cuts.is_told()


async def test_a_definition_wakes_a_closer_whose_cut_is_held_back() -> None:
    owned = owned_of("count")
    flushed(owned)
    owned.cuts.woken.clear()
    owned.renewal.define(Impact("other"), 7, AT_MS)
    assert not owned.cuts.woken.is_set()
    owned.cuts.hold_back(START_MS, "definitions_behind", "why", START_MS)
    owned.renewal.define(Impact("other"), 8, AT_MS + 1)
    assert owned.cuts.woken.is_set()
