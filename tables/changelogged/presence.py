"""Event ranges: where events of each (organization, external_subscription_id, code) lie.

The table has unmatched events, too. A late definition finds here what to refold and from which
offsets on, and usually that there is nothing to refold.

A producer can send any number of names that nothing defines. Beyond a limit they are not kept one
by one: one common entry knows where events of the others lie. A later definition makes the program
search the logs from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import msgspec

from app.billing_periods.day_count import DAY_MS
from app.bounds.limits import UNDEFINED_NAMES
from app.definitions.timeline import NEVER_MS, ceil_to
from app.kernel import reach_of
from app.wire.arrivals import Arrival, MeterKey, SubscriptionKey, interned
from tables.changelogged.checksum import SUM_MODULUS, ChangelogSum, record_hash

REST: MeterKey = ("", "", "undefined")
"""Stands for every undefined name that is not kept one by one; no organization has that id."""


Touched = dict[int, list[str]]
"""Subscriptions whose usage has changed, by the moment to tell it (records-and-cuts §4)."""

_NOTHING: Final[Mapping[int, list[str]]] = MappingProxyType({})
"""One for all who have nothing to tell, and they are nearly all."""

KEPT_TO_MS = 3_600_000
"""The changelog has times rounded up to it: a pair is written about once an hour."""

EARLY_MS = DAY_MS
"""By so much the clock of a producer may be ahead, or a period begin before its events come."""

NOTED_TO_MS = 60_000
"""Here they are rounded up to it: most events then change nothing, and are not looked at."""

_NOTES_EARLY = -1
"""No number of events: it stands in their place where what came early is noted."""


class EventRanges(msgspec.Struct, gc=False):
    """Where events of one code of one external subscription lie on its home partition."""

    raw_first: int = -1
    """Offset in the home's own raw partition of the first event; -1 when none came that way."""
    rekeyed_first: int = -1
    newest_ms: int = -1
    """Greatest event timestamp, and up to a minute more; after a restore up to an hour more."""
    appended_ms: int = -1
    """Greatest append time, as far off as that."""
    first_ms: int = 0
    """Least append time, while usage-changed is or was asked for; 0: whoever asks takes it so."""
    touched: Mapping[int, list[str]] = _NOTHING
    """As `Touched`; who adds to it asks for `own_touched`."""
    forgotten_ms: int = -1
    """Periods that were final by then have no cells any more (`Span.has_forgotten`); -1: none."""
    early_ms: int = -1
    """Greatest timestamp, and up to an hour more, of the events appended more than `EARLY_MS`
    before it; -1: there is none. Those that lead straight into a period are not appended so long
    before it begins."""
    written: bool = True
    """Whether the changelog has it as it is, or the next flush writes it."""
    hash: int = 0
    """Hash of the changelog record last written; 0 when there is none."""

    @classmethod
    def unpacked(cls, value: bytes) -> EventRanges:
        """Return what a changelog has, of this or of an older program."""
        row = _decode_row(value)
        return cls(
            row.raw_first,
            row.rekeyed_first,
            _shared(row.newest_ms),
            _shared(row.appended_ms),
            row.first_ms,
            row.touched or _NOTHING,
            row.forgotten_ms,
            row.early_ms if row.events == _NOTES_EARLY else NEVER_MS,
        )

    def packed(self) -> bytes:
        """Return the bytes of the changelog, as ever for who never asked for usage-changed."""
        row = (
            True,
            _NOTES_EARLY,
            self.raw_first,
            -1,
            self.rekeyed_first,
            -1,
            ceil_to(self.newest_ms, KEPT_TO_MS),
            ceil_to(self.appended_ms, KEPT_TO_MS),
        )
        told = 4 if self.early_ms >= 0 else 3 if self.forgotten_ms >= 0 else 2
        if told == 2 and not (self.touched or self.first_ms):
            return msgspec.msgpack.encode(row)
        more = (self.first_ms, dict(self.touched), self.forgotten_ms, self.early_ms)
        return msgspec.msgpack.encode((*row, *more[:told]))

    def own_touched(self) -> Touched:
        """Return `touched` to be added to."""
        touched = self.touched
        if not isinstance(touched, dict):
            touched = self.touched = {}
        return touched

    def note(self, arrivals: Sequence[Arrival]) -> bool:
        """Extend the entry over some events; return whether the changelog has to have it anew."""
        newest_ms, earliest_ms, appended_ms, raw, rekeyed = reach_of(arrivals)
        anew = newest_ms - earliest_ms > EARLY_MS and self._note_early(arrivals)
        if raw >= 0 and not 0 <= self.raw_first <= raw:
            self.raw_first, anew = raw, True
        if rekeyed >= 0 and not 0 <= self.rekeyed_first <= rekeyed:
            self.rekeyed_first, anew = rekeyed, True
        if newest_ms > self.newest_ms:
            anew = anew or (newest_ms - 1) // KEPT_TO_MS != (self.newest_ms - 1) // KEPT_TO_MS
            self.newest_ms = _shared(ceil_to(newest_ms, NOTED_TO_MS))
        if appended_ms > self.appended_ms:
            anew = anew or (appended_ms - 1) // KEPT_TO_MS != (self.appended_ms - 1) // KEPT_TO_MS
            self.appended_ms = _shared(ceil_to(appended_ms, NOTED_TO_MS))
        return anew

    def _note_early(self, arrivals: Iterable[Arrival]) -> bool:
        dated_ms = (
            ceil_to(a.timestamp_ms, KEPT_TO_MS)
            for a in arrivals
            if a.timestamp_ms - a.append_time_ms > EARLY_MS
        )
        early_ms = max(dated_ms, default=-1)
        if early_ms <= self.early_ms:
            return False
        self.early_ms = early_ms
        return True

    def extend(self, timestamp_ms: int, append_time_ms: int) -> None:
        """Extend the greatest times to another time at which an event may count."""
        self.newest_ms = max(self.newest_ms, timestamp_ms)
        self.appended_ms = max(self.appended_ms, append_time_ms)

    def begins_before(self, other: EventRanges) -> bool:
        """Return True if some event lies before all events of another entry."""
        return (
            0 <= self.raw_first < other.raw_first or 0 <= self.rekeyed_first < other.rekeyed_first
        )

    def since(self, raw: int, rekeyed: int) -> EventRanges:
        """Return the entry without what lies before an offset of raw and one of rekeyed."""
        return msgspec.structs.replace(
            self,
            raw_first=self.raw_first if self.raw_first < 0 else max(self.raw_first, raw),
            rekeyed_first=(
                self.rekeyed_first if self.rekeyed_first < 0 else max(self.rekeyed_first, rekeyed)
            ),
        )

    def merge(self, other: EventRanges) -> None:
        """Extend this entry over all of another."""
        if other.raw_first >= 0:
            first = other.raw_first if self.raw_first < 0 else min(self.raw_first, other.raw_first)
            self.raw_first = first
        if other.rekeyed_first >= 0:
            known = self.rekeyed_first
            first = other.rekeyed_first if known < 0 else min(known, other.rekeyed_first)
            self.rekeyed_first = first
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.appended_ms = max(self.appended_ms, other.appended_ms)
        self.early_ms = max(self.early_ms, other.early_ms)


