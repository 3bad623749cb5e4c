"""Unfold: one event out of the cells that it was folded into, where that is a difference.

Counts and sums lose it without reading anything else. A maximum, a newest value or a member stays
as it is unless the event is the one that holds. Whatever else hangs on it calls for a refold.
"""

from __future__ import annotations

from copy import copy
from typing import NamedTuple

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival
from app.wire.identity import digest_of
from app.wire.properties import read_properties
from tables.aggregation import Amended, Groups, State, lose
from tables.cells.cell import Cell, GroupCell, Layer, Span
from tables.cells.forgotten import is_forgotten
from tables.cells.keys import pack_position
from tables.changelogged.members import MemberKey, Members
from tables.fold import set_of
from tables.routing.route import Route
from tables.unique_count import Member, UniqueCount, holds
from tables.values import Ignored, Value


class Reached(NamedTuple):
    """What one event comes to in one span."""

    layer: Layer
    name: tuple[str | None, Groups]
    value: Value


class Unfolded(NamedTuple):
    """A cell, and what it holds of cut 0 without the event."""

    cell: Cell
    state: State


def reached(span: Span, arrival: Arrival) -> Reached | None:
    """Return where an event falls in a span, as `fold_run` has it; None: it does not count."""
    fold, timestamp_ms = span.fold, arrival.timestamp_ms
    layer = span.layer_at(timestamp_ms)
    if layer is None or arrival.append_time_ms <= fold.counts_after_ms:
        return None
    properties = read_properties(arrival.event.properties) if fold.properties else {}
    read = (arrival.event.code, timestamp_ms, properties, arrival.append_time_ms)
    value = fold.read_value(*read)
    if isinstance(value, Ignored):
        return None
    name = (None, ()) if fold.plain else fold.place_of(*read)
    return None if name is None else Reached(layer, name, value)


def members_moved(
    route: Route, known: Arrival, earlier: Arrival, members: Members
) -> dict[MemberKey, Member] | None:
    """Return what members become with an event at an earlier position; None: cells may change.

    It counts from the same cut on then, with the same value, and no cell keeps its position.
    """
    moved: dict[MemberKey, Member] = {}
    if known.timestamp_ms != earlier.timestamp_ms:
        return None
    for span in route.spans:
        fold = span.fold
        if fold.in_advance or span.watching(earlier.append_time_ms) is not None:
            return None
        if fold.aggregation.ordered and not fold.unique:
            return None
        place = reached(span, known)
        if place != reached(span, earlier):
            return None
        if place is None:
            continue
        layer = place.layer
        # A group has its place by its first event.
        if place.name[1] or is_forgotten(layer):
            return None
        if _cut_of(span, layer, known) != _cut_of(span, layer, earlier):
            return None
        if fold.unique:
            aggregation: UniqueCount = fold.aggregation  # type: ignore[assignment]
            name = (set_of(layer, *place.name, members), place.value.text)
            if members.is_missing(name):
                return None
            member = members.get(name)
            now = aggregation.moved(member, known.position, earlier.position)
            if now is None:
                return None
            if now is not member:
                moved[name] = now
    return moved


def _cut_of(span: Span, layer: Layer, arrival: Arrival) -> int:
    append_time_ms = arrival.append_time_ms
    return 0 if append_time_ms <= layer.due_at_ms else span.cut_of(layer, append_time_ms)


