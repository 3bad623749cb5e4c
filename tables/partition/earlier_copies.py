"""Earlier copies: an event that comes again and was appended before the copy that is known.

The earlier one counts. With equal bodies it differs by its position alone: the known one is taken
out of its cells and the earlier one is folded in, where that comes to the bytes of a refold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from msgspec.structs import replace

from app.wire.arrivals import Arrival, MeterKey
from tables.changelogged.presence import REST
from tables.event_index.entries import Entry
from tables.fold import Folded, apply_members, fold_run
from tables.partition.cuts import CutsToCome
from tables.partition.packing import Packing
from tables.partition.snapshot import Snapshot
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.unfold import has_room, members_moved, unfold


class EarlierCopy(NamedTuple):
    """An event, and the entry of the later copy whose place it takes."""

    arrival: Arrival
    known: Entry
    identical: bool
    """Whether the bodies are the same bytes."""


class EarlierCopies:
    """What earlier copies of events do to the cells of one partition."""

    def __init__(
        self,
        tables: Tables,
        cuts: CutsToCome,
        packing: Packing,
        snapshot: Snapshot,
        stale: Staleness,
        standing: Standing,
    ):
        self._event_ranges = tables.event_ranges
        self._corrections = tables.corrections
        self._members = tables.members
        self._work = tables.work
        self._cuts = cuts
        self._packing = packing
        self._snapshot = snapshot
        self._stale = stale
        self._standing = standing

    def take(self, copies: Iterable[EarlierCopy], folded: Folded) -> None:
        """Count earlier copies in place of later ones, once both are known to the fold.

        Where only a refold can tell, the meter keys concerned are displaced.
        """
        for copy in copies:
            arrival = copy.arrival
            if not copy.identical or self._corrections.history(arrival.identity):
                # Which code the known one has, and what corrections make of both, is not at hand.
                folded.displaced |= self._event_ranges.meter_keys_of(arrival.name)
            elif not self._is_at_rest(arrival.meter_key, folded) or not self._moved(copy, folded):
                folded.displaced.add(arrival.meter_key)

    def _is_at_rest(self, meter_key: MeterKey, folded: Folded) -> bool:
        """Return whether the cells of a meter key hold what the event index says."""
        stale, name = self._stale, meter_key[:2]
        waiting = (stale.refolding_keys, stale.displaced_keys, folded.displaced)
        return not (
            any(meter_key in keys for keys in waiting)
            or REST in stale.refolding_keys
            or name in stale.parked
            or self._standing.is_behind(name)
        )

    def _moved(self, copy: EarlierCopy, folded: Folded) -> bool:
        arrival, known = copy.arrival, copy.known
        route, settled_ms = self._packing.route_of(arrival.meter_key), self._cuts.settled_ms
        later = replace(
            arrival,
            append_time_ms=known.append_time_ms,
            raw_partition=known.raw_partition,
            raw_offset=known.raw_offset,
            array_index=known.array_index,
            rekeyed_offset=known.rekeyed_offset,
        )
        self._stale.note_repaired(arrival.name)
        moved = members_moved(route, later, arrival, self._members)
        if moved is not None:
            for name, member in moved.items():
                self._members.put(name, member)
            return True
        unfolded = unfold(route, later, -1, settled_ms, self._members, arrival)
        if unfolded is None or not has_room(route, arrival):
            return False
        for cell, state in unfolded:
            cell.state = state
            self._snapshot.mark(cell)
        fold_run(route, (arrival,), settled_ms, self._members, folded)
        operations, folded.unique = folded.unique, []
        apply_members(operations, self._members, settled_ms, folded)
        for cell, _ in unfolded:
            self._snapshot.delete_blank(cell)
        self._work.add("duplicate", "cells", len(unfolded))
        return True
