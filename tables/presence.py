"""Presence: which (organization, external_subscription_id, code) have events, and where they lie.

Kept for unmatched events too: a definition that comes late finds here what to refold and from which
offsets on, and usually that there is nothing to refold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from tables.changelog_sum import ChangelogSum

if TYPE_CHECKING:
    from tables.fold import Arrival

SubscriptionName = tuple[str, str]
"""(organization_id, external_subscription_id)"""


class Presence(msgspec.Struct, array_like=True, gc=False):
    """Events of one code of one external subscription on its home partition."""

    written: bool = True
    """Whether the changelog has it as it is."""
    events: int = 0
    raw_first: int = -1
    """Offset in the home's own raw partition of the first event; -1 when none came that way."""
    raw_last: int = -1
    rekeyed_first: int = -1
    rekeyed_last: int = -1
    newest_ms: int = -1
    """Greatest event timestamp."""
    appended_ms: int = -1
    """Greatest append time."""

    def note(self, arrivals: Sequence[Arrival]) -> None:
        """Count events in."""
        self.events += len(arrivals)
        raw_last, newest_ms, appended_ms = self.raw_last, self.newest_ms, self.appended_ms
        for event, _, append_time_ms, _, raw_offset, _, rekeyed_offset, _ in arrivals:
            if rekeyed_offset >= 0:
                if self.rekeyed_first < 0 or rekeyed_offset < self.rekeyed_first:
                    self.rekeyed_first = rekeyed_offset
                if rekeyed_offset > self.rekeyed_last:
                    self.rekeyed_last = rekeyed_offset
            else:
                if raw_offset > raw_last:
                    raw_last = raw_offset
                    if self.raw_first < 0:
                        self.raw_first = raw_offset
                elif raw_offset < self.raw_first:
                    self.raw_first = raw_offset
            timestamp_ms = event.timestamp_ms
            if timestamp_ms is None:
                timestamp_ms = append_time_ms
            if timestamp_ms > newest_ms:
                newest_ms = timestamp_ms
            if append_time_ms > appended_ms:
                appended_ms = append_time_ms
        self.raw_last, self.newest_ms, self.appended_ms = raw_last, newest_ms, appended_ms

    def reach(self, timestamp_ms: int, append_time_ms: int) -> None:
        """An event may count at that time as well, as if it were appended then."""
        self.newest_ms = max(self.newest_ms, timestamp_ms)
        self.appended_ms = max(self.appended_ms, append_time_ms)

    def cover(self, other: Presence) -> None:
        """Lie wherever `other` does too."""
        if other.raw_first >= 0:
            first = other.raw_first if self.raw_first < 0 else min(self.raw_first, other.raw_first)
            self.raw_first, self.raw_last = first, max(self.raw_last, other.raw_last)
        if other.rekeyed_first >= 0:
            known = self.rekeyed_first
            first = other.rekeyed_first if known < 0 else min(known, other.rekeyed_first)
            self.rekeyed_first = first
            self.rekeyed_last = max(self.rekeyed_last, other.rekeyed_last)
        self.newest_ms = max(self.newest_ms, other.newest_ms)
        self.appended_ms = max(self.appended_ms, other.appended_ms)


class PresenceTable:
    """Presence of one partition, by external subscription and code."""

    def __init__(self) -> None:
        self.codes: dict[SubscriptionName, dict[str, Presence]] = {}
        self.sum = ChangelogSum()
        """Of what was loaded and taken."""
        self._dirty: dict[tuple[str, str, str], tuple[Presence, bytes | None]] = {}
        """Entries that changed, with what the changelog has of them."""

    def of(self, name: SubscriptionName, code: str) -> Presence:
        """The entry to note an event in; it counts as changed."""
        codes = self.codes.get(name)
        if codes is None:
            codes = self.codes[name] = {}
        entry, before = codes.get(code), None
        if entry is None:
            entry = codes[code] = Presence()
        elif entry.written:
            before = msgspec.msgpack.encode(entry)
        if entry.written:
            entry.written = False
            self._dirty[*name, code] = entry, before
        return entry

    def spread(self, name: SubscriptionName, code: str) -> None:
        """Events of other codes may count as this one: it lies wherever any of them does."""
        entry = self.of(name, code)
        for other in list(self.codes[name].values()):
            entry.cover(other)

    def find(self, name: SubscriptionName, code: str) -> Presence | None:
        """The entry, None when no event ever came."""
        return self.codes.get(name, {}).get(code)

    def take_changes(self) -> list[tuple[bytes, bytes]]:
        """Changelog records of what changed since the last call."""
        encode = msgspec.msgpack.encode
        changes = []
        for name, (entry, before) in self._dirty.items():
            entry.written = True
            changes.append((encode(name), before, encode(entry)))
        self._dirty.clear()
        self.sum = self.sum.after(changes)
        return [(key, value) for key, _, value in changes]

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        organization_id, external_id, code = msgspec.msgpack.decode(key, type=tuple[str, str, str])
        codes = self.codes.setdefault((organization_id, external_id), {})
        codes[code] = msgspec.msgpack.decode(value, type=Presence)
        self.sum = self.sum.replaced(key, None, value)
