"""What verification finds of a partition without a worker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from app.bounds.turns import drained
from app.meter.evidence import Difference
from app.wire.arrivals import Arrival, MeterKey
from tables.closing.close import next_cut
from tables.reading.verification import Verification
from tests.world.begun import begun
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)


def differences(live: Live) -> list[Difference]:
    """What differs of the cells, of their members and of the records.

    What differs of recent periods differs where all events are read, too.
    """
    found = _differences(live)
    recent = _differences(live, recent=True)
    assert [each for each in recent if each not in found] == []
    return found


def _differences(live: Live, *, recent: bool = False) -> list[Difference]:
    found = list[Difference]()
    first = begun(Verification(live.partition, [NAME], recent=recent))
    for verification in rounds(first, live.arrived()):
        compared = [one for one in filter(None, verification.compare()) if not one.again]
        found += chain.from_iterable(one.differences for one in compared)
        found += wrong_members(live, verification, [one.meter_key for one in compared])
        found += chain.from_iterable(filter(None, verification.compare_published()))
    return found


def rounds(
    verification: Verification, events: Sequence[Arrival], *, strangers: bool = False
) -> Iterator[Verification]:
    """Feed a verification, and what takes its place, with all events."""
    again: Verification | None = verification
    while again is not None:
        again.feed(events, strangers=strangers)
        yield again
        again = drained(again.again())


def wrong_members(
    live: Live, verification: Verification, meter_keys: Iterable[MeterKey]
) -> list[Difference]:
    """What differs of the members that are stored, and of those at hand."""
    state = live.partition
    sets = verification.member_sets(meter_keys)
    at_hand = state.members.at_hand({each.key for each in sets})
    found = []
    for each in sets:
        stored = {t: v for (key, t), v in live.changelog.store.items() if key == each.key}
        known = at_hand.get(each.key, {})
        found.append(each.difference(state.number, stored, known, next_cut(state, NAME)))
    return [difference for difference in found if difference is not None]
