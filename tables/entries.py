"""Entries: the events of a cell one by one, for prices that need them. Bounded.

A state keeps the value of each event with what orders it. Like every state it is the fold of a set:
which entries are left follows from all events, in whatever order they came.
"""

from __future__ import annotations

from bisect import insort
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from app.wire.arrivals import Position
from tables.aggregation import AggregateResult, Aggregation, State, Window

MOST_ENTRIES = 10_000
"""Longest list of a record."""
MOST_CHARACTERS = 500_000
"""Characters that the texts of a period may have together."""


class ListedEntry(NamedTuple):
    """What one event brought."""

    timestamp_ms: int
    position: Position
    value: Any
    """A decimal; of an operation the text that the digest has, such as `add:a`."""


class EntriesState(State, gc=False):
    """Entries in order of (timestamp, position)."""

    entries: list[ListedEntry] = msgspec.field(default_factory=list)
    size: int = 0
    """Characters of the texts of all operations, those that are not kept included."""


class Entries(Aggregation[EntriesState]):
    """The entries of a period.

    Of more events than a list may have none is kept, or with `first_only` those that come first.
    """

    type_name = "entries"
    state_type = EntriesState

    def __init__(self, *, operations: bool = False, first_only: bool = False):
        super().__init__()
        self.operations = operations
        self.first_only = first_only

    def apply(
        self, state: EntriesState, value: Decimal, timestamp_ms: int, position: Position
    ) -> None:
        """Put the entry in its place; the event is counted already."""
        if self.operations:
            state.size += len(str(value))
        if self.first_only or not _is_over(state):
            insort(state.entries, ListedEntry(timestamp_ms, position, value))
        self._bound(state)

    def merge(self, state: EntriesState, other: EntriesState) -> None:
        """Put the entries of both in one order."""
        super().merge(state, other)
        state.size += other.size
        state.entries = sorted([*state.entries, *other.entries])
        self._bound(state)

    def _bound(self, state: EntriesState) -> None:
        if self.first_only:
            # One more tells whether a list would be too long.
            del state.entries[MOST_ENTRIES + 1 :]
        elif _is_over(state):
            state.entries.clear()

    def result(
        self, state: EntriesState, before: EntriesState | None, window: Window
    ) -> AggregateResult:
        """Return how many events there are."""
        units = Decimal(state.events)
        return AggregateResult(units, units, None, state.events)

    def pack(self, state: EntriesState) -> list[Any]:
        """Return the state as scalars; a decimal as text."""
        packed = super().pack(state)
        packed[_ENTRIES] = [(entry[0], entry[1], str(entry[2])) for entry in state.entries]
        return packed

    def unpack(self, packed: list[Any]) -> EntriesState:
        """Return the state that `pack` wrote; change the list."""
        read = str if self.operations else Decimal
        rows = packed[_ENTRIES]
        packed[_ENTRIES] = [
            ListedEntry(at_ms, tuple(place), read(text)) for at_ms, place, text in rows
        ]
        return super().unpack(packed)


def _is_over(state: EntriesState) -> bool:
    """Return whether there is more than a list, or a changelog record, may have."""
    return state.events > MOST_ENTRIES or state.size > MOST_CHARACTERS


_ENTRIES = State.__struct_fields__.index("bare")
"""Where `pack` has them: `bare` is last there."""