def unfold(
    route: Route,
    arrival: Arrival,
    since_ms: int,
    settled_ms: int,
    members: Members,
    after: Arrival | None,
    after_ms: int = NEVER_MS,
) -> list[Unfolded] | None:
    """Return what the cells of a route hold without an event; None: only a refold can tell.

    Nothing is changed, but the route loses its aim: a cell may go with its only event. `since_ms`:
    append time of the correction that made the event, or -1. `after`: what it becomes, in whatever
    route; None: it is cancelled. `after_ms`: append time of what makes it so, if it is folded next.
    """
    found: list[Unfolded] = []
    route.lose_aim()
    for span in route.spans:
        place = reached(span, arrival)
        if place is None:
            continue
        cell = place.layer.cells.get(place.name)
        if span.fold.in_advance or cell is None or cell.state.events == 0:
            return None
        if is_forgotten(place.layer):
            # One that a flush left behind.
            return None
        if not _is_in_cut_0(span, cell, arrival, since_ms, settled_ms):
            return None
        if isinstance(cell, GroupCell):
            # A cancelled event keeps the place of the group that it came with.
            came_so = after is None and since_ms < 0
            if not (came_so or _keeps_group(span, cell, place, arrival, after)):
                return None
        becomes = _becomes(span, place, arrival, after, after_ms)
        state = _without(span, cell, place, arrival, members, becomes)
        if state is None:
            return None
        found.append(Unfolded(cell, state))
    return found


def _is_in_cut_0(
    span: Span, cell: Cell, arrival: Arrival, corrected_ms: int, settled_ms: int
) -> bool:
    """Return whether an event of a cell is certainly in its state of cut 0."""
    if not cell.late:
        return True
    if span.watching(arrival.append_time_ms) is not None:
        return False
    layer, append_time_ms = cell.layer, arrival.append_time_ms
    since_ms = max(append_time_ms, corrected_ms)
    if since_ms <= layer.due_at_ms:
        return True
    cut_ms = span.cut_of(layer, since_ms, corrected=since_ms > append_time_ms)
    return layer.revision_of(cut_ms) <= settled_ms and cut_ms not in cell.late


def _keeps_group(
    span: Span, cell: GroupCell, place: Reached, arrival: Arrival, after: Arrival | None
) -> bool:
    """Return whether a group certainly has its place without an event that goes elsewhere."""
    if after is None or span.fold.limits_history:
        return False
    target = reached(span, after) if after.meter_key == arrival.meter_key else None
    if target is not None and (target.layer, target.name) == (place.layer, place.name):
        return True
    return cell.state.events > 1 and pack_position(arrival.position) > cell.first


def _becomes(
    span: Span, place: Reached, arrival: Arrival, after: Arrival | None, after_ms: int
) -> Amended | None:
    """Return what an event becomes, if that certainly counts in the same cell at every cut."""
    if after is None or span.watch is not None or after_ms > place.layer.due_at_ms:
        return None
    target = reached(span, after) if after.meter_key == arrival.meter_key else None
    if target is None or (target.layer, target.name) != (place.layer, place.name):
        return None
    return Amended(target.value.number, after.timestamp_ms)


def _without(
    span: Span,
    cell: Cell,
    place: Reached,
    arrival: Arrival,
    members: Members,
    becomes: Amended | None,
) -> State | None:
    """Return the state of cut 0 without an event; None: only a refold can tell."""
    fold, event, timestamp_ms = span.fold, arrival.event, arrival.timestamp_ms
    number, property_text, _, text = place.value
    state: State = copy(cell.state)
    if fold.unique:
        member = (set_of(place.layer, *place.name, members), property_text)
        if members.is_missing(member) or holds(members.get(member), arrival.position):
            return None
    elif not (
        fold.aggregation.remove(state, number, timestamp_ms, arrival.position)
        or (becomes and fold.aggregation.give_way(state, number, timestamp_ms, becomes))
    ):
        return None
    digest = digest_of(
        event.external_subscription_id, event.transaction_id, timestamp_ms, event.code, text
    )
    return state if lose(state, digest, event.precise_total_amount_cents) else None


def has_room(route: Route, arrival: Arrival) -> bool:
    """Return whether an event certainly finds a cell in each span that it falls into."""
    for span in route.spans:
        fold = span.fold
        if fold.in_advance or (fold.grouped and fold.limits_history):
            return False
        place = reached(span, arrival)
        if place is not None and is_forgotten(place.layer):
            return False
        if place is None or not place.name[1] or place.name in place.layer.cells:
            continue
        layer = place.layer
        if layer.group_limit is not None or len(layer.cells) >= layer.max_groups:
            return False
    return True
