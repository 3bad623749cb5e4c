"""The fold: events into the cells that their routes lead to. Pure, and the same for every use.

Live folding, refolds, previews and the offline fold all call `fold_run`. They differ only in the
routes they pass and in what they do with the changed cells.

It has over 500 lines: beside the way of one event stand those of a run at once, to the same end.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from app.definitions.periods import NEVER_MS
from app.kernel import by_literals, reach_of, take_run
from app.numbers import EXACT, ZERO
from app.wire.arrivals import Arrival
from app.wire.properties import read_properties
from tables.aggregation import DIGEST_MASK, Groups
from tables.cells.cell import Alone, Cell, GroupCell, Layer, Span
from tables.cells.forgotten import is_forgotten, is_over, remembered
from tables.cells.keys import ONLY_CELL, pack_position
from tables.cells.watch import Watch
from tables.changelogged.members import Found, MemberKey, Members, SetKey
from tables.charge import FoldParts, place_named
from tables.not_counted import NotCounted, Reason
from tables.routing.route import FEW_SPANS, Aim, Cells, Route
from tables.unique_count import (
    Contributions,
    MemberOperation,
    UniqueCount,
    UniqueCountState,
)
from tables.values import Ignored, Properties


class UniqueOperation(NamedTuple):
    """An operation that `Members.take_simple` left."""

    cell: Cell
    name: MemberKey
    operation: MemberOperation


_ALL_TAKEN = range(0)


class Folded:
    """What a slice changed, collected while it is folded."""

    __slots__ = ("billed_at_once", "dirty", "displaced", "ignored", "late", "not_counted", "unique")

    def __init__(self) -> None:
        self.dirty: list[Cell] = []
        self.late: list[Cell] = []
        """Cells with states of later cuts, whether they were dirty before or not."""
        self.unique: list[UniqueOperation] = []
        self.billed_at_once: list[Arrival] = []
        """Events that count in a charge paid in advance, one for each such charge."""
        self.ignored: Counter[Reason] = Counter()
        self.not_counted = NotCounted()
        self.displaced: set[tuple[str, str, str]] = set()
        """Meter keys with a group that found no room, though its event lies before others'."""

    def touch(self, cell: Cell) -> None:
        """Have a flush write a cell."""
        if not cell.dirty:
            cell.dirty = True
            self.dirty.append(cell)

    def ignore(self, reason: Reason, arrival: Arrival) -> None:
        """Note an event that a charge, or every charge, leaves uncounted."""
        self.ignored[reason] += 1
        self.not_counted.note(reason, arrival)

    def bills_as_it_came(self, arrival: Arrival) -> None:
        """Note an event without its corrections, if it is the one that was folded last.

        Each charge that bills it has noted it.
        """
        noted = self.billed_at_once
        at = len(noted) - 1
        while at >= 0 and noted[at].position == arrival.position:
            noted[at] = arrival
            at -= 1


def fold_run(
    route: Route,
    run: Sequence[Arrival],
    settled_ms: int,
    members: Members,
    folded: Folded,
    corrected_ms: int = -1,
    untaken: range = _ALL_TAKEN,
) -> bool:
    """Fold events of one route, at their event times, into every cell that they reach.

    Return False if no span may have a period for some event.

    `settled_ms`: cuts up to it are published. `corrected_ms`: append time of the correction that
    made the events; no earlier cut shows it. `untaken`: times of revisions that the events must
    not use.
    """
    reached, aims = False, list[Aim]()
    for span in _reached_by(route, run):
        left = run
        if corrected_ms <= 0:
            aim: Aim | None = None
            parts = span.fold.parts or span.fold.take_parts()
            if parts.reading is not None:
                watch = None if span.watch is None else span.watching(reach_of(run)[1])
                if parts.plain and watch is None:
                    aim = _fold_plainly(span, parts, route, run, members, folded)
                seen = None if aim else _seen_at(span, watch, run, settled_ms, untaken)
                if not parts.plain:
                    aim, left = _fold_by_cells(span, seen, route, run, members, folded)
                elif seen is not None:
                    aim = _fold_late(seen, route, run, members, folded)
                if aim is not None:
                    aims.append(aim)
                    left = () if parts.plain else left
            if not left:
                reached = reached or parts.prices
                continue
        whole = _fold_into(span, route, left, settled_ms, members, folded, corrected_ms, untaken)
        reached = reached or whole
    if len(aims) > 1 or (aims and aims[0].cut_ms):
        route.aim_late(aims)
    return reached


