"""Event ranges: where events of each (organization, external_subscription_id, code) lie.

The table has unmatched events, too. A late definition finds here what to refold and from which
offsets on, and usually that there is nothing to refold.

A producer can send any number of names that nothing defines. Beyond a limit they are not kept one
by one: one common entry knows where events of the others lie. A later definition makes the program
search the logs from there on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple, TypeAlias

import msgspec

from app.definitions.periods import NEVER_MS, ceil_to
from app.kernel import EARLY_MS, reach_of
from app.wire.arrivals import Arrival, MeterKey

REST: MeterKey = ("", "", "undefined")
"""Stands for every undefined name that is not kept one by one; no organization has that id."""


Touched = dict[int, list[str]]
"""Subscriptions whose usage has changed, by the moment to tell it (records-and-cuts §4)."""

_NOTHING: Final[Mapping[int, list[str]]] = MappingProxyType({})
"""One for all who have nothing to tell, and they are nearly all."""

KEPT_TO_MS = 3_600_000
"""The changelog has times rounded up to it: a pair is written about once an hour."""

NOTED_TO_MS = 60_000
"""Whoever leads events straight looks at those alone that are beyond it, rounded up."""

_encode = msgspec.msgpack.Encoder().encode
_NOTES_EARLY = -1
"""No number of events: it stands in their place where what came early is noted."""


class EventRanges(msgspec.Struct, gc=False):
    """Where events of one code of one external subscription lie on its home partition."""

    raw_first: int = -1
    """Offset in the home's own raw partition of the first event; -1 when none came that way."""
    rekeyed_first: int = -1
    newest_ms: int = -1
    """Greatest event timestamp; of what has rested since, or was restored, up to an hour more.

    `app.kernel` extends it and the next over events that change nothing else here.
    """
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
    before it, copies among them; -1: there is none."""
    written: bool = True
    """Whether the changelog has it as it is, or the next flush writes it."""

    @classmethod
    def unpacked(cls, kept: Kept) -> EventRanges:
        """Return what a changelog has, of this or of an older program, or what rests of it."""
        if isinstance(kept, int):
            raw_first, newest_ms, appended_ms = _told(kept)
            return cls(raw_first, -1, _shared(newest_ms), _shared(appended_ms))
        row = _decode_row(kept)
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

    def packed_to_rest(self) -> tuple[bytes, Kept]:
        """Return the bytes of the changelog, and what `resting` makes of them.

        They are as ever for who never asked for usage-changed.
        """
        raw_first, rekeyed_first = self.raw_first, self.rekeyed_first
        # Hours, rounded up: `ceil_to` is spelled out, for each first event comes here.
        newest, appended = -(-self.newest_ms // KEPT_TO_MS), -(-self.appended_ms // KEPT_TO_MS)
        times_ms = newest * KEPT_TO_MS, appended * KEPT_TO_MS
        row = (True, _NOTES_EARLY, raw_first, -1, rekeyed_first, -1, *times_ms)
        told = 4 if self.early_ms >= 0 else 3 if self.forgotten_ms >= 0 else 2
        if told == 2 and not (self.touched or self.first_ms):
            value = _encode(row)
            number = None if rekeyed_first != -1 else _number(raw_first, newest, appended)
            return value, value if number is None else number
        more = (self.first_ms, dict(self.touched), self.forgotten_ms, self.early_ms)
        value = _encode((*row, *more[:told]))
        return value, value

    def own_touched(self) -> Touched:
        """Return `touched` to be added to."""
        touched = self.touched
        if not isinstance(touched, dict):
            touched = self.touched = {}
        return touched

    def note(self, arrivals: Sequence[Arrival]) -> bool:
        """Extend the entry over some events; return whether the changelog has to have it anew."""
        newest_ms, earliest_ms, appended_ms, raw, rekeyed = reach_of(arrivals)
        anew = newest_ms - earliest_ms > EARLY_MS and self.note_early(arrivals)
        if self.newest_ms < 0 <= newest_ms and self.appended_ms < 0:
            # As each first event: there is nothing to compare it to.
            self.raw_first, self.rekeyed_first = raw, rekeyed
            self.newest_ms, self.appended_ms = newest_ms, appended_ms
            return True
        if raw >= 0 and not 0 <= self.raw_first <= raw:
            self.raw_first, anew = raw, True
        if rekeyed >= 0 and not 0 <= self.rekeyed_first <= rekeyed:
            self.rekeyed_first, anew = rekeyed, True
        if newest_ms > self.newest_ms:
            anew = anew or (newest_ms - 1) // KEPT_TO_MS != (self.newest_ms - 1) // KEPT_TO_MS
            self.newest_ms = newest_ms
        if appended_ms > self.appended_ms:
            anew = anew or (appended_ms - 1) // KEPT_TO_MS != (self.appended_ms - 1) // KEPT_TO_MS
            self.appended_ms = appended_ms
        return anew

    def least_noted(self) -> tuple[int, int, int, int]:
        """Return beyond which times, and before which offsets, an event has to be noted.

        Up to these the changelog has it as it is. Many wide events come here, so `ceil_to` is
        spelled out.
        """
        newest, appended = -(-self.newest_ms // NOTED_TO_MS), -(-self.appended_ms // NOTED_TO_MS)
        return newest * NOTED_TO_MS, appended * NOTED_TO_MS, self.raw_first, self.rekeyed_first

    def note_early(self, arrivals: Iterable[Arrival]) -> bool:
        """Extend `early_ms` over some events; return whether it changed."""
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
        """Return whether it begins before another entry in each log that the other is about.

        One log alone tells nothing: the two are read beside each other.
        """
        firsts = (self.raw_first, other.raw_first), (self.rekeyed_first, other.rekeyed_first)
        return all(theirs < 0 or 0 <= ours < theirs for ours, theirs in firsts)

    def begins_within(self, other: EventRanges) -> bool:
        """Return whether whoever reads both logs from another entry's first events on has all."""
        firsts = (self.raw_first, other.raw_first), (self.rekeyed_first, other.rekeyed_first)
        return all(ours < 0 or 0 <= theirs <= ours for ours, theirs in firsts)

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
_TELLS_NOTHING: Final = 0x98
"""Array of eight: what a record begins with that has no `first_ms` and no `touched`."""


