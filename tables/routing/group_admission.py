"""Group admission: which groups of a charge find room, from events in any order.

A refold reads events in no order of position (records-and-cuts §7). It notes the first position of
each group while it folds. When other groups came in than are admitted, it is done again, open only
to the admitted ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, cast

from app.bounds.turns import STEP_ITEMS, batches
from app.wire.arrivals import Arrival, Position
from app.wire.events import Event
from app.wire.properties import read_properties
from tables.aggregation import Groups
from tables.cells.cell import GroupCell, Layer, Span, group_limit_of, grouped_cells
from tables.cells.group_limit import ANY_NUMBER, GroupLimit
from tables.cells.keys import PackedPosition, SpanKey, pack_position
from tables.routing.route import Route
from tables.values import Properties


class _First(NamedTuple):
    """The first event of a group, and the cell it would be in."""

    position: PackedPosition
    layer_ms: int
    filter_id: str | None


LimitScope = tuple[SpanKey, int | None]
"""What one limit holds for: a span and the start of its period; None: all of its history."""


ToldAdmission = tuple[LimitScope, int, PackedPosition | None, Sequence[tuple[Groups, _First]]]
"""A scope, how many groups it admits, from where on none is, and some of those noted."""


class GroupAdmission:
    """First positions of the groups of some routes, from events in any order.

    Of each scope it remembers no more than twice as many groups as are admitted.
    """

    def __init__(self) -> None:
        self._most: dict[LimitScope, int] = {}
        """How many groups each scope admits."""
        self._firsts: dict[LimitScope, dict[Groups, _First]] = {}
        self._limit_positions: dict[LimitScope, PackedPosition] = {}
        """Scopes with more groups than are admitted: a group unknown from here on is not."""

    def note(self, route: Route, event: Event, timestamp_ms: int, position: Position) -> None:
        """Take in one event that has a value for the charges, cancelled or not."""
        properties: Properties | None = None
        for span in route.spans:
            fold = span.fold
            layer = span.place_layer(timestamp_ms) if fold.grouped else None
            if layer is None or position[0] <= fold.counts_after_ms:
                continue
            if properties is None:
                properties = read_properties(event.properties)
            name = fold.cell_of(event.code, timestamp_ms, properties, position[0])
            if name is not None and name[1]:
                first = _First(pack_position(position), layer.start_ms, name[0])
                scope = _scope(span, layer)
                self._most[scope] = layer.limits.max_groups
                self._claim(scope, name[1], first)

    def _claim(self, scope: LimitScope, groups: Groups, first: _First) -> None:
        firsts = self._firsts.setdefault(scope, {})
        known = firsts.get(groups)
        if known is not None:
            if first.position < known.position:
                firsts[groups] = first
            return
        limit_position = self._limit_positions.get(scope)
        if limit_position is not None and first.position > limit_position:
            return
        firsts[groups] = first
        if len(firsts) > 2 * self._most[scope]:
            kept = self._firsts[scope] = self._admitted(scope)
            self._limit_positions[scope] = max(known.position for known in kept.values())

    def told(self) -> Iterator[ToldAdmission]:
        """Yield by small parts what was noted, for another process to take over."""
        for scope, firsts in self._firsts.items():
            limit_position = self._limit_positions.get(scope)
            for some in batches(list(firsts.items()), STEP_ITEMS):
                yield scope, self._most[scope], limit_position, some

    def take_over(self, told: ToldAdmission) -> None:
        """Take over what was noted in another process."""
        scope, most, limit_position, firsts = told
        self._most[scope] = most
        self._firsts.setdefault(scope, {}).update(firsts)
        if limit_position is not None:
            self._limit_positions[scope] = limit_position

    def _admitted(self, scope: LimitScope) -> dict[Groups, _First]:
        firsts, most = self._firsts.get(scope, {}), self._most.get(scope, 0)
        if len(firsts) <= most:
            return firsts
        ordered = sorted(firsts.items(), key=lambda entry: entry[1].position)
        return dict(ordered[:most])

    def _is_over(self, scope: LimitScope) -> bool:
        known, most = self._firsts.get(scope, ()), self._most.get(scope, 0)
        return scope in self._limit_positions or len(known) > most

    def agrees(self, route: Route) -> bool:
        """Return whether the cells folded are those of the admitted groups, with all their events.

        A group that came in stays in, so only which ones came in can be wrong.
        """
        for span, layer in _limited(route):
            scope = _scope(span, layer)
            if not self._is_over(scope):
                continue
            admitted = self._admitted(scope).keys()
            group_limit = (span if layer is None else layer).group_limit
            came_in = {groups for groups, _ in grouped_cells(_layers(span, layer))}
            if not came_in <= admitted or (
                group_limit is not None and group_limit.firsts.keys() != admitted
            ):
                return False
        return True

    def impose(self, route: Route) -> Route:
        """Return the route without cells, open only to the groups that are admitted."""
        spans = {span.key: span.emptied() for span in route.spans}
        for span, layer in _limited(route):
            scope = _scope(span, layer)
            if not self._is_over(scope):
                continue
            firsts = {groups: first.position for groups, first in self._admitted(scope).items()}
            emptied = spans[span.key]
            limited = emptied if layer is None else emptied.layer_starting(layer.start_ms)
            if limited is not None:
                limited.group_limit = GroupLimit(firsts)
        return Route(*route.meter_key, route.timelines, tuple(spans.values()))

    def settle(self, route: Route) -> Iterator[tuple[GroupCell, bool] | None]:
        """Let the cells know the first positions; yield those that did not by what they fold.

        Each with whether no other cell has the group's first event: another filter may claim that.
        A group whose events are all cancelled keeps its place by a cell without events. None is a
        step.
        """
        for span, layer in _limited(route):
            left = dict(self._admitted(_scope(span, layer)))
            cells = list(grouped_cells(_layers(span, layer)))
            for some in batches(cells, STEP_ITEMS):
                for groups, cell in some:
                    if groups in left and cell.first != left[groups].position:
                        cell.first, layer_ms, filter_id = left[groups]
                        is_there = (layer_ms, filter_id) == (cell.layer.start_ms, cell.filter_id)
                        yield cell, is_there or not _has_cell(span, layer_ms, filter_id, groups)
                yield None
            for some in batches(cells, STEP_ITEMS):
                for groups, _ in some:
                    left.pop(groups, None)
                yield None
            for count, (groups, first) in enumerate(left.items(), 1):
                made_in = span.layer_starting(first.layer_ms) if layer is None else layer
                if made_in is not None:
                    made = cast(GroupCell, made_in.cell(first.filter_id, groups))
                    made.first = first.position
                    group_limit = (span if layer is None else layer).group_limit
                    if group_limit is not None:
                        group_limit.admits(groups, first.position, ANY_NUMBER)
                    yield made, True
                if count % STEP_ITEMS == 0:
                    yield None


def impose_live(live: Route, route: Route) -> None:
    """Open a route to just the groups that live cells have, where there is no room for more."""
    spans = {span.key: span for span in route.spans}
    for span, layer in _limited(live):
        target = spans.get(span.key)
        group_limit = group_limit_of(_layers(span, layer))
        if (
            target is None
            or len(group_limit.firsts) < (span if layer is None else layer).max_groups
        ):
            continue
        limited = target if layer is None else target.layer_starting(layer.start_ms)
        if limited is not None:
            limited.group_limit = group_limit


def is_admitted(layer: Layer, counted: Arrival) -> bool:
    """Return whether the group of an event is one that a layer is open to."""
    group_limit, fold = layer.limits.group_limit, layer.span.fold
    if group_limit is None:
        return True
    name = fold.cell_of_event(counted)
    return name is None or not name[1] or name[1] in group_limit.firsts


def _limited(route: Route) -> Iterator[tuple[Span, Layer | None]]:
    """Yield what the limit holds for one by one: the layers of a span, or the whole span."""
    for span in route.spans:
        if not span.fold.grouped:
            continue
        if span.fold.limits_history:
            yield span, None
        else:
            yield from ((span, layer) for layer in list(span.layers.values()))


def _layers(span: Span, layer: Layer | None) -> Iterable[Layer]:
    return span.layers.values() if layer is None else (layer,)


def _scope(span: Span, layer: Layer | None) -> LimitScope:
    if layer is None or span.fold.limits_history:
        return span.key, None
    return span.key, layer.start_ms


def _has_cell(span: Span, layer_ms: int, filter_id: str | None, groups: Groups) -> bool:
    layer = span.layers.get(layer_ms)
    return layer is not None and (filter_id, groups) in layer.cells
