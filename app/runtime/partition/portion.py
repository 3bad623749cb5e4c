"""A portion of a delivered batch: decoded by small steps, and led to the homes of its events."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

from app.bounds.limits import PORTION_BYTES, PORTION_EVENTS, TRUST_AFTER_MS
from app.bounds.turns import STEP_ITEMS, Steps, Work
from app.definitions.indexes.set_asides import Aside, SetAsides
from app.definitions.judging import Judging
from app.definitions.model import ProducerTrust
from app.definitions.periods import NEVER_MS
from app.kafka.open_batch import UnreadBatch
from app.kafka.record_batch import RawRecord, RecordBatch
from app.kernel import arrive, arrive_forwards, arrive_many, note_leaving
from app.runtime.context import WorkerContext
from app.runtime.homes import HomePartitions
from app.runtime.partition.forwarder import Forwarder, Forwards, Leaving, leaving_of
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
from app.wire.keys import message_key
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

_TRUSTS: dict[ProducerTrust | None, int] = {"claimed": 0, "topic": 1, "header": 2}
"""How the kernel is told what is believed."""

_RAW_ORDER = itemgetter(0, 1)
"""What is leaving goes by raw offset and array index."""


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
        self._away: list[tuple[int, Run]] = []
        self._away_corrections: list[tuple[int, CorrectionArrival]] = []
        self._headers: dict[int, Headers] = {}
        self._batch = batch

    def decode(self, shared: WorkerContext, number: int, judging: Judging) -> Steps[None]:
        """Decode whole records from its beginning on, until it has as much as it may have."""
        latest_ms = latest_stamp_ms(shared)
        until_ms = min(latest_ms, judging.believed_until_ms)
        aside = shared.definitions.set_asides.of(number)
        reading = _Reading(shared.homes, number, judging, latest_ms, until_ms, aside)
        # Most wait for nothing but their bytes, also once something was set aside or mistrusted.
        trust = judging.trust_from(self.append_time_ms)
        plainly = trust is not None and (aside is None or self.next_offset >= aside.end)
        told = number, _TRUSTS.get(trust), judging.default_organization_id
        ways = *told, self._arrivals, PLAINLY

        def note(part: Sequence[RawRecord], place: int, step: int) -> tuple[int, int, int]:
            if not plainly:
                return place, 0, step
            left = step, ITEM_BYTES, self.next_offset, self.append_time_ms, until_ms
            noted = arrive_many(part, place, *left, *ways)
            place, count, step, self.next_offset, self.append_time_ms, is_whole = noted
            self.plain = self.plain and is_whole
            return place, count, step

        parts = self._batch.parts_from(self.next_offset)
        if (yield from _by_steps(parts, note, partial(self._take_record, reading=reading))):
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
                self._away_corrections.append((home, arrived))

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
                self._away.append((home, run))
        return runs

    async def forward(self, forwarder: Forwarder, forwards: Forwards, forwarded_next: int) -> None:
        """Send what is away; homes skip what lies before the last they took, hence the order.

        `forwarded_next`: what lies before that raw offset was forwarded ahead, and acknowledged.
        """
        if not self._away and not self._away_corrections:
            return
        leaving: list[Leaving] = []
        odd: list[tuple[int, Arrival | CorrectionArrival]] = [*self._away_corrections]
        for home, ((organization_id, external_id, _), run) in self._away:
            key = message_key(organization_id, external_id)
            if not note_leaving(run, forwarded_next, home, key, leaving):
                odd += [(home, arrival) for arrival in run]
        for count, (home, arrived) in enumerate(odd, 1):
            if arrived.raw_offset >= forwarded_next:
                headers = self._headers.get(arrived.raw_offset, ())
                leaving.append(leaving_of(home, arrived, headers))
            if count % STEP_ITEMS == 0:
                await asyncio.sleep(0)
        leaving.sort(key=_RAW_ORDER)
        await forwards.send(forwarder, leaving)


def _by_steps(
    parts: Iterable[tuple[Sequence[RawRecord], int]],
    note: Callable[[Sequence[RawRecord], int, int], tuple[int, int, int]],
    take: Callable[[RawRecord], Steps[int]],
) -> Steps[bool]:
    """Decode records until a portion has as much as it may have; return True if all were.

    `parts`: of a batch, each with the place where it begins. `note`: takes plain records of a part
    from a place on, as far as a step goes, and returns (place, how many, what is left of the step).
    `take`: takes any other record, and returns for how many it counts, 0: it waits.
    """
    events, room, step = 0, PORTION_BYTES, STEP_BYTES
    for part, place in parts:
        while place < len(part):
            if step <= 0:
                room += step - STEP_BYTES
                if events >= PORTION_EVENTS or room + events * ITEM_BYTES <= 0:
                    return False
                step = STEP_BYTES
                yield
            place, count, step = note(part, place, step)
            events += count
            if count:
                continue
            raw, place = part[place], place + 1
            items = yield from take(raw)
            if items == 0:
                return False
            events += items
            step -= items * ITEM_BYTES + len(raw.value or b"")
    return True


def decoding_of(number: int) -> Work:
    """Return the work of one partition; by it each has its share of turns."""
    return Work("decode", "events", f"partition {number}")


def _is_believed(arrival: Arrival, judging: Judging, append_time_ms: int, headers: Headers) -> bool:
    """Return whether an event may belong to whom it names."""
    belief, default = judging.belief_at(append_time_ms), judging.default_organization_id
    return belief is None or belief.may_be_of(arrival.organization_id, default, headers)


def _unread(batch: UnreadBatch) -> Refusal:
    """Return one refusal for all that is in the batch."""
    code = RefusalCode.TOO_LARGE if batch.reason.too_large else RefusalCode.SET_ASIDE
    return Refusal(code, str(batch.reason), batch.data)


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
        self.corrections: list[CorrectionArrival] = []
        self._arrivals: defaultdict[MeterKey, Arrivals] = defaultdict(list)
        self._batch = batch

    @property
    def runs(self) -> list[Run]:
        """Return the events."""
        return list(self._arrivals.items())

    def decode(self, judging: Judging, set_asides: SetAsides) -> Steps[None]:
        """Decode records from its beginning on, until it has as much as it may have."""
        asides = set_asides.ends()
        until_ms, default = judging.believed_until_ms, judging.default_organization_id
        ways = default, self.marks, asides, self._arrivals, PLAINLY

        def note(part: Sequence[RawRecord], place: int, step: int) -> tuple[int, int, int]:
            noted = arrive_forwards(
                part, place, step, ITEM_BYTES, self.next_offset, until_ms, *ways
            )
            place, count, step, self.next_offset = noted
            return place, count, step

        parts = self._batch.parts_from(self.next_offset)
        take = partial(self._take_record, judging=judging, set_asides=set_asides)
        if (yield from _by_steps(parts, note, take)):
            self.next_offset, self.whole = max(self._batch.next, self.next_offset), True

    def _take_record(
        self, forwarded: RawRecord, judging: Judging, set_asides: SetAsides
    ) -> Steps[int]:
        """Take what one record holds; return for how many it counts, 0: it waits."""
        position = position_of(forwarded.headers)
        # Only owners write to this topic; whatever else lies in it has no position.
        if position is not None and position[2:] > self.marks.get(position[1], (-1, -1)):
            at_ms, partition, offset, index = position
            aside = set_asides.of(partition)
            if aside is None or not aside.holds_element(offset, index):
                place = (at_ms, partition, offset)
                if not (yield from self._take(forwarded, judging, place, index)):
                    self.waits_past_ms = at_ms
                    return 0
            self.marks[partition] = (offset, index)
        self.next_offset = forwarded.offset + 1
        return 1

    def _take(
        self, forwarded: RawRecord, judging: Judging, place: tuple[int, int, int], index: int
    ) -> Steps[bool]:
        """Take the event or correction of a record; return False if it waits for definitions."""
        headers = [header for header in forwarded.headers if header[0] != POSITION_HEADER]
        found = yield from found_in(forwarded.value, headers, place, judging)
        for arrived in found or ():
            # What is refused was refused where it was read first.
            if isinstance(arrived, Arrival):
                arrival = arrived.forwarded(index, forwarded.offset)
                self._arrivals[arrival.meter_key].append(arrival)
            elif isinstance(arrived, CorrectionArrival):
                self.corrections.append(arrived.forwarded(index, forwarded.offset))
        return found is not None
