"""The table of event ranges: which there are, which a flush writes, which names are undefined."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from types import MappingProxyType
from typing import Final

import msgspec

from app.bounds.limits import UNDEFINED_NAMES
from app.kernel import EARLY_MS
from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey, interned
from tables.changelogged.checksum import ChangelogSum, Rows
from tables.changelogged.presence import (
    REST,
    EventRanges,
    LogsKept,
    Touched,
    resting,
    touched_in,
)
from tables.changelogged.rest_names import RestNames
from tables.changelogged.resting import Codes, RestingRanges

_NO_CODES: Final[Mapping[str, EventRanges]] = MappingProxyType({})
_EVER: Final[Mapping[MeterKey, int]] = MappingProxyType({})
_MOST_LOADED: Final = 1_000
"""How many are objects while they are loaded: the codes of one come in any order."""

_FEW: Final = 16
"""One in so many: to find out which these are takes less than to pass over all others."""

_encode = msgspec.msgpack.Encoder().encode
_decode_key: Callable[[bytes], MeterKey] = msgspec.msgpack.Decoder(MeterKey).decode


class EventRangesTable:
    """Event ranges of one partition, by external subscription and code."""

    def __init__(
        self,
        is_defined: Callable[[SubscriptionKey, str], bool],
        begin_rest: Callable[[], EventRanges],
    ) -> None:
        """Begin without any."""
        self._is_defined = is_defined
        self._begin_rest = begin_rest
        self.undefined: set[MeterKey] = set()
        """Names kept one by one although nothing defines them."""
        self.most_undefined = UNDEFINED_NAMES
        self.begins_ms = 0
        """`first_ms` of an entry before its first event."""
        self.rest: EventRanges | None = None
        """Common entry of all undefined names beyond `most_undefined`; None: there are none."""
        self.rest_names = RestNames()
        """Names that may have events noted in it."""
        self.codes = RestingRanges()
        self._names: dict[str, dict[str, array[int]]] = defaultdict(
            lambda: defaultdict(lambda: array("I"))
        )
        """Numbers of external subscriptions with events, by organization and code."""
        self.sum = ChangelogSum()
        """Sum of the changelog records that were loaded or taken."""
        self._rest_value: bytes | None = None
        """What the changelog has of `rest`."""
        self._dirty: dict[MeterKey, EventRanges] = {}
        """Changed entries, which the next flush writes."""
        self.touched_when_loaded: dict[MeterKey, Touched] = {}
        """What those that were loaded have to tell."""
        self._to_rest: dict[SubscriptionKey, None] = {}
        """Names that rest once the changelog has them: no route holds any of their entries."""

    def entry_of(
        self, name: SubscriptionKey, code: str, *, is_counted: bool = False
    ) -> EventRanges:
        """Return the entry to note events in; whoever changes it calls `mark`.

        A route holds it until `rest_again`. `is_counted`: the route leads to charges, so something
        is defined that counts them.
        """
        entry = self._kept(name, code, is_counted) if is_counted else self._awake(name, code)
        if self._to_rest:
            self._to_rest.pop(name, None)
        return entry

    def of(self, name: SubscriptionKey, code: str) -> EventRanges:
        """Return the entry to note an event in, at once; the entry counts as changed."""
        was_awake = self.codes.is_awake(name)
        entry = self._awake(name, code)
        if not was_awake:
            self._to_rest[name] = None
        self.mark((*name, code), entry)
        return entry

    def _awake(self, name: SubscriptionKey, code: str) -> EventRanges:
        if self.rest is not None and (*name, code) == REST:
            return self.rest
        if not self.passes_over(name, code):
            return self._kept(name, code, is_counted=False)
        if self.rest is None:
            self.rest = self._begin_rest()
            self.mark(REST, self.rest)
        self.rest_names.add(name, code)
        return self.rest

    def _kept(self, name: SubscriptionKey, code: str, is_counted: bool) -> EventRanges:
        """Return the entry of a name that is kept one by one, made at its first event."""
        codes = self.codes.awake(name)
        entry = codes.find(code) if code in codes.kept else None
        if entry is None:
            entry = EventRanges(first_ms=self.begins_ms, written=False)
            self._keep(codes, code, is_counted).put(code, entry)
            self._dirty[*name, code] = entry
        return entry

    def rest_covers(self, meter_key: MeterKey) -> bool:
        """Return whether who reads from the first events of the rest on has all of a meter key."""
        known = self.find(meter_key[:2], meter_key[2])
        return known is None or (self.rest is not None and known.begins_within(self.rest))

    def rest_again(self, name: SubscriptionKey) -> None:
        """Keep an external subscription as bytes: no route holds any of its entries any more."""
        if not self.codes.rest(name):
            self._to_rest[name] = None

    def note_early(self, copies: Iterable[Arrival]) -> None:
        """Note which copies of known events came early: lists show them at their own time."""
        for arrival in copies:
            if arrival.timestamp_ms - arrival.append_time_ms <= EARLY_MS:
                continue
            name, code = arrival.name, arrival.event.code
            entry = self.of(name, code) if self.find(name, code) is not None else self.rest
            if entry is not None and entry.note_early([arrival]):
                self.mark((*name, code), entry)

    def note_forgotten(self, meter_key: MeterKey, forgotten_ms: int) -> None:
        """Note until when periods of a meter key were final whose cells are gone; -1: none is."""
        name, code = meter_key[:2], meter_key[2]
        entry = self.find(name, code)
        if entry is not None and entry.forgotten_ms != forgotten_ms:
            self.of(name, code).forgotten_ms = forgotten_ms

    def forgotten_ms(self, name: SubscriptionKey, code: str) -> int:
        """Return until when periods of a meter key were final whose cells are gone; -1: none is."""
        entry = self.find(name, code)
        return -1 if entry is None else entry.forgotten_ms

    def mark(self, meter_key: MeterKey, entry: EventRanges) -> None:
        """Have the next flush write an entry."""
        if entry.written:
            entry.written = False
            self._dirty[REST if entry is self.rest else meter_key] = entry

    def _keep(self, codes: Codes, code: str, is_counted: bool = False) -> Codes:
        """Return the codes of an external subscription, one of which is new."""
        name = codes.name
        self._names[name[0]][code].append(codes.number)
        if not (is_counted or self._is_defined(name, code)):
            self.undefined.add((*name, code))
        return codes

    def passes_over(self, name: SubscriptionKey, code: str) -> bool:
        """Return True if an event of this name is noted in the common entry `rest`."""
        return (
            len(self.undefined) >= self.most_undefined
            and self.find(name, code) is None
            and not self._is_defined(name, code)
        )

    def note_defined(self, name: SubscriptionKey, code: str) -> None:
        """Stop counting a name as undefined if it is defined now, which makes room for another."""
        if (*name, code) in self.undefined and self._is_defined(name, code):
            self.undefined.remove((*name, code))

    def extend_to(self, name: SubscriptionKey, code: str) -> None:
        """Extend a code's entry over all other codes, because their events may count as its own."""
        entry = self.of(name, code)
        for other in list(self.codes_of(name).values()):
            entry.merge(other)
        if self.rest is not None:
            entry.merge(self.rest)

    def names_with(self, organization_id: str, code: str) -> Iterator[SubscriptionKey]:
        """Yield the external subscriptions of an organization that have events of a code.

        None of those that come meanwhile is among them.
        """
        numbers = self._names.get(organization_id, {}).get(code, ())
        return self.codes.named(islice(numbers, len(numbers)))

    def items_of(self, organization_id: str) -> Iterator[tuple[SubscriptionKey, Codes] | None]:
        """Yield each external subscription of an organization with its entries, to be read.

        None: one that was yielded for another code. What comes meanwhile is not among them.
        """
        for number in self._numbers_of(organization_id):
            yield None if number is None else self.codes.item(number)

    def names_of(self, organization_id: str) -> Iterator[SubscriptionKey | None]:
        """Yield external subscriptions of an organization, as `items_of` does."""
        rows, name_in = self.codes.rows, self.codes.name_in
        for number in self._numbers_of(organization_id):
            yield None if number is None else name_in(rows[number])

    def _numbers_of(self, organization_id: str) -> Iterator[int | None]:
        by_code, seen = self._names.get(organization_id, {}).values(), set[int]()
        for number in chain(*[islice(numbers, len(numbers)) for numbers in by_code]):
            if number in seen:
                yield None
            else:
                seen.add(number)
                yield number

    def rows_of(self, organization_id: str, most: int) -> tuple[bytes, Iterator[list[bytes]]]:
        """Return `NamedRows.rows_of` the external subscriptions of an organization that has events.

        Of one with few of them all no row of another is among them.
        """
        by_code = self._names.get(organization_id, {}).values()
        few = _FEW * sum(map(len, by_code)) < len(self.codes)
        own = sorted(set(chain(*by_code))) if few else None
        return self.codes.rows_of(organization_id, most, own)

    def find(self, name: SubscriptionKey, code: str) -> EventRanges | None:
        """Return the entry; None: no event ever came, or the name is one of the rest."""
        codes = self.codes.get(name)
        if codes is not None:
            return codes.find(code)
        return self.rest if (*name, code) == REST else None

    def codes_of(self, name: SubscriptionKey) -> Mapping[str, EventRanges]:
        """Return the entries of an external subscription by code."""
        codes = self.codes.get(name)
        return _NO_CODES if codes is None else codes

    def meter_keys_of(self, name: SubscriptionKey) -> set[MeterKey]:
        """Return every meter key of an external subscription that has events."""
        return {(*name, code) for code in self.codes_of(name)}

    def all_meter_keys(self) -> Iterator[MeterKey]:
        """Yield every meter key that has events; names not kept one by one count as REST."""
        for name, codes in self.codes.items():
            for code in codes:
                yield *name, code
        if self.rest is not None:
            yield REST

    def names_lacking(
        self,
        meter_keys: Iterable[MeterKey],
        kept: LogsKept,
        appended_from: Mapping[MeterKey, int] = _EVER,
    ) -> set[SubscriptionKey]:
        """Return external subscriptions of which logs have some events no longer.

        `appended_from`: by meter key, since when those were appended that are asked for.
        """
        return {
            (org, external_id)
            for org, external_id, code in meter_keys
            if (entry := self.find((org, external_id), code)) is not None
            and kept.lacks(entry, appended_from.get((org, external_id, code)))
        }

    def entries_of(self, name: SubscriptionKey) -> list[EventRanges]:
        """Return the entries that cover all events of an external subscription."""
        entries = list(self.codes_of(name).values())
        return entries if self.rest is None else [*entries, self.rest]

    @property
    def pending(self) -> int:
        """How many have changed since the last flush."""
        return len(self._dirty)

    def take_changes(self) -> Rows:
        """Return changelog records of what changed since the last call."""
        changes, changed = dict[bytes, bytes](), list[tuple[bytes, bytes | None, bytes]]()
        for meter_key, entry in self._dirty.items():
            value, kept = entry.packed_to_rest()
            key, entry.written = _encode(meter_key), True
            if entry is self.rest:
                before, self._rest_value = self._rest_value, value
            else:
                before = self.codes.awake(meter_key[:2]).written(meter_key[2], kept)
            changed.append((key, before, value))
            changes[key] = value
        self._dirty.clear()
        self.sum = self.sum.after(changed)
        for name in self._to_rest:
            self.codes.rest(name)
        self._to_rest.clear()
        return changes

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        organization_id, external_id, code = interned(_decode_key(key))
        if (organization_id, external_id, code) == REST:
            self.rest, self._rest_value = EventRanges.unpacked(value), value
            # Whose events it stands for is not written down: the first search learns it.
            self.rest_names = RestNames(is_whole=False)
        else:
            codes = self.codes.awake((organization_id, external_id))
            self._keep(codes, code).written(code, resting(value))
            if touched := touched_in(value):
                self.touched_when_loaded[organization_id, external_id, code] = touched
            if self.codes.count_awake >= _MOST_LOADED:
                self.codes.rest_all()
        self.sum = self.sum.replaced(key, None, value)

    def loaded(self) -> None:
        """Keep what was taken over as bytes, now that it is all there."""
        self.codes.rest_all()
