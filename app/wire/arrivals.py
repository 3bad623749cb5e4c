"""From a raw record to arrivals: decoded, and given their position and organization."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from sys import intern
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from app.bounds.limits import ID_BYTES
from app.definitions.indexes.set_asides import Aside
from app.definitions.judging import GRANTED_HEADER, ORGANIZATION_HEADER, Judging
from app.kernel import arrive, learn
from app.wire.decode import Decoded, Headers, decode_odd, decode_plain_binary, decoding
from app.wire.events import PLAIN, Correction, Event, decode_plain, long_id
from app.wire.grants import is_granted
from app.wire.identity import event_id
from app.wire.refusals import OUT_OF_RANGE_MESSAGE, Refusal, RefusalCode, check_range

Position = tuple[int, int, int, int]
"""(append_time ms, raw partition, raw offset, array index): the order of arrival."""


SubscriptionKey = tuple[str, str]
"""(organization_id, external_subscription_id)"""

MeterKey = tuple[str, str, str]
"""(organization_id, external_subscription_id, code)"""


def interned(meter_key: MeterKey) -> MeterKey:
    """Return the key to keep: very many have the same organization and code."""
    organization_id, external_id, code = meter_key
    return intern(organization_id), external_id, intern(code)


class Arrival(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """An event with where it came from: the position of its raw record.

    The garbage collector does not see it: walking those of a portion costs every event.
    """

    event: Event
    organization_id: str
    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int
    rekeyed_offset: int = -1
    """Offset on events-rekeyed; -1 when the raw record lies on the home partition."""
    admitted: bool = False
    """Replayed with `meter-admit`: neither too late nor refused because the period closed."""

    @property
    def position(self) -> Position:
        """What orders arrivals."""
        return (self.append_time_ms, self.raw_partition, self.raw_offset, self.array_index)

    @property
    def place(self) -> tuple[int, int, int, int]:
        """Where its records lie; `rekeyed_offset` last."""
        return (self.raw_partition, self.raw_offset, self.array_index, self.rekeyed_offset)

    def forwarded(self, array_index: int, rekeyed_offset: int) -> Arrival:
        """Return the same as it comes by events-rekeyed, in a record of its own."""
        return replace(self, array_index=array_index, rekeyed_offset=rekeyed_offset)

    @property
    def name(self) -> SubscriptionKey:
        """(organization_id, external_subscription_id)"""
        return self.organization_id, self.event.external_subscription_id

    @property
    def meter_key(self) -> MeterKey:
        """(organization_id, external_subscription_id, code)"""
        return *self.name, self.event.code

    @property
    def identity(self) -> bytes:
        """The event id that the index knows it by."""
        return event_id(*self.name, self.event.transaction_id)

    @property
    def timestamp_ms(self) -> int:
        """Event time; the append time when the event has none."""
        timestamp_ms = self.event.timestamp_ms
        return self.append_time_ms if timestamp_ms is None else timestamp_ms


class ReplayedArrival(Arrival, frozen=True, gc=False, array_like=True):
    """One that was a dead letter. Others are written down without a field for that."""

    replayed: bytes = b""
    """What its record says by `REPLAYED_HEADER`: if it is refused, its letter says so, too."""


Run = tuple[MeterKey, Sequence[Arrival]]
"""Events of one (organization_id, external_subscription_id, code), in any order."""


Arrivals = list[Arrival]
"""A run that arrivals are added to. What `app.kernel.arrive_many` makes stands for such a list."""


def runs_of(arrivals: Iterable[Arrival]) -> list[Run]:
    """Group arrivals by what their route is looked up with."""
    runs: defaultdict[MeterKey, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        event = arrival.event
        runs[arrival.organization_id, event.external_subscription_id, event.code].append(arrival)
    return list(runs.items())


class CorrectionArrival(NamedTuple):
    """A correction with where it came from."""

    correction: Correction
    organization_id: str
    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int

    def forwarded(self, array_index: int, _: int) -> CorrectionArrival:
        """Return the same as it comes by events-rekeyed, in a record of its own."""
        return self._replace(array_index=array_index)

    @property
    def position(self) -> Position:
        """What orders corrections."""
        return self[2:6]

    @property
    def name(self) -> SubscriptionKey:
        """(organization_id, external_subscription_id)"""
        return self.organization_id, self.correction.external_subscription_id


Arrived = Arrival | CorrectionArrival | Refusal

ADMIT_HEADER = "meter-admit"
REPLAYED_HEADER = "meter-replayed"
"""A header of what is replayed: the place of the letter that it stands for, and its code."""

_UNKNOWN_ORGANIZATION = (
    "organization_id is missing; send it with the event or set default_organization_id"
)

_NOT_ALLOWED = {
    "topic": "everything in this topic is of default_organization_id; leave organization_id out",
    "header": f"organization_id has to be that of the one header {ORGANIZATION_HEADER}",
}
"""By `producer_trust`."""

_NOT_GRANTED = (
    f"producers may not correct; send it over REST, or with the header {GRANTED_HEADER} of a grant"
)


def arrivals_of(
    value: bytes | None,
    headers: Headers,
    append_time_ms: int,
    partition: int,
    offset: int,
    judging: Judging,
    aside: Aside | None = None,
) -> Sequence[Arrived]:
    """Return what is in one record of the raw topic and not set aside, in its order.

    `aside`: of its raw partition. What is set aside as a whole is not even decoded.
    """
    return list(arriving(value, headers, append_time_ms, partition, offset, judging, aside))


def arriving(
    value: bytes | None,
    headers: Headers,
    append_time_ms: int,
    partition: int,
    offset: int,
    judging: Judging,
    aside: Aside | None = None,
) -> Iterator[Arrived]:
    """Yield what `arrivals_of` gives, one at a time: a record may have thousands."""
    if aside is not None and aside.touches(offset):
        if not aside.holds(offset):
            for each in arriving(value, headers, append_time_ms, partition, offset, judging):
                if not aside.holds_element(offset, index_of(each)):
                    yield each
        return
    default, belief = judging.default_organization_id, judging.belief_at(append_time_ms)
    if value is not None:
        arrival = plain_arrival(value, append_time_ms, partition, offset, default, headers=headers)
        if arrival is not None and (
            belief is None or belief.may_be_of(arrival.organization_id, default, headers)
        ):
            yield arrival
            return
    admitted = any(name == ADMIT_HEADER and text == b"true" for name, text in headers)
    may_correct = True
    if belief is not None and not (belief.may_correct and belief.may_admit):
        granted = is_granted(value, headers, append_time_ms, judging)
        may_correct = belief.may_correct or granted
        admitted = admitted and (belief.may_admit or granted)
    place = (append_time_ms, partition, offset)
    yield from _judged(decoding(value, headers), place, judging, headers, admitted, may_correct)


def arrive_elements(
    elements: Iterable[tuple[int, bytes]],
    place: tuple[int, int, int],
    judging: Judging,
    arrivals: dict[MeterKey, list[Arrival]],
) -> Iterator[Arrived]:
    """Note plain events of an array in their runs; yield what its other elements are, in order.

    They came without headers, and everything is believed.
    """
    default = judging.default_organization_id
    odd = (
        (index, decode_odd(body, index))
        for index, body in elements
        if not (body.startswith(b"{") and arrive(body, *place, default, arrivals, PLAINLY, index))
    )
    return _judged(odd, place, judging)


def _judged(
    found: Iterable[tuple[int, Decoded]],
    place: tuple[int, int, int],
    judging: Judging,
    headers: Headers = (),
    admitted: bool = False,
    may_correct: bool = True,
) -> Iterator[Arrived]:
    """Yield what was decoded with its position and organization, or why it is refused."""
    append_time_ms = place[0]
    default, belief = judging.default_organization_id, judging.belief_at(append_time_ms)
    replayed = next((text or b"" for name, text in headers if name == REPLAYED_HEADER), b"")
    for index, decoded in found:
        if isinstance(decoded, Refusal):
            yield decoded
            continue
        organization_id = decoded.organization_id or default
        if organization_id is None:
            code = RefusalCode.UNKNOWN_ORGANIZATION
            yield Refusal(code, _UNKNOWN_ORGANIZATION, decoded.body, index)
            continue
        if belief is not None and not belief.may_be_of(organization_id, default, headers):
            code = RefusalCode.ORGANIZATION_NOT_ALLOWED
            yield Refusal(code, _NOT_ALLOWED[belief.producer_trust], decoded.body, index)
            continue
        if append_time_ms > judging.limited_after_ms:
            field = long_name(decoded)
            if field is not None:
                code, message = RefusalCode.TOO_LARGE, f"{field} may have {ID_BYTES} bytes"
                yield Refusal(code, message, decoded.body, index)
                continue
        origin = (organization_id, *place, index)
        if not isinstance(decoded, Correction):
            if replayed:
                yield ReplayedArrival(decoded, *origin, admitted=admitted, replayed=replayed)
            else:
                yield Arrival(decoded, *origin, admitted=admitted)
        elif may_correct:
            yield _correction(decoded, origin)
        else:
            code = RefusalCode.INVALID_CORRECTION
            yield Refusal(code, _NOT_GRANTED, decoded.body, index)


def long_name(decoded: Event | Correction) -> str | None:
    """Return the field that is too long a name, of an event or a correction, or what it amends."""
    if len(decoded.body) <= ID_BYTES and not (isinstance(decoded, Event) and decoded.envelope):
        return None
    amended = decoded.event if isinstance(decoded, Correction) else None
    return long_id(decoded) or (None if amended is None else long_id(amended))


def hang_on_limits(found: Iterable[Arrived]) -> bool:
    """Return whether taking or refusing what a record holds depends on limits when it comes."""
    for each in found:
        if isinstance(each, Arrival):
            if long_name(each.event) is not None:
                return True
        elif isinstance(each, CorrectionArrival) and long_name(each.correction) is not None:
            return True
    return False


def index_of(arrived: Arrived) -> int:
    """Return which element of its record it is, from 0."""
    return arrived.index if isinstance(arrived, Refusal) else arrived.array_index


def plain_arrival(
    value: bytes,
    append_time_ms: int,
    partition: int,
    offset: int,
    default_organization_id: str | None,
    index: int = 0,
    headers: Headers = (),
) -> Arrival | None:
    """Return an ordinary event that came without headers, or in them; None for anything else."""
    event = decode_plain_binary(value, headers) if headers else decode_plain(value)
    if event is None:
        return None
    organization_id = event.organization_id or default_organization_id
    if organization_id is None:
        return None
    return Arrival(event, organization_id, append_time_ms, partition, offset, index)


def note_plain(
    value: bytes,
    append_time_ms: int,
    partition: int,
    offset: int,
    default_organization_id: str | None,
    arrivals: dict[MeterKey, list[Arrival]],
    index: int,
) -> bool:
    """Add what `plain_arrival` returns to its run; return False if that is None."""
    place = (append_time_ms, partition, offset)
    arrival = plain_arrival(value, *place, default_organization_id, index)
    if arrival is None:
        return False
    event = arrival.event
    key = (arrival.organization_id, event.external_subscription_id, event.code)
    arrivals.setdefault(key, []).append(arrival)
    return True


PLAINLY: Final = (note_plain, Arrival, *PLAIN)
"""How `app.kernel.arrive` makes an arrival."""


def _object_of(kind: Any) -> object:
    """Return an object of a class whose fields all differ."""
    return kind(*map(str, range(len(kind.__struct_fields__))))


learn(_object_of(Event))
learn(_object_of(Arrival))


def _correction(
    correction: Correction, origin: tuple[str, int, int, int, int]
) -> CorrectionArrival | Refusal:
    """Return a correction with its position; an amend must keep to the range that events have."""
    event, append_time_ms = correction.event, origin[1]
    if event is not None and event.organization_id not in (None, origin[0]):
        message = "an amend keeps organization_id"
        return Refusal(RefusalCode.INVALID_CORRECTION, message, correction.body, origin[-1])
    if event is not None and event.timestamp_ms is not None:
        refusal = check_range(event.timestamp_ms, append_time_ms)
        if refusal is not None:
            code = RefusalCode.INVALID_CORRECTION
            return Refusal(code, f"event: {OUT_OF_RANGE_MESSAGE}", correction.body, origin[-1])
    return CorrectionArrival(correction, *origin)
