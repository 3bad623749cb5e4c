"""A portion of a delivered batch: decoded by small steps, and led to the homes of its events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain, islice
from operator import itemgetter
from typing import NamedTuple, Protocol

from app.bounds.limits import PORTION_BYTES, PORTION_EVENTS, TRUST_AFTER_MS
from app.bounds.turns import STEP_ITEMS, Steps, Work
from app.definitions.indexes.set_asides import Aside, SetAsides
from app.definitions.judging import Judging
from app.definitions.timeline import NEVER_MS
from app.kafka.open_batch import UnreadBatch
from app.kafka.record_batch import RawRecord, RecordBatch
from app.kernel import arrive, arrive_many
from app.runtime.context import WorkerContext
from app.runtime.homes import HomePartitions
from app.runtime.partition.forwarder import Forwarder, Forwards
from app.wire.arrivals import (
    PLAINLY,
    Arrival,
    Arrivals,
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


_NAME = itemgetter(0, 1)
"""The (organization_id, external_subscription_id) of a meter key."""


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


class _Reading(NamedTuple):
    """What decides how the records of one raw partition are read."""

    homes: HomePartitions
    number: int
    judging: Judging
    latest_ms: int
    """Latest append time that we accept."""
    until_ms: int
    """Append time up to which all that decides is known."""
    aside: Aside | None


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
        """Each event is all that its raw record holds, and no header decides what it is."""
        self.refused: list[tuple[Refusal, RawRecord | UnreadBatch]] = []
        self.corrections: list[CorrectionArrival] = []
        self._arrivals: defaultdict[MeterKey, Arrivals] = defaultdict(list)
        self._away: list[tuple[int, Arrival | CorrectionArrival]] = []
        self._headers: dict[int, Headers] = {}
        self._batch = batch

    def decode(self, shared: WorkerContext, number: int, judging: Judging) -> Steps[None]:
        """Decode whole records from its beginning on, until it has as much as it may have."""
        latest_ms = latest_stamp_ms(shared)
        until_ms = min(latest_ms, judging.believed_until_ms)
        aside = shared.definitions.set_asides.of(number)
        reading = _Reading(shared.homes, number, judging, latest_ms, until_ms, aside)
        # Most wait for nothing but their bytes, also once something was set aside or mistrusted.
        plainly = judging.believes_names_from(self.append_time_ms) and (
            aside is None or self.next_offset >= aside.end
        )
        default = judging.default_organization_id
        events, room, step = 0, PORTION_BYTES, STEP_BYTES
        for part, place in self._batch.parts_from(self.next_offset):
            while place < len(part):
                if step <= 0:
                    room += step - STEP_BYTES
                    if events >= PORTION_EVENTS or room + events * ITEM_BYTES <= 0:
                        return
                    step = STEP_BYTES
                    yield
                if plainly:
                    left = step, ITEM_BYTES, self.next_offset, self.append_time_ms, until_ms
                    noted = arrive_many(
                        part, place, *left, number, default, self._arrivals, PLAINLY
                    )
                    place, count, step, self.next_offset, self.append_time_ms = noted
                    events += count
                    if count:
                        continue
                raw, place = part[place], place + 1
                items = yield from self._take_record(raw, reading)
                if items == 0:
                    return
                events += items
                step -= items * ITEM_BYTES + len(raw.value or b"")
        self.next_offset, self.whole = max(self._batch.next, self.next_offset), True

    def _take_record(self, raw: RawRecord, reading: _Reading) -> Steps[int]:
        """Take what one record holds; return for how many it counts, 0: it waits."""
        offset, timestamp_ms = raw.offset, raw.timestamp
        before = self.append_time_ms, self.next_offset
        if timestamp_ms > self.append_time_ms:
            if timestamp_ms > reading.until_ms:
                if timestamp_ms > reading.latest_ms:
                    raise ClockAhead(reading.number, offset, timestamp_ms)
                self.waits_past_ms = timestamp_ms - TRUST_AFTER_MS - 1
                return 0
            self.append_time_ms = timestamp_ms
        self.next_offset = offset + 1
        place = (self.append_time_ms, reading.number, offset)
        headers, value, aside = raw.headers, raw.value, reading.aside
        if headers:
            if is_tick(raw.key, value, headers):
                return 1
            self._headers[offset] = headers
        if value is not None and (aside is None or not aside.touches(offset)):
            count = yield from self._take_plainly(raw, value, place, reading)
            if count:
                return count
        elif isinstance(raw, UnreadBatch):
            if aside is None or not aside.holds(offset):
                self.refused.append((_unread(raw), raw))
            return 1
        found = yield from found_in(value, headers, place, reading.judging, aside)
        if found is None:
            self.waits_past_ms = self.append_time_ms
            self.append_time_ms, self.next_offset = before
            return 0
        self._take(found, raw, reading)
        return 1 + len(found)

    def _take_plainly(
        self, raw: RawRecord, value: bytes, place: tuple[int, int, int], reading: _Reading
    ) -> Steps[int]:
        """Take an event as most are, or an array without headers.

        Return for how many it counts, 0: it is neither.
        """
        judging, arrivals, headers = reading.judging, self._arrivals, raw.headers
        default = judging.default_organization_id
        if headers or judging.beliefs:
            arrival = plain_arrival(value, *place, default, headers=headers)
            if arrival is None or not _is_believed(arrival, judging, place[0], headers):
                return 0
            self.plain = self.plain and not headers
            arrivals[arrival.meter_key].append(arrival)
            return 1
        if arrive(value, *place, default, arrivals, PLAINLY):
            return 1
        count = yield from self._take_elements(raw, place, reading)
        return 1 + count if count else 0

    def _take_elements(
        self, raw: RawRecord, place: tuple[int, int, int], reading: _Reading
    ) -> Steps[int]:
        """Take the elements of an array of which all is known; return how many, or 0: of no array.

        They cost a few times less than what `found_in` gives.
        """
        judging = reading.judging
        hangs = judging.known_before_ms <= place[0] <= judging.limited_after_ms
        if hangs or raw.value is None or judging.waits_past_ms(place[0], ()) is not None:
            return 0
        elements = elements_of(raw.value)
        self.plain = self.plain and not elements
        numbered = enumerate(elements)
        while some := list(islice(numbered, STEP_ITEMS)):
            found = arrive_elements(some, place, judging, self._arrivals)
            self._take(found, raw, reading)
            yield
        return len(elements)

    def _take(self, found: Iterable[Arrived], raw: RawRecord, reading: _Reading) -> None:
        """Take what a record holds, each where it belongs."""
        for arrived in found:
            if isinstance(arrived, Arrival):
                self.plain = False
                self._arrivals[arrived.meter_key].append(arrived)
            elif isinstance(arrived, Refusal):
                self.refused.append((arrived, raw))
            elif (home := reading.homes.of(*arrived.name)) == reading.number:
                self.corrections.append(arrived)
            else:
                self._away.append((home, arrived))

    def runs(self, homes: HomePartitions, number: int) -> list[Run]:
        """Return what is at home here; the rest goes away."""
        found = homes.of_all(list(map(_NAME, self._arrivals)))
        if found.count(number) == len(found):
            # As most are.
            return list(self._arrivals.items())
        runs: list[Run] = []
        for home, run in zip(found, self._arrivals.items(), strict=True):
            if home == number:
                runs.append(run)
            else:
                self._away += [(home, arrival) for arrival in run[1]]
        return runs

    async def forward(self, owned: Forwarding, forwarder: Forwarder) -> None:
        """Send what is away; homes skip what lies before the last they took, hence the order."""
        if not self._away:
            return
        # What was forwarded ahead is acknowledged.
        forwarded_next, _ = owned.forwarded
        leaving = (
            (home, leaving, self._headers.get(leaving.raw_offset, ()))
            for home, leaving in sorted(self._away, key=_raw_order)
            if leaving.raw_offset >= forwarded_next
        )
        await owned.forwards.send(forwarder, leaving)


def decoding_of(owned: Forwarding) -> Work:
    """Return the work of one partition; by it each has its share of turns."""
    return Work("decode", "events", f"partition {owned.number}")


def _is_believed(arrival: Arrival, judging: Judging, append_time_ms: int, headers: Headers) -> bool:
    """Return whether an event may belong to whom it names."""
    belief, default = judging.belief_at(append_time_ms), judging.default_organization_id
    return belief is None or belief.may_be_of(arrival.organization_id, default, headers)


def _unread(batch: UnreadBatch) -> Refusal:
    """Return one refusal for all that is in the batch."""
    code = RefusalCode.TOO_LARGE if batch.reason.too_large else RefusalCode.SET_ASIDE
    return Refusal(code, str(batch.reason), batch.data)


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
        parts = batch.parts_from(self.next_offset)
        left = chain.from_iterable(islice(part, place, None) for part, place in parts)
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
        value, plain = forwarded.value, dict[MeterKey, Arrivals]()
        if not headers and value is not None and place[0] <= judging.believed_until_ms:
            # As most are. It costs a few times less than what `found_in` gives.
            default = judging.default_organization_id
            if arrive(value, *place, default, plain, PLAINLY, index):
                for (arrival,) in plain.values():
                    self.arrivals.append(arrival.forwarded(index, forwarded.offset))
                return True
        found = yield from found_in(value, headers, place, judging)
        for arrived in found or ():
            # What is refused was refused where it was read first.
            if isinstance(arrived, Arrival):
                self.arrivals.append(arrived.forwarded(index, forwarded.offset))
            elif isinstance(arrived, CorrectionArrival):
                self.corrections.append(arrived.forwarded(index, forwarded.offset))
        return found is not None