def _reached_by(route: Route, run: Sequence[Arrival]) -> Sequence[Span]:
    """Return the spans of a route without most of those that no event of a run reaches."""
    if len(route.spans) <= FEW_SPANS:
        return route.spans
    return route.reached(min(arrival.timestamp_ms for arrival in run))


def _fold_into(
    span: Span,
    route: Route,
    run: Sequence[Arrival],
    settled_ms: int,
    members: Members,
    folded: Folded,
    corrected_ms: int,
    untaken: range,
) -> bool:
    """Fold events into one span; return True if the span has a period for every event.

    This is the hot path of the whole program, so calls to other functions are spelled out.
    """
    fold = span.fold
    parts = fold.parts or fold.take_parts()
    read_value, plain, unique, counts_after_ms, apply, reads, prices, by_day = parts[:8]
    ignore = folded.ignore if prices else _ignore_nothing
    watch = span.watch
    has_cut = corrected_ms > 0 or watch is not None
    bills_at_once = fold.bills_at_once
    code = route.code
    prefix, suffix = f"{route.external_subscription_id}\0", f"\0{code}\0"
    name: tuple[str | None, tuple[str | None, ...]] = ONLY_CELL
    properties: Properties = _NOTHING
    # Whoever forgets has every layer looked at: it may be one whose cells have to come back.
    layer = span.current if span.forgotten_ms < 0 else None
    forgets, recurring, passes_over = span.forgotten_ms >= 0, fold.metric.recurring, False
    start_ms, end_ms = (0, -1) if layer is None else (layer.start_ms, layer.end_ms)
    cell: Cell | None = None
    set_name: bytes | None = None
    # What nobody is billed by tells nothing of where an event belongs.
    whole = prices
    for arrival in run:
        event, append_time_ms = arrival.event, arrival.append_time_ms
        partition, offset, index = arrival.raw_partition, arrival.raw_offset, arrival.array_index
        timestamp_ms = event.timestamp_ms
        if timestamp_ms is None:
            timestamp_ms = append_time_ms
        if not start_ms <= timestamp_ms < end_ms:
            cell, set_name, layer = None, None, span.layer_at(timestamp_ms)
            start_ms, end_ms = (0, -1) if layer is None else (layer.start_ms, layer.end_ms)
            if forgets and layer is not None and is_forgotten(layer):
                # Of what recurs an event only adds to what is carried on, if anything is. What it
                # bills at once is told with what its period began with.
                if not recurring or (bills_at_once and layer.period is not None):
                    folded.displaced.add(route.meter_key)
                    passes_over = False
                else:
                    passes_over = is_over(span)
            else:
                passes_over = False
        if layer is None:
            whole = False
            if fold.grouped:
                _claim(span, route, arrival, timestamp_ms, folded)
            continue
        if passes_over:
            continue
        if append_time_ms <= counts_after_ms:
            ignore("unknown_code", arrival)
            continue
        if reads:
            properties = read_properties(event.properties)
        value = read_value(code, timestamp_ms, properties, append_time_ms)
        if isinstance(value, Ignored):
            ignore(value.reason, arrival)
            continue
        number, property_text, adds, text = value
        if not plain:
            place = fold.place_of(code, timestamp_ms, properties, append_time_ms)
            if place is None:
                ignore("value_too_long", arrival)
                continue
            name, cell = place, None
        if cell is None:
            cell = layer.cells.get(name)
            if cell is None:
                if name[1]:
                    position = (append_time_ms, partition, offset, index)
                    cell = layer.admit(*name, position)
                    if cell is None:
                        ignore("too_many_groups", arrival)
                        if layer.displaced_by(position):
                            folded.displaced.add(route.meter_key)
                        continue
                else:
                    cell = layer.cell(*name)
            elif not prices and isinstance(cell, GroupCell):
                cell.note_first((append_time_ms, partition, offset, index))
        cut_ms = 0
        state = cell.state
        if append_time_ms > layer.due_at_ms or has_cut:
            since_ms = max(append_time_ms, corrected_ms)
            if by_day and watch is not None:
                cut_ms = watch.day_cut_of(timestamp_ms, since_ms)
            else:
                cut_ms = span.cut_of(layer, since_ms, corrected=since_ms > append_time_ms)
            # Published periods show a cut between two revisions at the next of them: it is settled
            # when that one is.
            revision_ms = layer.revision_of(cut_ms) if cut_ms > layer.due_at_ms else cut_ms
            if cut_ms > 0 and revision_ms > settled_ms and revision_ms not in untaken:
                state = cell.state_at(cut_ms, fold.aggregation)
                folded.late.append(cell)
            else:
                cut_ms = 0
        # records-and-cuts §5; `digest_of` says the same of one event.
        hashing = _blank_digest()
        hashing.update(f"{prefix}{event.transaction_id}\0{timestamp_ms}{suffix}{text}".encode())
        state.events += 1
        state.digest = (state.digest + _from_bytes(hashing.digest(), "big")) & DIGEST_MASK
        precise = event.precise_total_amount_cents
        if precise is not None:
            total = state.precise
            if total is None:
                state.precise, state.bare = precise, state.events - 1
            elif precise is not ZERO:
                state.precise = _add(total, precise)
        elif state.precise is not None:
            state.bare += 1
        if apply is not None:
            apply(state, number, timestamp_ms, (append_time_ms, partition, offset, index))
        elif unique:
            if set_name is None or not plain:
                set_name = set_of(layer, *name, members)
            position = (append_time_ms, partition, offset, index)
            found = ((property_text, adds, timestamp_ms, position),)
            operate(cell, cut_ms, set_name, found, members, folded)
        if bills_at_once:
            folded.billed_at_once.append(arrival)
        if not cell.dirty:
            cell.dirty = True
            folded.dirty.append(cell)
    return whole


