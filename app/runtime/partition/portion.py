"""A portion of a delivered batch: decoded by small steps, and led to the homes of its events."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from itertools import islice
from operator import attrgetter
from typing import Protocol

from app.bounds.limits import PORTION_BYTES, PORTION_EVENTS, TRUST_AFTER_MS
from app.bounds.turns import STEP_ITEMS, Steps, Work
from app.definitions.indexes.set_asides import Aside, SetAsides
from app.definitions.judging import Judging
from app.definitions.timeline import NEVER_MS
from app.kafka.lenient_fetch import UnreadBatch
from app.kafka.record_batch import RawRecord, RecordBatch
from app.kernel import arrive
from app.runtime.context import WorkerContext
from app.runtime.homes import HomePartitions
from app.runtime.partition.forwarder import Forwarder, Forwards
from app.wire.arrivals import (
    PLAINLY,
    Arrival,
    Arrived,
    CorrectionArrival,
    MeterKey,
    Run,
    arrive_elements,
    arriving,
    hang_on_limits,
    plain_arrival,
)
from app.wire.decode import Headers, elements_of, is_tick
from app.wire.refusals import Refusal, RefusalCode
from app.wire.rekeyed import POSITION_HEADER, position_of

STEP_BYTES = 64 * 1024
ITEM_BYTES = 1_024
"""Decoded in one step: so many bytes, an event beside its own counting for a kibibyte."""


MAX_STAMP_AHEAD_MS = 3_600_000
"""A record stamped further ahead of our clock means that a broker's clock is wrong."""


class ClockAhead(Exception):
    """A broker stamps records far in the future; folding them would drag append time along."""

    def __init__(self, partition: int, offset: int, append_time_ms: int):
        super().__init__(
            f"Offset {offset} of raw partition {partition} is stamped {append_time_ms} ms, over an "
            "hour ahead of this machine: correct the broker's clock or this one's"
        )


def latest_stamp_ms(shared: WorkerContext) -> int:
    """Return the latest append time we accept: an hour ahead; unlimited under the test clock."""
    return NEVER_MS if shared.settings.test_clock else shared.clock.now_ms() + MAX_STAMP_AHEAD_MS


def found_in(
    value: bytes | None,
    headers: Headers,
    place: tuple[int, int, int],
    judging: Judging,
    aside: Aside | None = None,
) -> Steps[list[Arrived] | None]:
    """Return what a record holds, by small steps; None: that hangs on definitions yet to come.

    `aside`: what is set aside of the raw partition that it was read from.
    """
    if judging.waits_past_ms(place[0], headers) is not None:
        return None
    found: list[Arrived] = []
    for arrived in arriving(value, headers, *place, judging, aside):
        found.append(arrived)
        if len(found) % STEP_ITEMS == 0:
            yield
    decided = not judging.known_before_ms <= place[0] <= judging.limited_after_ms
    return found if decided or not hang_on_limits(found) else None


class Forwarding(Protocol):
    """A partition, as far as forwarding asks."""

    @property
    def number(self) -> int: ...

    @property
    def forwards(self) -> Forwards: ...

    @property
    def forwarded(self) -> tuple[int, int]:
        """(next raw offset, append time) after the last record whose forwards were sent."""
        ...