@lru_cache(maxsize=4096)
def _shared(time_ms: int) -> int:
    """Return the time as one object: rounded up, very many have the same."""
    return time_ms


class _Row(msgspec.Struct, array_like=True):
    """A record of the changelog; what is empty in it only older programs wrote or read."""

    written: bool
    events: int
    """`_NOTES_EARLY`, or what older programs wrote, which did not note what came early."""
    raw_first: int
    raw_last: int
    rekeyed_first: int
    rekeyed_last: int
    newest_ms: int
    appended_ms: int
    first_ms: int = 0
    touched: Touched = {}
    forgotten_ms: int = -1
    early_ms: int = -1


_decode_row = msgspec.msgpack.Decoder(_Row).decode
_decode_key: Callable[[bytes], MeterKey] = msgspec.msgpack.Decoder(MeterKey).decode


def first_offsets(entries: Iterable[EventRanges]) -> tuple[int | None, int | None]:
    """Return the first events' offsets on raw and on rekeyed; None: none came that way."""
    raw: list[int] = []
    rekeyed: list[int] = []
    for entry in entries:
        if entry.raw_first >= 0:
            raw.append(entry.raw_first)
        if entry.rekeyed_first >= 0:
            rekeyed.append(entry.rekeyed_first)
    return min(raw, default=None), min(rekeyed, default=None)