def _fold_plainly(
    span: Span,
    parts: FoldParts,
    route: Route,
    run: Sequence[Arrival],
    members: Members,
    folded: Folded,
) -> Aim | None:
    """Fold events that all fall into one cell before it is due; return None if they do not.

    Nothing is changed then. It does the same as going through them one by one.
    """
    layer = span.current
    if layer is None and span.forgotten_ms < 0:
        span.layer_at(reach_of(run)[0])
        layer = span.current
    if layer is None:
        return None
    name, code = route.external_subscription_id, route.code
    bounds = layer.start_ms, layer.end_ms, parts.counts_after_ms, layer.due_at_ms
    known = layer.cells.get(ONLY_CELL)
    cell = known or Cell(layer, *ONLY_CELL, span.fold.aggregation.initialize())
    found = take_run(cell, name, code, run, *bounds, parts.reading, folded.dirty)
    if found is False:
        return None
    if known is None:
        layer.cells[ONLY_CELL] = cell
    if found is not True or span.fold.bills_at_once:
        _take_found(cell, 0, run, found, members, folded)
    return Aim(layer, 0, layer.cells, 0, layer.due_at_ms, layer.end_ms)


def _take_found(
    cell: Cell,
    cut_ms: int,
    run: Sequence[Arrival],
    found: Sequence[Found] | bool,
    members: Members,
    folded: Folded,
) -> None:
    """Take what reading events in one call came to, beside the state that a cut sees (0: none)."""
    if not isinstance(found, bool):
        set_name = set_of(cell.layer, cell.filter_id, cell.groups, members)
        operate(cell, cut_ms, set_name, found, members, folded)
    if cell.layer.span.fold.bills_at_once:
        folded.billed_at_once += run


class _Seen(NamedTuple):
    """The cut that events count from."""

    layer: Layer
    cut_ms: int
    """0: any cut shows them."""
    before_ms: int
    """They are dated before it."""
    until_ms: int
    """Greatest append time."""