class Portion:
    """What is decoded of a raw batch before it is folded."""

    def __init__(self, batch: RecordBatch, next_offset: int, append_time_ms: int):
        self.next_offset = next_offset
        """After its last record."""
        self.append_time_ms = append_time_ms
        self.whole = False
        """The batch has nothing after it."""
        self.waits_past_ms: int | None = None
        """What comes next hangs on the definitions up to then."""
        self.plain = True
        """Each event is all that its raw record holds, without a header."""
        self.refused: list[tuple[Refusal, RawRecord | UnreadBatch]] = []
        self.corrections: list[CorrectionArrival] = []
        self._arrivals: defaultdict[MeterKey, list[Arrival]] = defaultdict(list)
        self._away: list[tuple[int, Arrival | CorrectionArrival]] = []
        self._headers: dict[int, Headers] = {}
        self._batch = batch

    def decode(self, shared: WorkerContext, number: int, judging: Judging) -> Steps[None]:
        """Decode whole records from its beginning on, until it has as much as it may have."""
        batch, next_offset, append_time_ms = self._batch, self.next_offset, self.append_time_ms
        homes, latest_ms = shared.homes, latest_stamp_ms(shared)
        default, believed = judging.default_organization_id, not judging.beliefs
        until_ms = min(latest_ms, judging.believed_until_ms)
        aside = shared.definitions.set_asides.of(number)
        arrivals, refused = self._arrivals, self.refused
        # What a portion may have is looked at once a step: each line here costs every event.
        events, room, step = 0, PORTION_BYTES, STEP_BYTES
        for raw in islice(batch, bisect_left(batch, next_offset, key=_offset), None):
            if step <= 0:
                room += step - STEP_BYTES
                self.append_time_ms, self.next_offset = append_time_ms, next_offset
                if events >= PORTION_EVENTS or room + events * ITEM_BYTES <= 0:
                    return
                step = STEP_BYTES
                yield
            offset, timestamp_ms, before_ms = raw.offset, raw.timestamp, append_time_ms
            if timestamp_ms > append_time_ms:
                if timestamp_ms > until_ms:
                    if timestamp_ms > latest_ms:
                        raise ClockAhead(number, offset, timestamp_ms)
                    self.append_time_ms, self.next_offset = append_time_ms, next_offset
                    self.waits_past_ms = timestamp_ms - TRUST_AFTER_MS - 1
                    return
                append_time_ms = timestamp_ms
            headers, value = raw.headers, raw.value
            events += 1
            step -= ITEM_BYTES if value is None else ITEM_BYTES + len(value)
            before_offset, next_offset = next_offset, offset + 1
            if headers:
                if is_tick(raw.key, value, headers):
                    continue
                self._headers[offset] = headers
            elif value is not None and (aside is None or not aside.touches(offset)):
                if believed:
                    if arrive(value, append_time_ms, number, offset, default, arrivals, PLAINLY):
                        continue
                    place = (append_time_ms, number, offset)
                    count = yield from self._take_elements(raw, place, homes, judging)
                    if count:
                        events += count
                        step -= ITEM_BYTES * count
                        continue
                else:
                    arrival = plain_arrival(value, append_time_ms, number, offset, default)
                    if arrival is not None and _is_believed(arrival, judging, append_time_ms):
                        arrivals[arrival.meter_key].append(arrival)
                        continue
            elif isinstance(raw, UnreadBatch):
                if aside is None or not aside.holds(offset):
                    refused.append((_unread(raw), raw))
                continue
            place = (append_time_ms, number, offset)
            found = yield from found_in(value, headers, place, judging, aside)
            if found is None:
                self.append_time_ms, self.next_offset = before_ms, before_offset
                self.waits_past_ms = append_time_ms
                return
            events += len(found)
            step -= ITEM_BYTES * len(found)
            self._take(found, raw, homes, number)
        self.append_time_ms = append_time_ms
        self.next_offset, self.whole = max(batch.next, next_offset), True

    def _take_elements(
        self, raw: RawRecord, place: tuple[int, int, int], homes: HomePartitions, judging: Judging
    ) -> Steps[int]:
        """Take the elements of an array of which all is known; return how many, or 0: of no array.

        They cost a few times less than what `found_in` gives.
        """
        hangs = judging.known_before_ms <= place[0] <= judging.limited_after_ms
        if hangs or raw.value is None or judging.waits_past_ms(place[0], ()) is not None:
            return 0
        elements = elements_of(raw.value)
        self.plain = self.plain and not elements
        numbered = enumerate(elements)
        while some := list(islice(numbered, STEP_ITEMS)):
            found = arrive_elements(some, place, judging, self._arrivals)
            self._take(found, raw, homes, place[1])
            yield
        return len(elements)

    def _take(
        self, found: Iterable[Arrived], raw: RawRecord, homes: HomePartitions, number: int
    ) -> None:
        """Take what a record holds, each where it belongs."""
        for arrived in found:
            if isinstance(arrived, Arrival):
                self.plain = False
                self._arrivals[arrived.meter_key].append(arrived)
            elif isinstance(arrived, Refusal):
                self.refused.append((arrived, raw))
            elif (home := homes.of(*arrived.name)) == number:
                self.corrections.append(arrived)
            else:
                self._away.append((home, arrived))

    def runs(self, homes: HomePartitions, number: int) -> list[Run]:
        """Return what is at home here; the rest goes away."""
        runs: list[Run] = []
        for meter_key, run in self._arrivals.items():
            home = homes.of(meter_key[0], meter_key[1])
            if home == number:
                runs.append((meter_key, run))
            else:
                self._away += [(home, arrival) for arrival in run]
        return runs

    async def forward(self, owned: Forwarding, forwarder: Forwarder) -> None:
        """Send what is away; homes skip what lies before the last they took, hence the order."""
        # What was forwarded ahead is acknowledged.
        forwarded_next, _ = owned.forwarded
        for count, (home, leaving) in enumerate(sorted(self._away, key=_raw_order), 1):
            if leaving.raw_offset >= forwarded_next:
                headers = self._headers.get(leaving.raw_offset, ())
                await owned.forwards.send(forwarder, home, leaving, headers)
            if count % STEP_ITEMS == 0:
                await asyncio.sleep(0)


