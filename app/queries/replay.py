"""Read the events of a partition again, from where presence says that they begin.

What is read is fed up to where the live fold stands; for the last stretch the live fold may wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from app.bounds.turns import STEP_ITEMS, Steps, T
from app.kafka.clients import NOT_TAKEN
from app.meter.errors import BeyondRetention
from app.runtime.partition.owned import OwnedPartition
from app.runtime.raw_lookup import RawLookup, RawPlace
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import Scanner, ScanTurn
from app.wire.arrivals import Arrival, Arrived, CorrectionArrival, MeterKey, SubscriptionKey
from tables.changelogged.presence import EventRanges, first_offsets
from tables.partition.left_out import FROM_THE_FIRST, appended_from

_ASKED_FOR_S = 1.0
"""After so long without an answer of the brokers it is begun where the first event lies."""

Feed = Callable[[list[Arrival]], Steps[None]]
"""Takes a part of what is read, by steps."""


async def read_again(lookup: RawLookup, places: Sequence[RawPlace]) -> list[Arrival]:
    """Return the events at places, in this order. Raises BeyondRetention if the log lacks one."""
    return at_places(places, await lookup.find_many(places))


def at_places(places: Sequence[RawPlace], found: Mapping[RawPlace, Arrived]) -> list[Arrival]:
    """Return events that were read in the order of their places. Raises BeyondRetention."""
    arrivals = []
    for place in places:
        arrival = found.get(place)
        if not isinstance(arrival, Arrival):
            raise BeyondRetention(f"partition {place[0]} has no offset {place[1]} now")
        arrivals.append(arrival)
    return arrivals


class Replay:
    """Reads a partition again: `turn` has the time on the event loop that this may take."""

    def __init__(self, owned: OwnedPartition, scanner: Scanner, turn: ScanTurn):
        self.owned, self.turn = owned, turn
        self._scanner = scanner

    @asynccontextmanager
    async def reading(
        self,
        feed: Feed,
        names: Collection[SubscriptionKey],
        first: tuple[int | None, int | None],
        on_corrections: Callable[[list[CorrectionArrival]], None] | None = None,
        *,
        codes: Collection[str] | None = None,
        transaction_id: str = "",
    ) -> AsyncIterator[ReadAgain]:
        """Open the logs at the `first` offsets of raw and rekeyed.

        `names`: only these subscriptions are wanted; none: all of them. `codes` and
        `transaction_id`: only these are.
        """
        async with self._scanner(self.owned) as scan:
            if on_corrections is not None:
                scan.on_corrections = on_corrections
            scan.seek_only(names, codes, transaction_id)
            scan.start(self.owned.state.checkpoint, *first)
            yield ReadAgain(self.owned, scan, self.turn, feed)

    async def first(
        self, entries: Sequence[EventRanges], dated_from_ms: int
    ) -> tuple[int | None, int | None]:
        """Return where to begin on raw and on rekeyed to read what is dated from an instant on."""
        first = first_offsets(entries)
        if first == (None, None) or any(entry.early_ms >= dated_from_ms for entry in entries):
            return first
        since = await self.since(appended_from(dated_from_ms))
        return first_offsets([entry.since(*since) for entry in entries])

    async def since(self, appended_ms: int | None) -> tuple[int, int]:
        """Return where on raw and on rekeyed begins what was appended since a time; None: ever."""
        if appended_ms is None:
            return 0, 0
        offsets = self.owned.shared.offsets
        try:
            async with asyncio.timeout(_ASKED_FOR_S):
                return await offsets.logs_since(self.owned.number, appended_ms)
        except NOT_TAKEN:
            # What was folded is at hand also while no broker answers.
            return 0, 0

    async def meter_key(
        self,
        meter_key: MeterKey,
        take: Callable[[Arrival], Steps[None]],
        finish: Callable[[], Steps[T]],
        dated_from_ms: int = FROM_THE_FIRST,
    ) -> T:
        """Show `take` every arrival that may count as the meter key's, up to the live fold.

        `finish` is asked while the live fold waits exactly where the last arrival was read.
        `dated_from_ms`: events need not be shown that count at an earlier time.
        """
        name, code, state = meter_key[:2], meter_key[2], self.owned.state
        codes = state.event_ranges.codes_of(name)
        # An amend may have given any event of the subscription this code.
        corrected = state.corrections.touches(name)
        entries = [entry for known, entry in codes.items() if corrected or known == code]
        if not entries and state.event_ranges.rest is not None:
            entries.append(state.event_ranges.rest)

        def show(arrivals: Sequence[Arrival]) -> Steps[None]:
            for number, arrival in enumerate(arrivals, 1):
                if arrival.name == name and (corrected or arrival.event.code == code):
                    yield from take(arrival)
                    # It may count for hundreds of charges.
                    yield
                elif number % STEP_ITEMS == 0:
                    yield

        # A correction may date any event anywhere.
        sought = None if corrected else [code]
        first = await self.first(entries, FROM_THE_FIRST if corrected else dated_from_ms)
        async with self.reading(show, [name], first, codes=sought) as reading:
            await reading.near()
            async with reading.caught_up():
                return await self.turn.run(finish(), urgent=True)


class ReadAgain:
    """One time that events are read again."""

    def __init__(self, owned: OwnedPartition, scan: Scan, turn: ScanTurn, feed: Feed):
        self._owned, self._checkpoint = owned, owned.state.checkpoint
        self._scan, self._turn, self._feed = scan, turn, feed

    def behind(self) -> int:
        """Return the number of offsets between here and the live fold."""
        return self._scan.behind(self._checkpoint)

    async def so_far(self) -> None:
        """Feed what the live fold has by now: there may be no end of what comes meanwhile."""
        async for part in self._scan.read(replace(self._checkpoint), self._turn):
            await self._turn.run(self._feed(part))

    async def near(self) -> None:
        """Feed what there is until the live fold is so near that it may wait for the rest."""
        await self._turn.near(self._scan, self._checkpoint, self._feed)

    def stretches(self) -> AsyncIterator[int]:
        """Do the same; yield how many records nearer each stretch came."""
        return self._turn.stretches(self._scan, self._checkpoint, self._feed)

    @asynccontextmanager
    async def caught_up(self) -> AsyncIterator[int]:
        """Hold the live fold exactly where the last arrival was read.

        Yields how many offsets were left to read before.
        """
        lock, behind = self._owned.lock, self.behind()
        async with self._turn.caught_up(lock, self._scan, self._checkpoint, self._feed):
            yield behind