def _seen_at(
    span: Span, watch: Watch | None, run: Sequence[Arrival], settled_ms: int, untaken: range
) -> _Seen | None:
    """Return the cut that all events of a run may count from; None: each is to be asked.

    Of a span that is watched then, or if they come after their period is due. Periods of what
    recurs show late events at other cuts than their own.
    """
    newest_ms, earliest_ms, *_ = reach_of(run)
    layer = span.layer_at(newest_ms)
    if layer is None or is_forgotten(layer):
        return None
    before_ms = layer.end_ms
    if watch is not None and watch.days is not None:
        cut_ms = watch.day_cut_of(newest_ms, earliest_ms)
        before_ms, until_ms = watch.days.same_for(newest_ms, earliest_ms)
        before_ms = min(before_ms, layer.end_ms)
        if cut_ms > layer.due_at_ms:
            # A revision may settle it.
            return None
    elif earliest_ms > layer.due_at_ms:
        if watch is not None or span.fold.metric.recurring:
            return None
        cut_ms = until_ms = span.cut_of(layer, earliest_ms)
    elif watch is not None:
        cut_ms = span.cut_of(layer, earliest_ms)
        until_ms = min(watch.same_until(earliest_ms), layer.due_at_ms)
    else:
        return None
    if cut_ms <= settled_ms or cut_ms in untaken:
        cut_ms = 0
    return _Seen(layer, cut_ms, before_ms, until_ms)


def _take_seen(
    cell: Cell,
    seen: _Seen,
    route: Route,
    run: Sequence[Arrival],
    members: Members,
    folded: Folded,
) -> Cell | None:
    """Fold events that fall into one cell and count from one cut on.

    Return the cell with only the state of that cut; None: one is odd, and nothing is changed.
    """
    layer, cut_ms = cell.layer, seen.cut_ms
    fold = layer.span.fold
    parts = fold.parts or fold.take_parts()
    state = cell.state if cut_ms == 0 else (cell.late or {}).get(cut_ms)
    if state is None:
        state = fold.aggregation.initialize()
    # One that has only the state of the cut: no cell may keep a state that nothing was folded into.
    alone = Alone(layer, cell.filter_id, cell.groups, state, own=cell)
    name, code = route.external_subscription_id, route.code
    bounds = layer.start_ms, seen.before_ms, parts.counts_after_ms, seen.until_ms
    found = take_run(alone, name, code, run, *bounds, parts.reading, [])
    if found is False:
        return None
    layer.cells[ONLY_CELL if parts.plain else (cell.filter_id, cell.groups)] = cell
    if cut_ms:
        cell.late = cell.late or {}
        cell.late[cut_ms] = state
        folded.late.append(cell)
    _take_found(cell, cut_ms, run, found, members, folded)
    folded.touch(cell)
    alone.dirty = False
    return alone if cut_ms else cell


def _fold_late(
    seen: _Seen, route: Route, run: Sequence[Arrival], members: Members, folded: Folded
) -> Aim | None:
    """Fold events that all fall into one cell, and count from the same cut on.

    Return None if they do not; nothing is changed then. It does the same as going through them one
    by one.
    """
    layer, fold = seen.layer, seen.layer.span.fold
    cell = layer.cells.get(ONLY_CELL) or Cell(layer, *ONLY_CELL, fold.aggregation.initialize())
    alone = _take_seen(cell, seen, route, run, members, folded)
    if alone is None:
        return None
    return _aim_at(seen, reach_of(run)[1], {ONLY_CELL: alone})


def _aim_at(seen: _Seen, earliest_ms: int, cells: Cells) -> Aim:
    """Return where events of a cut go, with the cells that have only the state of it."""
    layer, cut_ms, before_ms, until_ms = seen
    return Aim(layer, cut_ms, cells if cut_ms else layer.cells, earliest_ms, until_ms, before_ms)


