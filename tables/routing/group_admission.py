"""Group admission: which groups of a charge find room, from events in any order.

A refold reads events in no order of position (records-and-cuts §7). It notes the first position of
each group while it folds. When other groups came in than are admitted, it is done again, open only
to the admitted ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import NamedTuple, cast

from app.bounds.turns import SORTED_AT_ONCE, STEP_ITEMS, Steps, batches, in_order
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


ToldAdmission = tuple[LimitScope, int, bool, Sequence[tuple[Groups, _First]]]
"""A scope, how many groups it admits, whether there are more, and some of those noted."""


_Latest = tuple[bytes, int, Groups]
"""A first position whose bits are turned over, a number that no other has, and a group."""


class GroupAdmission:
    """First positions of the groups of some routes, from events in any order.

    Of each scope it remembers no more groups than are admitted.
    """

    def __init__(self) -> None:
        self._most: dict[LimitScope, int] = {}
        """How many groups each scope admits."""
        self._firsts: dict[LimitScope, dict[Groups, _First]] = {}
        """Groups with the smallest first positions."""
        self._over: set[LimitScope] = set()
        """Scopes with more groups than are admitted."""
        self._latest: dict[LimitScope, list[_Latest]] = {}
        """A heap of the groups of each scope, the latest first; some are earlier than it says."""
        self._numbers = count()

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
        firsts, latest = self._firsts.setdefault(scope, {}), self._latest.setdefault(scope, [])
        known = firsts.get(groups)
        if known is not None:
            if first.position < known.position:
                firsts[groups] = first
            return
        entry = first.position.translate(_TURNED), next(self._numbers), groups
        is_over = len(firsts) >= self._most[scope]
        if is_over:
            self._over.add(scope)
            if entry < latest[0]:
                return
        heappush(latest, entry)
        firsts[groups] = first
        if is_over:
            self._let_go(latest, firsts)

    def _let_go(self, latest: list[_Latest], firsts: dict[Groups, _First]) -> None:
        """Forget the group that has the latest first position."""
        while True:
            position, number, groups = latest[0]
            turned = firsts[groups].position.translate(_TURNED)
            if turned == position:
                heappop(latest)
                del firsts[groups]
                return
            # An earlier event of it came since.
            heapreplace(latest, (turned, number, groups))

    def told(self) -> Iterator[ToldAdmission]:
        """Yield by small parts what was noted, for another process to take over."""
        for scope, firsts in self._firsts.items():
            is_over = scope in self._over
            for some in batches(list(firsts.items()), STEP_ITEMS):
                yield scope, self._most[scope], is_over, some

    def take_over(self, told: ToldAdmission) -> None:
        """Take over what was noted in another process."""
        scope, most, is_over, firsts = told
        self._most[scope] = most
        # One that begins anew has groups already, and they may leave no room for these.
        for groups, first in firsts:
            self._claim(scope, groups, first)
        if is_over:
            self._over.add(scope)

    def agreeing(self, route: Route) -> Steps[bool]:
        """Return whether the cells folded are those of the admitted groups, with all their events.

        A group that came in stays in, so only which ones came in can be wrong.
        """
        for span, layer in _limited(route):
            scope = _scope(span, layer)
            if scope not in self._over:
                continue
            admitted = self._firsts[scope].keys()
            group_limit = (span if layer is None else layer).group_limit
            came_in = [groups for groups, _ in grouped_cells(_layers(span, layer))]
            if group_limit is not None:
                if len(group_limit.firsts) != len(admitted):
                    return False
                came_in += group_limit.firsts
            for some in batches(came_in, SORTED_AT_ONCE):
                if not admitted >= set(some):
                    return False
                yield
        return True

    def all_agreeing(self, routes: Iterable[Route]) -> Steps[bool]:
        """Return whether that is so of all routes."""
        for route in routes:
            if not (yield from self.agreeing(route)):
                return False
            yield
        return True

    def imposing(self, route: Route) -> Steps[Route]:
        """Return the route without cells, open only to the groups that are admitted."""
        spans = {span.key: span.emptied() for span in route.spans}
        for span, layer in _limited(route):
            scope = _scope(span, layer)
            if scope not in self._over:
                continue
            firsts: dict[Groups, PackedPosition] = {}
            emptied = spans[span.key]
            limited = emptied if layer is None else emptied.layer_starting(layer.start_ms)
            if limited is not None:
                for some in batches(list(self._firsts[scope].items()), SORTED_AT_ONCE):
                    firsts.update((groups, first.position) for groups, first in some)
                    yield
                limited.group_limit = GroupLimit(firsts)
        return Route(*route.meter_key, route.timelines, tuple(spans.values()))

    def settle(self, route: Route) -> Iterator[tuple[GroupCell, bool] | None]:
        """Let the cells know the first positions; yield those that did not by what they fold.

        Each with whether no other cell has the group's first event: another filter may claim that.
        A group whose events are all cancelled keeps its place by a cell without events. None is a
        step.
        """
        for span, layer in _limited(route):
            scope = _scope(span, layer)
            left = self._firsts.get(scope, {}).copy()
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
            unmade: Iterable[tuple[Groups, _First]] = left.items()
            if scope in self._over:
                unmade = yield from in_order(unmade, _position)
            for number, (groups, first) in enumerate(unmade, 1):
                made_in = span.layer_starting(first.layer_ms) if layer is None else layer
                if made_in is not None:
                    made = cast(GroupCell, made_in.cell(first.filter_id, groups))
                    made.first = first.position
                    group_limit = (span if layer is None else layer).group_limit
                    if group_limit is not None:
                        group_limit.admits(groups, first.position, ANY_NUMBER)
                    yield made, True
                if number % STEP_ITEMS == 0:
                    yield None


_TURNED = bytes(range(255, -1, -1))
"""Turns the bits of a position over, so that the latest is the smallest."""


def _position(entry: tuple[Groups, _First]) -> PackedPosition:
    return entry[1].position


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
