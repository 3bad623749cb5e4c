"""Packing: routes with their cells at hand, or packed until an event, a cut or a refold needs them.

Most of a million cells wait for their period to end. The cells of a subscription that has nothing
else to do are kept as the changelog has them, and its routes are dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from app.wire.arrivals import SubscriptionName
from tables.aggregation import FOLD_VERSION
from tables.cells.cell import GroupCell, PackedCell, Span
from tables.cells.keys import CellKey, SpanKey
from tables.changelogged.checkpoint import StateTooNew
from tables.changelogged.checksum import record_hash
from tables.changelogged.members import SetKey
from tables.changelogged.packed_rows import (
    ColdCells,
    Packed,
    has_late_cuts,
    is_newer,
    subscription_of,
)
from tables.changelogged.presence import Pair
from tables.partition.route_table import RouteTable
from tables.partition.snapshot import Snapshot
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.routing.implicit import subscription_id
from tables.routing.route import Route

Sealed = tuple[str, bytes]
"""(subscription id, its cells in one piece)"""


class Packing:
    """Packed cells of one partition, and the way from them to routes and back."""

    def __init__(
        self,
        tables: Tables,
        snapshot: Snapshot,
        standing: Standing,
        routes: RouteTable,
        stale: Staleness,
    ):
        self._definitions = tables.definitions
        self._presence = tables.presence
        self._snapshot = snapshot
        self._standing = standing
        self._timelines = routes.timelines
        self._routes = routes
        self._stale = stale
        self._cold = ColdCells()
        """Cells of external subscriptions that have no routes here."""
        self._thawed: dict[SpanKey, list[tuple[CellKey, Packed]]] = {}
        self._uncooled: dict[SubscriptionName, None] = {}
        """To be packed once no definition is left to be looked at."""
        self._late: set[str] = set()
        """Subscriptions that were restored with states of cuts to come."""

    # Routes

    def route_of(self, pair: Pair) -> Route:
        """The route of a pair, compiled at its first event and when definitions touch it."""
        route = self._routes.find(pair)
        if route is not None:
            return route
        organization_id, external_id, code = pair
        name = (organization_id, external_id)
        self.thaw(name)
        route = self._routes.find(pair)
        if route is not None:
            return route
        if self._presence.find(name, code) is None:
            if self._presence.passes_over(name, code):
                # Nothing is kept of it; no charge asks about it.
                return Route(*pair, tuple(timeline for _, timeline in self._timelines.of(name)), ())
            self._routes.note_eventless(pair)
            return self.install(pair, self._routes.compile(pair))
        return self.install(pair, self._compiled_as_it_stands(pair))

    def _compiled_as_it_stands(self, pair: Pair) -> Route:
        """A route of a pair that has events, under what these were folded under."""
        until_ms, history_ms = self._standing.of(pair[:2])
        if until_ms is not None or history_ms is not None:
            self._standing.look_again(pair[:2])
        return self._routes.compile(pair, until_ms, history_ms)

    def install(self, pair: Pair, route: Route) -> Route:
        """Put a route in place, with the cells that there are for its spans."""
        self._routes.install(pair, route)
        if self._thawed:
            for span in route.spans:
                self._fill(span)
        return route

    def _fill(self, span: Span) -> None:
        """Give a span the cells that were packed, or that the changelog has, for its key."""
        left = unpack_into(span, self._thawed.pop(span.key, ()))
        if left:
            self._thawed[span.key] = left

    def replace(self, pair: Pair, refolded: Route | None) -> list[SetKey]:
        """Put what a refold made in place of what a pair has; the sets of members to be forgotten.

        Of a packed external subscription the other pairs have to be at hand as well.
        """
        self.thaw(pair[:2])
        return self._routes.replace(pair, refolded)

    # Packed cells

    def is_cold(self, name: SubscriptionName) -> bool:
        """Whether the cells of an external subscription are packed, and its routes unmade."""
        return bool(self._cold) and any(i in self._cold for i in self._subscription_ids(name))

    def sealed_cells(self, name: SubscriptionName) -> list[Sealed]:
        """The packed cells of a cold external subscription, for `cool`."""
        found = ((i, self._cold.sealed(i)) for i in self._subscription_ids(name) if self._cold)
        return [(identity, sealed) for identity, sealed in found if sealed is not None]

    def pieces(self, name: SubscriptionName) -> list[tuple[str, bytes | None]]:
        """Return the packed cells of each subscription of an external id, for `has`."""
        return [
            (identity, self._cold.sealed(identity)) for identity in self._subscription_ids(name)
        ]

    def has(self, pieces: Iterable[tuple[str, bytes | None]]) -> bool:
        """Return True if just these cells are packed of these subscriptions now."""
        return all(self._cold.sealed(identity) is piece for identity, piece in pieces)

    def read(self, name: SubscriptionName) -> list[Packed]:
        """Return the packed cells of an external subscription, which stay packed."""
        return [cell for i in self._subscription_ids(name) for cell in self._cold.read(i)]

    def thaw(self, name: SubscriptionName) -> None:
        """Make routes and cells of a cold external subscription, as they stand."""
        if not self._cold:
            return
        packed = [cell for i in self._subscription_ids(name) for cell in self._cold.take(i)]
        if not packed:
            return
        for key, cells in by_span(packed).items():
            self._thawed.setdefault(key, []).extend(cells)
        for code in self._presence.codes.get(name, ()):
            pair = (*name, code)
            if pair not in self._routes.by_pair:
                self.install(pair, self._compiled_as_it_stands(pair))
        if self._thawed:
            self._refold_strays(name)

    def _refold_strays(self, name: SubscriptionName) -> None:
        """Cells that no route leads to are a fault of ours: what they hold is counted anew."""
        for cells in self._thawed.values():
            for _, (key, value) in cells:
                self._snapshot.delete_packed(key, value)
        self._thawed.clear()
        self._stale.miss(self._presence.pairs_of(name))

    def cool(self, name: SubscriptionName, sealed: Sequence[Sealed] = ()) -> None:
        """Pack the cells of an external subscription, unless a flush or a refold has to see them.

        What is packed is what the changelog has, so that nothing needs to be written. `sealed`: as
        they were packed before, if they did not change.
        """
        if name in self._stale.names:
            return
        if self._standing.changes:
            self._uncooled[name] = None
            return
        routes = self._routes
        routes.drop_eventless(name)
        pairs = [(*name, code) for code in self._presence.codes.get(name, ())]
        spans = [s for pair in pairs if pair in routes.by_pair for s in routes.by_pair[pair].spans]
        cells = [
            cell
            for span in spans
            for layer in span.layers.values()
            for cell in layer.cells.values()
        ]
        if any(cell.dirty for cell in cells):
            return
        if sealed and self._stale.strays.isdisjoint(pairs):
            for identity, piece in sealed:
                self._cold.put_back(identity, piece)
        else:
            packed = [
                (cell, msgspec.msgpack.encode(cell.key), cell.packed())
                for cell in cells
                if cell.hash
            ]
            respelled = [c for c, key, value in packed if record_hash(key, value) != c.hash]
            if respelled:
                # An older program wrote the same in other words: the next flush writes it anew.
                for cell in respelled:
                    self._snapshot.mark(cell)
                return
            for _, key, value in packed:
                self._cold.add(key, value)
            self._cold.seal()
        for pair in pairs:
            routes.remove(pair)
        self._timelines.forget(name)
        if spans:
            self._standing.note_packed(name)

    def pack_later(self) -> Iterator[None]:
        """Pack what could not be packed while definitions were looked at."""
        while self._uncooled and not self._standing.looks:
            name, _ = self._uncooled.popitem()
            self.cool(name)
            yield None

    def spare(self, name: SubscriptionName) -> None:
        """Drop what was made to look at an external subscription that has no routes at hand."""
        if name not in self._presence.codes or self.is_cold(name):
            self._timelines.forget(name)

    def _subscription_ids(self, name: SubscriptionName) -> Iterable[str]:
        for versions in self._definitions.subscriptions(*name):
            yield next(versions.all()).id
        yield subscription_id(*name)

    # Restoring

    def load_cell(self, key: bytes, value: bytes) -> None:
        """Take over one record of the cell changelog."""
        if is_newer(value):
            raise StateTooNew(f"a cell is of a fold version later than {FOLD_VERSION}")
        self._cold.add(key, value)
        self._snapshot.note_loaded(key, value)
        if has_late_cuts(value):
            self._late.add(subscription_of(key))

    def seal_loaded(self) -> None:
        """Everything has been taken over."""
        self._cold.seal()

    def loaded_late(self) -> list[str]:
        """Subscriptions that were restored with states of cuts to come."""
        return sorted(self._late)


_decode_cell = msgspec.msgpack.Decoder(PackedCell).decode
_decode_key = msgspec.msgpack.Decoder(CellKey).decode


def by_span(cells: Iterable[Packed]) -> dict[SpanKey, list[tuple[CellKey, Packed]]]:
    """Sort packed cells by the span that they belong to."""
    found: dict[SpanKey, list[tuple[CellKey, Packed]]] = {}
    for cell in cells:
        key = _decode_key(cell[0])
        found.setdefault(SpanKey(*key[:3]), []).append((key, cell))
    return found


def unpack_into(
    span: Span, packed: Iterable[tuple[CellKey, Packed]]
) -> list[tuple[CellKey, Packed]]:
    """Give a span its packed cells; return those that do not fit into it."""
    left: list[tuple[CellKey, Packed]] = []
    for name, (key, value) in packed:
        layer, stored = span.layer_starting(name.layer_ms), _decode_cell(value)
        states = None if layer is None else _states_of(stored, span)
        if layer is None or states is None:
            left.append((name, (key, value)))
            continue
        cell = layer.cell(name.filter_id, name.groups)
        span.generation = stored.generation
        if isinstance(cell, GroupCell):
            cell.first = stored.first
        for cut_ms, state in states:
            if cut_ms == 0:
                cell.state = state
            else:
                cell.late = {**(cell.late or {}), cut_ms: state}
        cell.hash = record_hash(key, value)
    return left


def _states_of(stored: PackedCell, span: Span) -> list[tuple[int, Any]] | None:
    """States of a cell by cut; None when they are of another aggregation than the span's."""
    unpack = span.fold.aggregation.unpack
    try:
        return [(cut_ms, unpack(packed)) for cut_ms, packed in stored.cuts]
    except (ValueError, TypeError, ArithmeticError):
        return None
