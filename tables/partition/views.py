"""Views: routes as queries see them, over live or packed cells. No state changes for them."""

from __future__ import annotations

from collections import OrderedDict

from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.cells.cell import Span
from tables.partition.filling import OfSpans, filling, sorting
from tables.partition.packing import Packing, Stamp
from tables.partition.route_table import RouteTable
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.routing.route import Route

KEPT_NAMES = 64
"""External subscriptions whose views are kept for the next query."""
KEPT_BYTES = 1 << 20
"""How many bytes of packed cells these may have; the newest is kept whatever it has."""


class _View:
    """What was made to look at one external subscription."""

    __slots__ = ("cells", "pieces", "routes", "stamp")

    def __init__(
        self,
        stamp: Stamp,
        pieces: list[tuple[bytes, bytes | None]],
        cells: OfSpans,
    ):
        self.stamp = stamp
        self.pieces = pieces
        """By first part of a subscription its packed cells; None: it has none."""
        self.cells = cells
        self.routes: dict[tuple[str, bool], Route] = {}
        """By code, and whether events of it are known."""

    @property
    def size(self) -> int:
        """Bytes of packed cells."""
        return sum(len(piece or b"") for _, piece in self.pieces)


class Views:
    """Routes of one partition that are read: live ones as they are, others made for it alone."""

    def __init__(self, tables: Tables, standing: Standing, routes: RouteTable, packing: Packing):
        self._definitions = tables.definitions
        self._event_ranges = tables.event_ranges
        self._standing = standing
        self._routes = routes
        self._packing = packing
        self._kept: OrderedDict[SubscriptionKey, _View] = OrderedDict()

    def route_of(self, meter_key: MeterKey) -> Route:
        """Return the route of a meter key as it stands; whoever reads it changes nothing of it."""
        route = self._routes.find(meter_key)
        if route is not None:
            return route
        view = self._view_of(meter_key[:2])
        known = self._event_ranges.find(meter_key[:2], meter_key[2]) is not None
        route = view.routes.get((meter_key[2], known))
        if route is None or any(span.key in self._routes.spans for span in route.spans):
            route = drained(self._making(meter_key, view, known=known))
            view.routes[meter_key[2], known] = route
        if known:
            self._routes.lead_by(route)
        return route

    def walking(self, name: SubscriptionKey) -> Steps[None]:
        """Make all periods until now by steps: whoever lists them makes them in one."""
        for _, timeline in self._routes.timelines.of(name):
            yield from timeline.reaching(self._definitions.append_time_ms)

    def making(self, name: SubscriptionKey) -> Steps[None]:
        """Make by steps what routes are read from, if many cells are packed.

        What comes between two steps has it made anew, by whoever asks.
        """
        if not self._packing.has_many(name):
            return
        view = self._kept.get(name)
        if view is None or not self._holds(name, view):
            view = yield from self._viewing(name)
        for number, code in enumerate(tuple(self._event_ranges.codes_of(name)), 1):
            if number % STEP_ITEMS == 0:
                yield
            if (code, True) not in view.routes and self._definitions.had_metric(name[0], code):
                route = yield from self._making((*name, code), view, known=True)
                view.routes.setdefault((code, True), route)
        if self._holds(name, view):
            self._keep(name, view)

    def _view_of(self, name: SubscriptionKey) -> _View:
        view = self._kept.get(name)
        if view is None or not self._holds(name, view):
            view = drained(self._viewing(name))
            self._keep(name, view)
        self._kept.move_to_end(name)
        return view

    def _viewing(self, name: SubscriptionKey) -> Steps[_View]:
        stamp, pieces = self._packing.stamp(name), self._packing.pieces(name)
        return _View(stamp, pieces, (yield from sorting(self._packing.cells_in(pieces))))

    def _holds(self, name: SubscriptionKey, view: _View) -> bool:
        return view.stamp == self._packing.stamp(name) and self._packing.has(name, view.pieces)

    def _keep(self, name: SubscriptionKey, view: _View) -> None:
        # One in the place of another would go first.
        self._kept.pop(name, None)
        self._kept[name] = view
        size = sum(view.size for view in self._kept.values())
        while len(self._kept) > 1 and (len(self._kept) > KEPT_NAMES or size > KEPT_BYTES):
            _, gone = self._kept.popitem(last=False)
            size -= gone.size

    def _making(self, meter_key: MeterKey, view: _View, *, known: bool) -> Steps[Route]:
        """Return a route of its own, with the cells that `Packing.route_of` would give it."""
        if known:
            route = self._routes.compile(meter_key, *self._standing.of(meter_key[:2]))
        elif self._event_ranges.passes_over(meter_key[:2], meter_key[2]):
            # Nothing is kept of it; no charge asks about it.
            timelines = self._routes.timelines.of(meter_key[:2])
            route = Route(*meter_key, tuple(timeline for _, timeline in timelines), ())
        else:
            route = self._routes.compile(meter_key)
        for span in route.spans:
            self._fill(span)
            # Cells that nothing leads to are found by whoever folds them next.
            yield from filling(span, view.cells.get(span.key, ()))
        return route

    def _fill(self, span: Span) -> None:
        """Give a span what its live one has."""
        live = self._routes.spans.get(span.key)
        if live is not None:
            # The live span may be of another code, which its charge was about before.
            for layer in live.layers.values():
                shown = span.layer_starting(layer.start_ms)
                if shown is not None:
                    shown.cells.update(layer.cells)
            span.sets, span.generation = dict(live.sets), live.generation
        elif span.fold.unique:
            span.generation = self._routes.generation_now