def decoding_of(owned: Forwarding) -> Work:
    """Return the work of one partition; by it each has its share of turns."""
    return Work("decode", "events", f"partition {owned.number}")


def _is_believed(arrival: Arrival, judging: Judging, append_time_ms: int) -> bool:
    """Return whether an event of a record without headers may belong to whom it names."""
    belief, default = judging.belief_at(append_time_ms), judging.default_organization_id
    return belief is None or belief.may_be_of(arrival.organization_id, default, ())


def _unread(batch: UnreadBatch) -> Refusal:
    """Return one refusal for all that is in the batch."""
    code = RefusalCode.TOO_LARGE if batch.reason.too_large else RefusalCode.SET_ASIDE
    return Refusal(code, str(batch.reason), batch.data)


_offset = attrgetter("offset")


def _raw_order(sent: tuple[int, Arrival | CorrectionArrival]) -> tuple[int, int]:
    return sent[1].raw_offset, sent[1].array_index


class RekeyedPortion:
    """What is decoded of a batch of forwards before it is folded."""

    def __init__(self, batch: RecordBatch, next_offset: int, marks: dict[int, tuple[int, int]]):
        self.next_offset = next_offset
        """After its last record."""
        self.marks = marks
        """By raw partition, offset and array index of the newest forward."""
        self.whole = False
        """The batch has nothing after it."""
        self.waits_past_ms: int | None = None
        """What comes next hangs on the definitions up to then."""
        self.arrivals: list[Arrival] = []
        self.corrections: list[CorrectionArrival] = []
        self._batch = batch

    def decode(self, judging: Judging, set_asides: SetAsides) -> Steps[None]:
        """Decode records from its beginning on, until it has as much as it may have."""
        batch, marks = self._batch, self.marks
        room, step = PORTION_BYTES, STEP_BYTES
        left = islice(batch, bisect_left(batch, self.next_offset, key=_offset), None)
        for events, forwarded in enumerate(left):
            if step <= 0:
                room += step - STEP_BYTES
                if events >= PORTION_EVENTS or room + events * ITEM_BYTES <= 0:
                    return
                step = STEP_BYTES
                yield
            step -= len(forwarded.value or b"") + ITEM_BYTES
            position = position_of(forwarded.headers)
            # Only owners write to this topic; whatever else lies in it has no position.
            if position is not None and position[2:] > marks.get(position[1], (-1, -1)):
                at_ms, partition, offset, index = position
                aside = set_asides.of(partition)
                if aside is None or not aside.holds_element(offset, index):
                    place = (at_ms, partition, offset)
                    if not (yield from self._take(forwarded, judging, place, index)):
                        self.waits_past_ms = at_ms
                        return
                marks[partition] = (offset, index)
            self.next_offset = forwarded.offset + 1
        self.next_offset, self.whole = max(batch.next, self.next_offset), True

    def _take(
        self, forwarded: RawRecord, judging: Judging, place: tuple[int, int, int], index: int
    ) -> Steps[bool]:
        """Take what one record holds; return False if that hangs on definitions yet to come."""
        headers = [header for header in forwarded.headers if header[0] != POSITION_HEADER]
        found = yield from found_in(forwarded.value, headers, place, judging)
        for arrived in found or ():
            # What is refused was refused where it was read first.
            if isinstance(arrived, Arrival):
                self.arrivals.append(arrived.forwarded(index, forwarded.offset))
            elif isinstance(arrived, CorrectionArrival):
                self.corrections.append(arrived.forwarded(index, forwarded.offset))
        return found is not None
