"""What the compiled kernel does, in Python: the same functions with the same answers.

It is used where no kernel was built, and says what each function returns. The kernel hands more
back: escapes in properties, for one. That goes the way of one event after the other.

It has over 500 lines: one function for each of the kernel, and what it is given.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence, Set
from decimal import Decimal
from typing import Any, Protocol

import msgspec

from app.kernel.twin_filters import maybe_among as maybe_among
from app.kernel.twin_filters import row_among as row_among
from app.kernel.twin_head import Head as Head
from app.kernel.twin_members import take_operations as take_operations


class Arrival(Protocol):
    """What is read of an arrival."""

    @property
    def event(self) -> Any: ...
    @property
    def timestamp_ms(self) -> int: ...
    @property
    def append_time_ms(self) -> int: ...
    @property
    def raw_partition(self) -> int: ...
    @property
    def raw_offset(self) -> int: ...
    @property
    def array_index(self) -> int: ...
    @property
    def rekeyed_offset(self) -> int: ...


Key = tuple[str, str, str]
"""(organization_id, external_subscription_id, code)"""

Run = tuple[Key, Sequence[Arrival]]
"""Events of one key."""

Operations = list[tuple[str, bool, int, tuple[int, int, int, int]]]
"""(text, whether it is added, event time, position) of each event."""


class Reading(Protocol):
    """How events that fall into one cell are read and folded, in this order."""

    @property
    def field(self) -> str | tuple[str, ...] | None:
        """The property that is read; None: none is."""

    @property
    def most_text(self) -> int:
        """Characters that a text may have."""

    @property
    def numbers(self) -> Mapping[str, Any] | None:
        """Known numbers by their literal; None: a text is added or removed."""

    @property
    def number_of(self) -> Callable[[str], Any]:
        """What makes a number of any other literal; None: it is none."""

    @property
    def ordered(self) -> bool:
        """Whether positions are given; else they are empty."""

    @property
    def zero(self) -> Decimal:
        """The amount of which one is as good as many. Its class makes numbers of texts."""

    @property
    def add(self) -> Callable[[Decimal, Decimal], Decimal]:
        """How amounts are added."""

    @property
    def apply(self) -> Callable[[Any, Decimal, int, tuple[int, ...]], None] | None:
        """Takes state, number, event time and position; None: a state keeps none."""

    @property
    def kept(self) -> int:
        """1 or 2: all that `apply` does is to keep the sum, or the greatest, of the numbers in the
        first field beside those that all states have. 3: it keeps the sum there, that of their
        products with event times in the second, and the newest time in the third. 0: it does
        something else."""

    @property
    def fma(self) -> Callable[[Decimal, int, Decimal], Decimal]:
        """What multiplies the first two and adds the third."""


class Cell(Protocol):
    """What is read and changed of a cell."""

    state: Any
    dirty: bool


Literals = tuple[bytes | None, ...]
"""JSON literals of some properties; None: there is no such property."""

Place = tuple[str | None, tuple[str | None, ...]]
"""The name of a cell: its filter and groups."""

Parting = tuple[Mapping[Place, Any], Any, Mapping[Any, bytes] | None, int | None]
"""Cells of a period by name, the charge, the sets of members by name and period, the period."""

PlaceOf = Callable[[Any, Literals], Place | None]


class Route(Protocol):
    """What is read of a route."""

    @property
    def bounds(self) -> bytes:
        """Packed as `BOUNDS` when events within lead straight into its cell; else shorter."""

    @property
    def event_ranges(self) -> Any:
        """How far its events reach: `newest_ms` and `appended_ms`."""

    @property
    def cell(self) -> Any: ...
    @property
    def reading(self) -> Any: ...
    @property
    def parting(self) -> Parting | None:
        """Where events lead straight of a charge with several cells, which has no `cell`."""

    @property
    def set_key(self) -> bytes | None:
        """The set that its operations change; None: it has none."""


class PackedCell(Protocol):
    """A cell that a flush writes."""

    def packed_key(self) -> bytes: ...
    def packed(self) -> bytes: ...


BOUNDS = struct.Struct("=8q")
"""Event times from the first until before the second, append times from the third to the fourth.
Then beyond what more is noted of them: greatest event time, greatest append time, first raw offset
and first rekeyed offset."""


def learn(known: object) -> None:
    """Find out where objects of a class have their fields, by one whose fields all differ."""


def learn_state(state: object, fields: tuple[object, ...]) -> None:
    """Find out where states of a type have their first fields, by one with these objects in them.

    Those that all states have are the first four.
    """


def arrive(
    value: bytes,
    append_time_ms: int,
    partition: int,
    offset: int,
    default: str | None,
    arrivals: dict[tuple[str, str, str], list[Any]],
    ways: tuple[Callable[..., Any], *tuple[Any, ...]],
    index: int = 0,
) -> bool:
    """Note an event beside others of its organization, subscription and code.

    `value`: all that a record, or an element of one, holds. Return False if that is not plain, or
    of no organization. The first of `ways` does so. Of most bytes the kernel makes the same itself,
    with the others: the classes of arrivals and of events, what reads a time and an amount, and
    zero.
    """
    taken: bool = ways[0](value, append_time_ms, partition, offset, default, arrivals, index)
    return taken


def checksum(data: bytes, at: int, end: int) -> int | None:
    """Return the CRC-32C of bytes from `at` until `end`; None: there is no instruction for it."""
    return None


def split(
    data: bytes,
    at: int,
    end: int,
    count: int,
    base_offset: int,
    next_offset: int,
    from_offset: int,
    first_ms: int,
    append_ms: int,
    kind: Callable[..., Any],
) -> Any:
    """Return the records of a batch from an offset on, each made when it is asked for, or None.

    `data`: has the batch, inflated and without its head, from `at` until `end`. The head tells the
    number of records, the first offset, that of the next batch, and the first time; `append_ms`:
    the time of all of them, or -1. `kind` makes a record of (offset, time, whether the time is that
    of all, key, value, headers). Of a batch that is damaged, or whose headers are no UTF-8 or too
    many, the kernel returns None; the twin does so of any.
    """
    return None


def arrive_many(
    records: Sequence[Any],
    place: int,
    room: int,
    each: int,
    next_offset: int,
    append_time_ms: int,
    until_ms: int,
    partition: int,
    trust: int,
    default: str | None,
    arrivals: dict[tuple[str, str, str], Any],
    ways: tuple[Callable[..., Any], *tuple[Any, ...]],
) -> tuple[int, int, int, int, int, bool]:
    """Note plain events of records that `split` returned, beside others of their key.

    It begins at a place, and ends before the first record that is no plain event or array of such,
    or has a header that decides what it is. It ends as well before one that was appended after all
    before it and after `until_ms`, or where nothing is left of `room`. A record takes its bytes and
    `each` more, an array `each` for each element besides. It ends before a record that `trust` does
    not believe: 0 believes all, 1 those of the default organization, 2 those of the organization of
    their one header `meter-organization`. Return the next place, how many records and elements
    there were, what is left of the room, the next offset and the append time as they are then. Last
    comes whether each event is all that its record holds, beside which no header names it. The
    kernel keeps events as sequences of arrivals, each made when it is asked for; the twin notes
    none.
    """
    return place, 0, room, next_offset, append_time_ms, True


def arrive_forwards(
    records: Sequence[Any],
    place: int,
    room: int,
    each: int,
    next_offset: int,
    until_ms: int,
    default: str | None,
    marks: dict[int, tuple[int, int]],
    asides: Mapping[int, int],
    arrivals: dict[tuple[str, str, str], Any],
    ways: tuple[Callable[..., Any], *tuple[Any, ...]],
) -> tuple[int, int, int, int]:
    """Note plain events that were forwarded, as `arrive_many` notes those of raw records.

    It ends as well before a record with another header than its position. It ends before an event
    appended after `until_ms`, and before one below the offset that `asides` has of its partition.
    Events up to the mark of their raw partition, (offset, array index), are passed over; the marks
    are moved on. Return the next place, how many records were read, what is left of the room, and
    the next offset.
    """
    return place, 0, room, next_offset


def note_leaving(
    run: Sequence[Arrival], from_offset: int, home: int, key: bytes, leaving: list[Any]
) -> bool:
    """Note events of a run to be forwarded, from a raw offset on, if all lie in their values.

    Each as (raw offset, array index, home, (key, body, text of its position, ())). Return False,
    and note none, of any other run.
    """
    return False


def reach_of(run: Sequence[Arrival]) -> tuple[int, int, int, int, int]:
    """Return what of events decides what is noted of them; there is one at least.

    (greatest event time, least append time, greatest append time, least raw offset of those that
    came by raw, least rekeyed offset of the others); -1: there are none such.
    """
    newest_ms = max(each.timestamp_ms for each in run)
    times = [each.append_time_ms for each in run]
    raw = [each.raw_offset for each in run if each.rekeyed_offset < 0]
    rekeyed = [each.rekeyed_offset for each in run if each.rekeyed_offset >= 0]
    return newest_ms, min(times), max(times), min(raw, default=-1), min(rekeyed, default=-1)


def write_plain(
    runs: list[Run],
    first: int,
    buffer: bytearray,
    hash_of: Callable[[bytes], int],
    code_key: Callable[[str], int],
    keys: bytearray,
    ends: bytearray,
) -> int:
    """Write runs from `first` on as ledgers do; return the place of the first that is left.

    That one has events which `arrive_many` did not note, or that somebody has asked for. A chunk of
    each goes to `buffer`: 0, and in MessagePack the organization and lists of offsets, append times
    and bodies; or 3, where some lie in arrays, were forwarded or have headers, and lists of raw
    partitions, array indexes, rekeyed offsets and envelopes as well. What it is sorted by goes to
    `keys`, by the hashes of its name and its code, and where it ends to `ends`; 8 bytes each.
    """
    return first


def event_ids(rows: list[bytes], start: bytes, organization_id: str, transaction_id: str) -> bytes:
    """Return the ids of a transaction under the external subscriptions of rows, one after another.

    Of the rows that begin with `start`: after it they have the external subscription as text of
    MessagePack. Raises ValueError if one has none there.
    """
    ids = []
    for row in rows:
        if row.startswith(start):
            identity = _blank_id()
            text = _text_at(row, len(start))
            identity.update(f"{organization_id}\0{text}\0{transaction_id}".encode())
            ids.append(identity.digest())
    return b"".join(ids)


def _text_at(row: bytes, start: int) -> str:
    kind = row[start] if 0 <= start < len(row) else 0
    digits = {0xD9: 1, 0xDA: 2, 0xDB: 4}.get(kind, 0)
    first = start + 1 + digits
    length = int.from_bytes(row[start + 1 : first], "big") if digits else kind & 0x1F
    if (not digits and kind & 0xE0 != 0xA0) or first > len(row) or first + length > len(row):
        raise ValueError("a row has no text there")
    return row[first : first + length].decode()


def index_rows(
    organization_id: str,
    external_subscription_id: str,
    run: Sequence[Arrival],
    start_ms: int,
    end_ms: int,
    after_ms: int,
    until_ms: int,
    hash_of: Callable[[bytes], int],
    hash_with: Callable[[Any], int],
    packed: bytearray,
) -> bool:
    """Append the packed row of each event; return False, and append none, if one is out of bounds.

    Event times are from `start_ms` on and before `end_ms`, append times from `after_ms` until
    `until_ms`. `hash_of` hashes a body, `hash_with` an event with an envelope.

    Raises:
        ValueError: a field is out of its range.
    """
    prefix = f"{organization_id}\0{external_subscription_id}\0"
    rows: list[bytes] = []
    for arrival in run:
        event, append_time_ms = arrival.event, arrival.append_time_ms
        if not _is_inside(arrival, start_ms, end_ms, after_ms, until_ms):
            return False
        identity = _blank_id()
        identity.update((prefix + event.transaction_id).encode())
        body = (hash_with(event) if event.envelope else hash_of(event.body)) & _LARGEST_48_BITS
        partition, index = arrival.raw_partition, arrival.array_index
        offset, rekeyed = arrival.raw_offset, arrival.rekeyed_offset
        if (
            append_time_ms >> 48
            or (partition | index) >> 16
            or offset >> 48
            or not -1 <= rekeyed < _LARGEST_48_BITS
        ):
            raise ValueError("a field of an entry is out of its range")
        if rekeyed < 0:
            rekeyed = _LARGEST_48_BITS
        rows.append(
            _pack_row(
                identity.digest(),
                append_time_ms << 16 | partition,
                offset << 16 | index,
                rekeyed << 16 | body >> 32,
                body & 0xFFFFFFFF,
            )
        )
    packed += b"".join(rows)
    return True


def take_run(
    cell: Cell,
    external_subscription_id: str,
    code: str,
    run: Sequence[Arrival],
    start_ms: int,
    end_ms: int,
    after_ms: int,
    until_ms: int,
    reading: Reading,
    dirty: list[Any],
) -> Operations | bool:
    """Fold events that all fall into one cell; return False, and change nothing, if one is odd.

    Event times are from `start_ms` on and before `end_ms`, append times after `after_ms` until
    `until_ms`. A cell that becomes dirty is appended to `dirty`. Return operations, if such are
    read; else True.
    """
    read = _read(
        external_subscription_id, code, run, (start_ms, end_ms, after_ms, until_ms), reading
    )
    if read is None:
        return False
    digest, amounts, carried, found = read
    state, apply = cell.state, reading.apply
    if carried or state.precise is not None:
        # Those before the first amount are counted from then on.
        before = state.events if state.precise is None else state.bare
        state.bare = before + len(run) - carried
    state.digest = (state.digest + digest) & _DIGEST_MASK
    state.events += len(run)
    for amount in amounts:
        if state.precise is None:
            state.precise = amount
        elif amount is not reading.zero:
            state.precise = reading.add(state.precise, amount)
    if apply is not None:
        for number, timestamp_ms, position in found:
            apply(state, number, timestamp_ms, position)
    if not cell.dirty:
        cell.dirty = True
        dirty.append(cell)
    return found if reading.field is not None and reading.numbers is None else True


def _read(
    external_subscription_id: str,
    code: str,
    run: Sequence[Arrival],
    bounds: tuple[int, int, int, int],
    reading: Reading,
) -> tuple[int, list[Decimal], int, list[Any]] | None:
    """Return the sum of the digests, amounts, how many have one, what is read; None: one is odd."""
    start_ms, end_ms, after_ms, until_ms = bounds
    total = carried = 0
    amounts: list[Decimal] = []
    found: list[tuple[Any, ...]] = []
    prefix, suffix = f"{external_subscription_id}\0", f"\0{code}\0"
    for arrival in run:
        event, append_time_ms = arrival.event, arrival.append_time_ms
        timestamp_ms = arrival.timestamp_ms
        if not (start_ms <= timestamp_ms < end_ms and after_ms < append_time_ms <= until_ms):
            return None
        text = ""
        if reading.field is not None:
            value = _value_of(event.properties, reading)
            if value is None:
                return None
            *words, text = value
            position: tuple[int, ...] = ()
            if reading.ordered:
                partition, offset = arrival.raw_partition, arrival.raw_offset
                position = append_time_ms, partition, offset, arrival.array_index
            found.append((*words, timestamp_ms, position))
        hashing = _blank_digest()
        hashing.update(f"{prefix}{event.transaction_id}\0{timestamp_ms}{suffix}{text}".encode())
        total += _from_bytes(hashing.digest(), "big")
        amount = event.precise_total_amount_cents
        carried += amount is not None
        if amount is not None and not (amount is reading.zero and amounts):
            amounts.append(amount)
    return total & _DIGEST_MASK, amounts, carried, found


def _value_of(packed: bytes, reading: Reading) -> tuple[Any, ...] | None:
    """Return what is read of properties, and its digest text last; None: that is not plain."""
    properties = _properties_of(packed)
    names = reading.field if isinstance(reading.field, tuple) else (reading.field or "",)
    raws = [raw for name in names if (raw := properties.get(name)) is not None]
    if len(raws) < len(names):
        return None
    literal = b",".join(raws).decode()
    if reading.numbers is not None:
        value = reading.numbers.get(literal) or reading.number_of(literal)
        return None if value is None else (value[0], value[3])
    adds, text = _adds(properties.get("operation_type")), literal
    if literal[0] == '"':
        text = literal[1:-1]
    if adds is None or literal[0] in "{[n" or "\\" in literal or len(text) > reading.most_text:
        return None
    return text, adds, f"add:{text}" if adds else f"remove:{text}"


Led = tuple[list[Any], list[Run], list[tuple[Any, Run]], list[Run], list[Run]]
"""Routes, the run of each, pairs of them of which more has to be noted, runs whose set of members
is not whole, and runs that do not lead straight."""


EARLY_MS = 86_400_000
"""By so much the clock of a producer may be ahead; what comes longer before its time is noted."""


def lead(
    runs: list[Run],
    routes: Mapping[Key, Route],
    complete: Set[bytes],
    hash_of: Callable[[bytes], int],
    hash_with: Callable[[Any], int],
    packed: bytearray,
) -> Led:
    """Find the runs that lead straight into a cell; append their rows as `index_rows` does.

    Of a run that does not, those events that would alone. The event ranges of a route are extended
    to the times of those of which no more has to be noted. `complete`: the sets whose members are
    all at hand.
    """
    led: Led = ([], [], [], [], [])
    for run in runs:
        key, arrivals = run
        route = routes.get(key)
        if route is None or len(route.bounds) != BOUNDS.size:
            led[4].append(run)
            continue
        start_ms, end_ms, after_ms, until_ms, *reach = BOUNDS.unpack(route.bounds)
        newest_ms, appended_ms, raw_first, rekeyed_first = reach
        bounds = start_ms, end_ms, after_ms, until_ms
        outside = [at for at, one in enumerate(arrivals) if not _is_inside(one, *bounds)]
        if arrivals and len(outside) == len(arrivals):
            led[4].append(run)
            continue
        if outside:
            arrivals, others = apart(arrivals, outside)
            run = key, arrivals
            led[4].append((key, others))
        index_rows(key[0], key[1], arrivals, *bounds, hash_of, hash_with, packed)
        led[0].append(route)
        led[1].append(run)
        if route.set_key is not None and route.set_key not in complete:
            led[3].append(run)
        for arrival in arrivals:
            came_ms, rekeyed = arrival.append_time_ms, arrival.rekeyed_offset
            dated_ms = arrival.timestamp_ms
            offset, first = (
                (arrival.raw_offset, raw_first) if rekeyed < 0 else (rekeyed, rekeyed_first)
            )
            if (
                dated_ms > newest_ms
                or came_ms > appended_ms
                or not 0 <= first <= offset
                or dated_ms - came_ms > EARLY_MS
            ):
                led[2].append((route, run))
                break
        else:
            if arrivals:
                extend_ranges(route.event_ranges, arrivals)
    return led


def extend_ranges(ranges: Any, arrivals: Sequence[Arrival]) -> None:
    """Extend event ranges to the greatest times of some events."""
    newest_ms, _, appended_ms, *_ = reach_of(arrivals)
    ranges.newest_ms = max(ranges.newest_ms, newest_ms)
    ranges.appended_ms = max(ranges.appended_ms, appended_ms)


def apart(run: Sequence[Arrival], places: list[int]) -> tuple[Sequence[Arrival], Sequence[Arrival]]:
    """Return the events of a run without those of some places, and those."""
    taken = {range(len(run))[place] for place in places if place >= 0}
    if len(taken) < len(set(places)):
        raise IndexError("there is no such event")
    kept = [one for place, one in enumerate(run) if place not in taken]
    return kept, [one for place, one in enumerate(run) if place in taken]


MOST_NAMES = 8
"""How many properties a run is parted by, at most."""


def by_literals(
    run: Sequence[Arrival], names: tuple[str, ...]
) -> dict[Literals | None, Sequence[Arrival]]:
    """Return the events of a run by the JSON literals of some of their properties.

    A literal is None if there is no such property. Under None are the events whose properties are
    not plain: some have an escape, or a name twice. At most `MOST_NAMES`.
    """
    if len(names) > MOST_NAMES:
        raise ValueError("a run is split by fewer properties")
    parts: dict[Literals | None, list[Arrival]] = {}
    for arrival in run:
        parts.setdefault(_literals_of(arrival.event.properties, names), []).append(arrival)
    return {**parts}


def _literals_of(packed: bytes, names: tuple[str, ...]) -> Literals | None:
    properties = _properties_of(packed)
    found = [None if raw is None else bytes(raw) for raw in map(properties.get, names)]
    odd = (literal for literal in found if literal is not None and literal[:1] == b'"')
    return None if any(b"\\" in literal for literal in odd) else tuple(found)


def _is_inside(arrival: Arrival, start_ms: int, end_ms: int, after_ms: int, until_ms: int) -> bool:
    is_dated = start_ms <= arrival.timestamp_ms < end_ms
    return is_dated and after_ms <= arrival.append_time_ms <= until_ms


def fold_led(
    led: Sequence[Route],
    runs: Sequence[Run],
    dirty: list[Any],
    operations: list[tuple[Any, Any, bytes | None, Operations]],
    place_of: PlaceOf,
    complete: Set[bytes],
) -> tuple[list[int], list[tuple[int, list[Literals]]]]:
    """Fold runs that lead straight as `take_run` does, part by part where there are several cells.

    `place_of`: from a charge and literals to the name of a cell; None: the event decides. Return
    the places of the runs that are odd: not plain, or one of its cells or members is not there; and
    the places of others with the literals of what is odd of them. Of operations the route, the
    cell, its set and what `take_run` returns are appended.
    """
    unread: list[int] = []
    odd: list[tuple[int, list[Literals]]] = []
    for place, (route, (key, run)) in enumerate(zip(led, runs, strict=True)):
        whole = [] if route.cell is None else [(route.cell, route.set_key, (), run)]
        aims = whole or _aims_of(route.parting, run, place_of, complete)
        left: list[Literals] = []
        for cell, set_key, literals, part in aims:
            found = take_run(cell, *key[1:], part, *_ALWAYS, route.reading, dirty)
            if found is False:
                left.append(literals)
            elif found is not True:
                operations.append((route, cell, set_key, found))
        if not aims or (whole and left):
            unread.append(place)
        elif left:
            odd.append((place, left))
    return unread, odd


def pack_cells(
    cells: Sequence[PackedCell], version: int, kind: type[Decimal]
) -> list[tuple[bytes, bytes]]:
    """Return name and value of each cell, as the changelog has them.

    `version`: the fold version; `kind`: the class of numbers. The kernel writes what cells say of
    themselves, unless they are long or have states of later cuts.
    """
    return [(cell.packed_key(), cell.packed()) for cell in cells]


def _aims_of(
    parting: Parting | None, run: Sequence[Arrival], place_of: PlaceOf, complete: Set[bytes]
) -> list[tuple[Any, bytes | None, Literals, Sequence[Arrival]]]:
    """Return the parts of a run, with the cell and the set of members that each leads to.

    None of them if a cell is not there, or not all of its members are.
    """
    aims: list[tuple[Any, bytes | None, Literals, Sequence[Arrival]]] = []
    if parting is None:
        return aims
    cells, fold, sets, period_ms = parting
    for literals, part in by_literals(run, fold.place_names).items():
        place = None if literals is None else place_of(fold, literals)
        cell = None if place is None else cells.get(place)
        if literals is None or place is None or cell is None:
            return []
        set_key = None if sets is None else sets.get((*place, period_ms))
        if sets is not None and set_key not in complete:
            return []
        aims.append((cell, set_key, literals, part))
    return aims


def _adds(kind: msgspec.Raw | None) -> bool | None:
    """Return whether an operation adds; None: it is not known."""
    return True if kind is None else _OPERATIONS.get(bytes(kind))


_FOREVER_MS = 1 << 62
_ALWAYS = (-_FOREVER_MS, _FOREVER_MS, -_FOREVER_MS, _FOREVER_MS)
_OPERATIONS = {b'"add"': True, b'""': True, b'"remove"': False}
_DIGEST_MASK = (1 << 128) - 1
_LARGEST_48_BITS = (1 << 48) - 1
_pack_row = struct.Struct(">12sQQQI").pack
_properties_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# A copy of a hash that nothing was fed to costs less than a new one.
_blank_id = hashlib.blake2b(digest_size=12).copy
_blank_digest = hashlib.blake2b(digest_size=16).copy
_from_bytes = int.from_bytes