class Codes(Mapping[str, EventRanges]):
    """Event ranges of an external subscription by code: most of a million have one, or a few."""

    __slots__ = ("_code", "_entry", "_others", "name")

    def __init__(self, name: SubscriptionKey, code: str, entry: EventRanges):
        self.name = name
        self._code = code
        self._entry = entry
        self._others: dict[str, EventRanges] | None = None
        """All of them, once there are several."""

    def put(self, code: str, entry: EventRanges) -> None:
        """Keep the entry of one more code."""
        if self._others is None:
            self._others = {self._code: self._entry}
        self._others[code] = entry

    def find(self, code: str) -> EventRanges | None:
        """Return the entry of a code; None: no event of it ever came."""
        if self._others is not None:
            return self._others.get(code)
        return self._entry if code == self._code else None

    def __getitem__(self, code: str) -> EventRanges:
        if self._others is not None:
            return self._others[code]
        if code != self._code:
            raise KeyError(code)
        return self._entry

    def __iter__(self) -> Iterator[str]:
        return iter((self._code,) if self._others is None else self._others)

    def __len__(self) -> int:
        return 1 if self._others is None else len(self._others)


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
        self.codes: dict[SubscriptionKey, Codes] = {}
        self._names: dict[tuple[str, str], list[SubscriptionKey]] = {}
        """External subscriptions with events, by organization and code."""
        self.sum = ChangelogSum()
        """Sum of the changelog records that were loaded or taken."""
        self._dirty: dict[MeterKey, EventRanges] = {}
        """Changed entries, which the next flush writes."""

    def entry_of(self, name: SubscriptionKey, code: str) -> EventRanges:
        """Return the entry to note an event in; whoever changes it calls `mark`."""
        entry = self.find(name, code)
        if entry is not None:
            return entry
        if not self.passes_over(name, code):
            entry = EventRanges(first_ms=self.begins_ms)
            self._keep(name, code, entry)
        elif self.rest is None:
            entry = self.rest = self._begin_rest()
        else:
            return self.rest
        self.mark((*name, code), entry)
        return entry

    def of(self, name: SubscriptionKey, code: str) -> EventRanges:
        """Return the entry to note an event in; the entry counts as changed."""
        entry = self.entry_of(name, code)
        self.mark((*name, code), entry)
        return entry

    def note_forgotten(self, meter_key: MeterKey, forgotten_ms: int) -> None:
        """Note until when periods of a meter key were final whose cells are gone; -1: none is."""
        entry = self.find(meter_key[:2], meter_key[2])
        if entry is not None and entry.forgotten_ms != forgotten_ms:
            entry.forgotten_ms = forgotten_ms
            self.mark(meter_key, entry)

    def forgotten_ms(self, name: SubscriptionKey, code: str) -> int:
        """Return until when periods of a meter key were final whose cells are gone; -1: none is."""
        entry = self.find(name, code)
        return -1 if entry is None else entry.forgotten_ms

    def same(self, name: SubscriptionKey) -> SubscriptionKey:
        """Return a name as it is kept here, if it is: who keeps that one takes no room for it."""
        codes = self.codes.get(name)
        return name if codes is None else codes.name

    def mark(self, meter_key: MeterKey, entry: EventRanges) -> None:
        """Have the next flush write an entry."""
        if entry.written:
            entry.written = False
            self._dirty[REST if entry is self.rest else meter_key] = entry

    def _keep(self, name: SubscriptionKey, code: str, entry: EventRanges) -> None:
        codes = self.codes.get(name)
        if codes is None:
            self.codes[name] = Codes(name, code, entry)
        else:
            codes.put(code, entry)
        self._names.setdefault((name[0], code), []).append(name)
        if not self._is_defined(name, code):
            self.undefined.add((*name, code))

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

    def names_with(self, organization_id: str, code: str) -> list[SubscriptionKey]:
        """Return the external subscriptions of an organization that have events of a code."""
        return list(self._names.get((organization_id, code), ()))

    def find(self, name: SubscriptionKey, code: str) -> EventRanges | None:
        """Return the entry; None: no event ever came, or the name is one of the rest."""
        codes = self.codes.get(name)
        if codes is not None:
            return codes.find(code)
        return self.rest if (*name, code) == REST else None

    def codes_of(self, name: SubscriptionKey) -> Mapping[str, EventRanges]:
        """Return the entries of an external subscription by code."""
        return self.codes.get(name, {})

    def meter_keys_of(self, name: SubscriptionKey) -> set[MeterKey]:
        """Return every meter key of an external subscription that has events."""
        return {(*name, code) for code in self.codes_of(name)}

    def all_meter_keys(self) -> set[MeterKey]:
        """Return every meter key that has events; names not kept one by one count as REST."""
        meter_keys = {(*name, code) for name, codes in self.codes.items() for code in codes}
        return meter_keys | ({REST} if self.rest is not None else set())

    def names_before(
        self, meter_keys: Iterable[MeterKey], raw_start: int, rekeyed_start: int
    ) -> set[SubscriptionKey]:
        """Return external subscriptions with an event from before the present start of a log."""
        return {
            (org, external_id)
            for org, external_id, code in meter_keys
            if (entry := self.find((org, external_id), code)) is not None
            and (0 <= entry.raw_first < raw_start or 0 <= entry.rekeyed_first < rekeyed_start)
        }

    def entries_of(self, name: SubscriptionKey) -> list[EventRanges]:
        """Return the entries that cover all events of an external subscription."""
        entries = list(self.codes_of(name).values())
        return entries if self.rest is None else [*entries, self.rest]

    @property
    def pending(self) -> int:
        """How many have changed since the last flush."""
        return len(self._dirty)

    def take_changes(self) -> list[tuple[bytes, bytes]]:
        """Return changelog records of what changed since the last call."""
        encode = msgspec.msgpack.encode
        changes = []
        records, hashes = self.sum
        for name, entry in self._dirty.items():
            key, value = encode(name), entry.packed()
            new_hash = record_hash(key, value)
            records += entry.hash == 0
            hashes += new_hash - entry.hash
            entry.hash, entry.written = new_hash, True
            changes.append((key, value))
        self._dirty.clear()
        self.sum = ChangelogSum(records, hashes % SUM_MODULUS)
        return changes

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        organization_id, external_id, code = interned(_decode_key(key))
        entry = EventRanges.unpacked(value)
        entry.hash = record_hash(key, value)
        if (organization_id, external_id, code) == REST:
            self.rest = entry
        else:
            self._keep((organization_id, external_id), code, entry)
        self.sum = self.sum.replaced(key, None, value)