def _fold_by_cells(
    span: Span,
    seen: _Seen | None,
    route: Route,
    run: Sequence[Arrival],
    members: Members,
    folded: Folded,
) -> tuple[Aim | None, Sequence[Arrival]]:
    """Fold events by their cells; return where others go as well, and those left.

    Of a charge with several cells. It does the same as going through them one by one.
    """
    newest_ms, earliest_ms, latest_ms, *_ = reach_of(run)
    if seen is None:
        layer = None if span.watching(earliest_ms) is not None else span.layer_at(newest_ms)
        if layer is None or latest_ms > layer.due_at_ms or is_forgotten(layer):
            return None, run
        seen = _Seen(layer, 0, layer.end_ms, layer.due_at_ms)
    since, left, cells = pack_position((earliest_ms, 0, 0, 0)), list[Arrival](), Cells()
    by_place = by_literals(run, span.fold.place_names)
    # Else it hangs on the order of events which groups find room.
    is_roomy = span.fold.prices and seen.layer.has_room(len(by_place))
    for literals, part in by_place.items():
        place = None if literals is None else place_named(span.fold, literals)
        cell = None if place is None else seen.layer.cells.get(place)
        if cell is None and place is not None and is_roomy:
            cell = _first_cell(seen.layer, *place, part[0])
        # What nobody is billed by has no limits, and takes in its first event at any time.
        if isinstance(cell, GroupCell) and not (span.fold.prices or cell.first < since):
            cell = None
        if cell is not None:
            cell = _take_seen(cell, seen, route, part, members, folded)
        if cell is None:
            left += part
        else:
            cells[cell.filter_id, cell.groups] = cell
    return _aim_at(seen, earliest_ms, cells) if cells else None, left


def _first_cell(layer: Layer, filter_id: str | None, groups: Groups, first: Arrival) -> Cell:
    """Return a cell for an event that is the first of it; the layer has it once it is folded."""
    state = layer.span.fold.aggregation.initialize()
    if not groups:
        return Cell(layer, filter_id, groups, state)
    cell = GroupCell(layer, filter_id, groups, state)
    cell.first = pack_position(first.position)
    return cell


def aim_first(route: Route, timestamp_ms: int, members: Members) -> bool:
    """Aim a route of one span at the cell of an event of that time; return whether it is aimed.

    A cell that is not there is made, and kept once an event is folded (`Route.keep_cell`).
    """
    (span,) = route.spans
    fold = span.fold
    parts = fold.parts or fold.take_parts()
    if parts.reading is None or not parts.plain:
        return False
    if span.watch is not None and span.watched_ms == NEVER_MS:
        return False
    layer = span.layer_at(timestamp_ms)
    if layer is None or (period := layer.period) is None or layer is not span.current:
        return False
    if span.forgotten_ms >= 0 and is_forgotten(layer):
        return False
    cell = layer.cells.get(ONLY_CELL) or Cell(layer, None, (), fold.aggregation.initialize())
    set_key = set_of(layer, *ONLY_CELL, members) if parts.unique else None
    if set_key is not None and set_key not in members.complete:
        return False
    route.aim_first(cell, period, parts, set_key)
    return True


def has_cells(layer: Layer, run: Sequence[Arrival]) -> bool:
    """Return whether the cells are there that events of a run would fall into."""
    fold = layer.span.fold
    return all(
        literals is not None and place_named(fold, literals) in layer.cells
        for literals in by_literals(run, fold.place_names)
    )


def operate(
    cell: Cell,
    cut_ms: int,
    set_name: SetKey,
    found: Sequence[Found],
    members: Members,
    folded: Folded,
) -> None:
    """Take operations of a set's members that fall into one cell, seen by one cut (0: none)."""
    period_ms = cell.layer.start_ms
    if not cell.layer.span.fold.whole_members:
        change, others = members.take_simple(set_name, period_ms, cut_ms, found)
        if change:
            state = cell.state_at(cut_ms, cell.layer.span.fold.aggregation)
            state.active += change  # type: ignore[attr-defined]
    else:
        others = [
            ((set_name, text), MemberOperation(period_ms, cut_ms, timestamp_ms, position, adds))
            for text, adds, timestamp_ms, position in found
        ]
    folded.unique += [UniqueOperation(cell, name, operation) for name, operation in others]


def _claim(span: Span, route: Route, arrival: Arrival, timestamp_ms: int, folded: Folded) -> None:
    """Reserve a place for the group of an event after the span, if a limit spans all history.

    Later definitions end a span, yet they do not decide which groups earlier periods have.
    """
    layer, fold = span.place_layer(timestamp_ms), span.fold
    if layer is None or arrival.append_time_ms <= fold.counts_after_ms:
        return
    name = fold.cell_of_event(arrival)
    if name is None or not name[1] or any(name in other.cells for other in span.layers.values()):
        return
    cell = layer.admit(*name, arrival.position)
    if cell is not None:
        cell.dirty = True
        folded.dirty.append(cell)
    elif layer.displaced_by(arrival.position):
        folded.displaced.add(route.meter_key)


