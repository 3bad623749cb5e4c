"""Earlier copies: an event that comes again and was appended before the copy that is known.

The earlier one counts. With equal bodies it differs by its position alone: the known one is taken
out of its cells and the earlier one is folded in, where that comes to the bytes of a refold. Most
lead straight into the cell that the known one is in, and change nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from app.kernel import reach_of
from app.wire.arrivals import Arrival, MeterKey, Run
from tables.changelogged.members import MemberKey, SetKey
from tables.changelogged.presence import REST
from tables.charge import ChargeFold
from tables.event_index.entries import Entry, unpack_entry
from tables.event_index.rows import ids_in
from tables.fold import Folded, apply_members, fold_run, has_cells
from tables.partition.changed import Changed
from tables.partition.copies import Copies, EarlierRun, SortedOut
from tables.partition.cuts import CutsToCome
from tables.partition.packing import Packing
from tables.partition.snapshot import Snapshot
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.routing.route import LateRoute
from tables.unfold import has_room, members_moved, unfold
from tables.unique_count import Member, UniqueCount
from tables.values import Ignored, read_of


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
        changed: Changed,
    ):
        self._index = tables.index
        self._event_ranges = tables.event_ranges
        self._corrections = tables.corrections
        self._members = tables.members
        self._work = tables.work
        self._cuts = cuts
        self._packing = packing
        self._snapshot = snapshot
        self._stale = stale
        self._standing = standing
        self._changed = changed

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

    def take_runs(self, found: SortedOut, folded: Folded) -> tuple[Copies, Sequence[Run]]:
        """Count earlier copies in place of later ones where that changes no cell.

        Return them with the later copies, and what is to be looked at closely.
        """
        if not found.earlier:
            return found.later, found.rest
        runs, rest, rows, known = [*found.later.runs], [*found.rest], bytearray(), bytearray()
        corrections, changed = self._corrections, self._changed if self._changed.notes else None
        for each in found.earlier:
            meter_key, run = each.run
            is_odd = corrections.touches(meter_key[:2]) and any(
                map(corrections.rows.has_event, ids_in(each.rows))
            )
            if changed is not None and not changed.are_alike(reach_of(run)[1], each.known_ms):
                # What was noted of the later ones only a refold takes back.
                is_odd = True
            if not is_odd and self._leads(each, folded):
                runs.append(each.run)
                rows += each.rows
                known += each.known
            else:
                rest.append(each.run)
        self._index.add_rows(rows)
        return Copies(runs, found.later.rows + rows, found.later.known + known), rest

    def _leads(self, copies: EarlierRun, folded: Folded) -> bool:
        """Take a run if its events count as the known ones do, in the same cell and cut."""
        route, (meter_key, run), layer = copies.route, copies.run, copies.route.layer
        ranges = route.event_ranges
        if isinstance(route, LateRoute) or layer is None or ranges is None:
            # Another cut may show the earlier ones, and charges beside may look at their order.
            return False
        if not self._is_at_rest(meter_key, folded):
            return False
        fold, known_ms, appended_ms = layer.span.fold, copies.known_ms, reach_of(run)[1]
        if (
            fold.bills_at_once
            or fold.whole_members
            or known_ms > route.until_ms
            or fold.limits.parts(appended_ms, known_ms)
            or (fold.aggregation.ordered and not fold.unique)
            or None in [arrival.event.timestamp_ms for arrival in run]
            # A group that is there keeps its place.
            or (fold.grouped and (fold.limits_history or not has_cells(layer, run)))
            or (fold.unique and not self._move_members(copies, fold, route.set_key))
        ):
            return False
        if ranges.note(run):
            self._event_ranges.mark(meter_key, ranges)
        if self._changed.notes:
            self._changed.note_run(route, run, ranges)
        self._stale.note_repaired(meter_key[:2])
        return True

    def _move_members(self, copies: EarlierRun, fold: ChargeFold, key: SetKey | None) -> bool:
        """Have the members of a run's events say where these lie now, if all can be told."""
        if key is None or not fold.plain:
            # Filters and groups have sets of their own.
            return False
        aggregation: UniqueCount = fold.aggregation  # type: ignore[assignment]
        moved = dict[MemberKey, Member]()
        for at, arrival in enumerate(copies.run[1]):
            value = fold.read_value(*read_of(arrival))
            if isinstance(value, Ignored):
                continue
            name = (key, value.text)
            if self._members.is_missing(name):
                return False
            known = unpack_entry(copies.known, at).position
            member = moved[name] if name in moved else self._members.get(name)
            now = aggregation.moved(member, known, arrival.position)
            if now is None:
                return False
            if now is not member:
                moved[name] = now
        for name, member in moved.items():
            self._members.put(name, member)
        return True

    def _is_at_rest(self, meter_key: MeterKey, folded: Folded) -> bool:
        """Return whether the cells of a meter key hold what the event index says."""
        stale, name = self._stale, meter_key[:2]
        return not (
            meter_key in stale.refolding_keys
            or meter_key in stale.displaced_keys
            or meter_key in folded.displaced
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