Kept: TypeAlias = bytes | int
"""What rests of a record: one number if it tells no more than nearly all do, else the record."""
_OFFSET_BITS: Final = 35
_AHEAD_BITS: Final = 9
"""Hours by which the newest event is ahead of the append time, and `_BEHIND` more."""
_HOUR_BITS: Final = 64 - _OFFSET_BITS - _AHEAD_BITS
_BEHIND: Final = 1 << _AHEAD_BITS - 1
_decode_plain = msgspec.msgpack.Decoder(list[int | bool]).decode


def resting(value: bytes) -> Kept:
    """Return what rests of a record of the changelog: first offset, append time and newest in one.

    The record itself if events came misplaced or early, or if the times are far from one another.
    """
    if value[0] != _TELLS_NOTHING:
        return value
    *plain, newest_ms, appended_ms = _decode_plain(value)
    raw_first = plain[2]
    newest, beside = divmod(newest_ms, KEPT_TO_MS)
    appended, apart = divmod(appended_ms, KEPT_TO_MS)
    if beside or apart or plain != [True, _NOTES_EARLY, raw_first, -1, -1, -1]:
        return value
    number = _number(raw_first, newest, appended)
    return value if number is None else number


def _number(raw_first: int, newest: int, appended: int) -> int | None:
    """Return an offset and two times, in hours, as one number; None: they do not fit in."""
    ahead = newest - appended + _BEHIND
    if raw_first >> _OFFSET_BITS or ahead >> _AHEAD_BITS or appended >> _HOUR_BITS:
        return None
    return (appended << _AHEAD_BITS | ahead) << _OFFSET_BITS | raw_first


def written(kept: Kept) -> bytes:
    """Return the record of the changelog of which something rests."""
    if isinstance(kept, bytes):
        return kept
    raw_first, newest_ms, appended_ms = _told(kept)
    return _encode((True, _NOTES_EARLY, raw_first, -1, -1, -1, newest_ms, appended_ms))


def _told(kept: int) -> tuple[int, int, int]:
    """Return what a number at rest tells: first offset, newest time and append time, in ms."""
    raw_first, times = kept & (1 << _OFFSET_BITS) - 1, kept >> _OFFSET_BITS
    hour = times >> _AHEAD_BITS
    ahead = (times & (1 << _AHEAD_BITS) - 1) - _BEHIND
    return raw_first, (hour + ahead) * KEPT_TO_MS, hour * KEPT_TO_MS


def touched_in(value: bytes) -> Touched:
    """Return what a record of the changelog has to tell."""
    return {} if value[0] == _TELLS_NOTHING else _decode_row(value).touched


class LogsKept(NamedTuple):
    """What the raw and the rekeyed log of a partition still have."""

    raw_start: int = 0
    rekeyed_start: int = 0
    raw_since_ms: int = NEVER_MS
    """Append time of the first record that is there; NEVER_MS: unknown."""
    rekeyed_since_ms: int = NEVER_MS

    def lacks(self, entry: EventRanges, appended_ms: int | None = None) -> bool:
        """Return whether some events are deleted that were appended from a time on; None: ever."""
        raw = 0 <= entry.raw_first < self.raw_start
        rekeyed = 0 <= entry.rekeyed_first < self.rekeyed_start
        if appended_ms is None:
            return raw or rekeyed
        since_ms = max(self.raw_since_ms if raw else -1, self.rekeyed_since_ms if rekeyed else -1)
        return appended_ms <= since_ms


def first_offsets(entries: Collection[EventRanges]) -> tuple[int | None, int | None]:
    """Return the first events' offsets on raw and on rekeyed; None: none came that way."""
    raw = [entry.raw_first for entry in entries if entry.raw_first >= 0]
    rekeyed = [entry.rekeyed_first for entry in entries if entry.rekeyed_first >= 0]
    return min(raw, default=None), min(rekeyed, default=None)