def _ignore_nothing(reason: Reason, arrival: Arrival) -> None:
    """Note nothing: the charge itself says why it leaves an event uncounted."""


_NOTHING: Properties = {}
# A copy of a hash that nothing was fed to costs less than a new one.
_blank_digest = hashlib.blake2b(digest_size=16).copy
_from_bytes = int.from_bytes
_add = EXACT.add


def members_wanted(route: Route, run: Sequence[Arrival], members: Members) -> list[MemberKey]:
    """Return members that `fold_run` will change, so that unknown ones can be learnt beforehand."""
    wanted: list[MemberKey] = []
    for span in _reached_by(route, run):
        fold = span.fold
        if not fold.unique:
            continue
        start_ms, end_ms = 0, -1
        for arrival in run:
            event = arrival.event
            timestamp_ms = event.timestamp_ms
            if timestamp_ms is None:
                timestamp_ms = arrival.append_time_ms
            if start_ms <= timestamp_ms < end_ms:
                continue
            layer = span.layer_at(timestamp_ms)
            if layer is None:
                continue
            if fold.plain and set_of(layer, *ONLY_CELL, members) in members.complete:
                # All members of the period are here.
                start_ms, end_ms = layer.start_ms, layer.end_ms
                continue
            properties = read_properties(event.properties)
            read = (event.code, timestamp_ms, properties, arrival.append_time_ms)
            value = fold.read_value(*read)
            if isinstance(value, Ignored):
                continue
            name = fold.place_of(*read)
            if name is not None:
                wanted.append((set_of(layer, *name, members), value.text))
    return wanted


def set_of(
    layer: Layer, filter_id: str | None, groups: tuple[str | None, ...], members: Members
) -> bytes:
    """Return the set that holds a cell's members, and begin a set that no cell has used."""
    span = layer.span
    recurring = span.fold.metric.recurring
    name = (filter_id, groups, None if recurring else layer.start_ms)
    key = span.sets.get(name)
    if key is None:
        key = span.sets[name] = span.set_named(name)
        layers = span.layers.values() if recurring else (layer,)
        cells = (other.cells.get((filter_id, groups)) for other in layers)
        # Of a refold, say: it has no store, so whatever it folds into a set is here.
        if members.capacity is None or all(cell is None or cell.empty for cell in cells):
            members.create_empty(key)
    return key


def apply_members(
    operations: Iterable[UniqueOperation], members: Members, settled_ms: int, folded: Folded
) -> None:
    """Run the operations on their members; every member must be at hand."""
    for cell, name, operation in operations:
        fold = cell.layer.span.fold
        aggregation: UniqueCount = fold.aggregation  # type: ignore[assignment]
        member = members.get(name)
        spills = fold.in_advance and members.spill(name, member, operation)
        whole = fold.in_advance and not members.keep_apart(name, operation)
        member = aggregation.settled(member, settled_ms, whole=whole)
        if spills:
            member = aggregation.reduced(member)
        member = remembered(cell.layer.span, member)
        joined = aggregation.joined(member, operation, whole=whole)
        if joined is member and not spills:
            continue
        members.put(name, joined)
        _move(cell, aggregation.change(member, operation), settled_ms, folded)


def _move(cell: Cell, changes: Contributions, settled_ms: int, folded: Folded) -> None:
    """Change the sums of all layers that a member counts in."""
    span = cell.layer.span
    for (period_ms, cut_ms), (active, spells) in changes.items():
        layer = cell.layer if period_ms == cell.layer.start_ms else span.layers.get(period_ms)
        if layer is None:
            # It is forgotten, and what it came to is carried on there.
            layer = span.layer_of(None)
        target = layer.cell(cell.filter_id, cell.groups)
        open_cut_ms = 0 if layer.is_settled(cut_ms, settled_ms) else cut_ms
        state: UniqueCountState = target.state_at(  # type: ignore[assignment]
            open_cut_ms, span.fold.aggregation
        )
        if open_cut_ms:
            folded.late.append(target)
        state.active += active
        state.spells += spells
        folded.touch(target)
