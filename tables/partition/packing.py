"""Packing: routes with their cells at hand, or packed until an event, a cut or a refold needs them.

Most of a million cells wait for their period to end. The cells of a subscription that has nothing
else to do are kept as the changelog has them, and its routes are dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter

from app.bounds.turns import STEP_ITEMS, Steps, batches, drained, freeing
from app.definitions.model import FOLD_VERSION
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import MeterKey, SubscriptionKey, interned
from tables.cells.cell import Cell, Span, packed_cells
from tables.cells.keys import CellKey, SpanSetKey
from tables.changelogged.checkpoint import StateTooNew
from tables.changelogged.checksum import record_hash
from tables.changelogged.members import SetKey, set_key
from tables.changelogged.packed_rows import (
    CellHere,
    Packed,
    PackedCells,
    PutTogether,
    charge_part_of,
    first_part_of,
    has_late_cuts,
    is_newer,
    subscription_of,
)
from tables.partition.filling import OfSpans, decode_cell, fill, filling, sorting
from tables.partition.route_table import RouteTable
from tables.partition.snapshot import Snapshot
from tables.partition.staleness import Staleness
from tables.partition.standing import Standing
from tables.partition.tables import Tables
from tables.routing.implicit import subscription_id
from tables.routing.route import Route

Stamp = tuple[int, int, tuple[int | None, int | None], int]
"""Everything but the cells that a route made now depends on."""

Piece = tuple[bytes, bytes]
"""(`first_part_of` a subscription, its cells in one piece)"""

SPLIT_CELLS = 1_000
"""Most cells in whose piece a step looks for those of a charge."""

_TRIES = 8
"""How often very many cells are unpacked by steps while definitions come between these."""


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
        self._event_ranges = tables.event_ranges
        self._members = tables.members
        self._snapshot = snapshot
        self._standing = standing
        self._timelines = routes.timelines
        self._routes = routes
        self._stale = stale
        self._packed = PackedCells()
        """Cells of external subscriptions that have no routes here."""
        self.as_packed: dict[SubscriptionKey, list[Piece]] = {}
        """Cells of who was unpacked last, as they were packed: for `pack`, if none changes."""
        self._in_part: dict[SubscriptionKey, list[bytes]] = {}
        """First parts of cells that stay packed while a touch unpacked those of its charges."""
        self._to_pack: dict[SubscriptionKey, None] = {}
        """To be packed once no definition is left to be looked at."""
        self._parts: tuple[SubscriptionKey | None, int, list[bytes]] = (None, -1, [])
        """Subscriptions that were looked for last: (name, definitions offset, first parts)."""
        self.late: set[str] = set()
        """Subscriptions that were restored with states of cuts to come."""

    def route_of(self, meter_key: MeterKey) -> Route:
        """Return the route of a meter key, made at its first event and as definitions touch it."""
        routes = self._routes
        route = routes.by_key.get(meter_key)
        # An event has taken most of them.
        if route is not None and (
            route.event_ranges is not None
            or route.made_at == routes.told_of
            or not routes.is_outdated(route)
        ):
            return route
        organization_id, external_id, code = meter_key = interned(meter_key)
        name, ranges = (organization_id, external_id), self._event_ranges
        codes = ranges.codes.get(name)
        if codes is not None and self._standing.changes:
            # Whoever looks at definitions finds all of it as it stood.
            self.unpack(name)
            route = self._routes.find(meter_key)
            if route is not None:
                return route
        known = None
        if codes is not None:
            known = codes.find(code)
        elif ranges.rest is not None:
            known = ranges.find(name, code)
        if known is None:
            if ranges.passes_over(name, code):
                # Nothing is kept of it; no charge asks about it.
                return Route(
                    *meter_key, tuple(timeline for _, timeline in self._timelines.of(name)), ()
                )
            until_ms = self._standing.shown_until_ms
            route = routes.compile(meter_key, until_ms)
            if codes is not None:
                self._unpack_into(name, route, codes)
            routes.begin_unused(meter_key, route)
            if until_ms is not None:
                # It is made again at the first event, and when what it does not show is looked at.
                route.made_at = -1
                self._standing.look_again(name)
            return route
        route = self._compiled_as_it_stands(meter_key)
        # Of whom no event ever came nothing is packed.
        if codes is not None and not self._unpack_into(name, route, codes):
            return self.route_of(meter_key)
        return routes.install(meter_key, route)

    def weight_of(self, meter_key: MeterKey) -> int:
        """Return how many plain events are folded closely while one of a meter key is."""
        return self.route_of(meter_key).weight

    def route_at_hand(self, meter_key: MeterKey) -> Route | None:
        """Return the route of a meter key; None: it is not at hand."""
        return self.route_of(meter_key) if meter_key in self._routes.by_key else None

    def _compiled_as_it_stands(self, meter_key: MeterKey) -> Route:
        """Compile a route of a meter key that has events, under what these were folded under."""
        until_ms, history_ms = self._standing.of(meter_key[:2])
        if until_ms is not None or history_ms is not None:
            self._standing.look_again(meter_key[:2])
        return self._routes.compile(meter_key, until_ms, history_ms)

    def stamp(self, name: SubscriptionKey) -> Stamp:
        """Return what a route of a packed external subscription depends on, beside its cells."""
        standing, offset = self._standing, self._definitions.offset
        return self._routes.told_of, offset, standing.of(name), standing.history_ms

    def replacing(
        self, meter_key: MeterKey, refolded: Route | None, *, keeps: bool = False
    ) -> Steps[list[SetKey]]:
        """Put a refolded route in place of a meter key's own; return the member sets to forget.

        Of a packed external subscription the other meter keys have to be at hand as well. `keeps`:
        what is forgotten is forgotten of the refolded one, too.
        """
        self.unpack(meter_key[:2])
        return (yield from self._routes.replacing(meter_key, refolded, keeps=keeps))

    def is_all_packed(self, name: SubscriptionKey) -> bool:
        """Return whether the cells of an external subscription are packed, and its routes gone."""
        return name not in self._in_part and self.is_packed(name)

    def is_packed(self, name: SubscriptionKey) -> bool:
        """Return whether cells of an external subscription are packed, maybe beside others."""
        if not self._packed:
            return False
        subscriptions = self._definitions.subscription_index
        if name in subscriptions.over_ms:
            # Of many nearly always one of the last has some.
            newest = subscriptions.by_external_id.ids(name, newest_first=True)
            ids = chain(newest, (subscription_id(*name),))
            return any(first_part_of(i) in self._packed for i in ids)
        return any(part in self._packed for part in self._first_parts(name))

    def few_cells(self, name: SubscriptionKey, identity: str, most: int) -> list[CellHere] | None:
        """Return the cells of a subscription, which stay packed.

        None: none are packed, or others are at hand, or there are more than `most`.
        """
        if name in self._in_part:
            return None
        return self._packed.few(first_part_of(identity), most)

    def has_cells(self, name: SubscriptionKey, least: int) -> bool:
        """Return whether so many cells of an external subscription are packed, or more."""
        if self._packed.most < least:
            return False
        return sum(map(self._packed.count, self._first_parts(name))) >= least

    def has_many(self, name: SubscriptionKey) -> bool:
        """Return whether more cells are packed than a step unpacks, or some beside many codes."""
        if len(self._event_ranges.codes_of(name)) > STEP_ITEMS and self.is_packed(name):
            return True
        return self.has_cells(name, STEP_ITEMS + 1)

    def has_many_to_touch(self, name: SubscriptionKey) -> bool:
        """Return whether a touch would do more than a step: look for its cells, or unpack them."""
        if self._standing.changes:
            return self.has_many(name)
        if not self.has_cells(name, STEP_ITEMS + 1):
            return False
        if self.has_cells(name, SPLIT_CELLS + 1):
            return True
        return max(map(self._packed.most_of_a_charge, self._first_parts(name))) > STEP_ITEMS

    def pieces(self, name: SubscriptionKey) -> list[tuple[bytes, bytes | None]]:
        """Return the packed cells of each subscription of an external id, for `has`."""
        return [(part, self._packed.piece(part)) for part in self._first_parts(name)]

    def has(self, name: SubscriptionKey, pieces: Iterable[tuple[bytes, bytes | None]]) -> bool:
        """Return True if just these cells are packed of an external subscription now."""
        return all(self._packed.piece(part) is piece for part, piece in pieces)

    def cells_in(self, pieces: Iterable[tuple[bytes, bytes | None]]) -> Iterator[Packed]:
        """Return the cells in pieces that `pieces` told, one by one; they stay packed."""
        in_piece = self._packed.in_piece
        return chain.from_iterable(in_piece(p, piece) for p, piece in pieces if piece is not None)

    def read(self, name: SubscriptionKey) -> list[Packed]:
        """Return the packed cells of an external subscription, which stay packed."""
        return list(self.cells_in(self.pieces(name)))

    def delete(self, name: SubscriptionKey, gone: Container[bytes]) -> None:
        """Delete packed cells of an external subscription by key; the others stay packed."""
        for first_part in self._first_parts(name):
            for key, value in self._packed.drain(first_part):
                if key in gone:
                    self._snapshot.delete_packed(key, value)
                else:
                    self._packed.add_cell(key, value)
        self._packed.pack()

    def unpack(self, name: SubscriptionKey) -> None:
        """Make routes and cells of a packed external subscription, as they stand."""
        drained(self._unpacking(name, alone=True))

    def unpacking(self, name: SubscriptionKey) -> Steps[None]:
        """Do what `unpack` does by steps, if many cells are packed; whoever asks unpacks few.

        Nobody sees anything of it before the last step.
        """
        for _ in range(_TRIES):
            if not self.has_many(name):
                return
            yield from self._unpacking(name)

    def unpacking_all(self, name: SubscriptionKey) -> Steps[None]:
        """Do what `unpack` does, by steps if many cells are packed: whoever asks needs them."""
        yield from self.unpacking(name)
        self.unpack(name)

    def _unpack_into(self, name: SubscriptionKey, route: Route, codes: Collection[str]) -> bool:
        """Give a route that is made the packed cells of its charges; those of others stay packed.

        Return False if some of them are not its own: all are unpacked then. `codes`: with events.
        """
        parts = self._in_part.get(name)
        if parts is None:
            parts = [part for part, _ in self._to_unpack(name)]
            if not parts:
                return True
        charges = {charge_part_of(span.key.charge_id) for span in route.spans}
        cells, others = list[Packed](), list[bytes]()
        for part in parts:
            own, has_others = self._packed.of_charges(part, charges)
            cells += own
            if has_others:
                others.append(part)
        has_events = route.code in codes
        if (
            # What no charge of its own has is a fault of ours.
            (has_events and len(codes) == 1 and others)
            # Its charges were about another code, whose cells it has to take over.
            or (cells and not has_events)
            or not fill(route.spans, cells)
        ):
            self.unpack(name)
            return False
        for part in parts:
            self._packed.take_out(part, charges)
        if others:
            self._in_part[name] = others
        else:
            self._in_part.pop(name, None)
        return True

    def _to_unpack(self, name: SubscriptionKey) -> list[Piece]:
        """Return what is packed of an external subscription, which is noted for `pack`."""
        if not self._packed:
            return []
        pieces = [(part, piece) for part, piece in self.pieces(name) if piece is not None]
        if pieces and name not in self._in_part:
            self.as_packed = {name: pieces}
        return pieces

    def _unpacking(self, name: SubscriptionKey, *, alone: bool = False) -> Steps[None]:
        """Unpack by steps, unless definitions come between, or others unpack it.

        `alone`: nobody else has a turn between two steps.
        """
        pieces = self._to_unpack(name)
        if not pieces:
            return
        stamp = None if alone else self.stamp(name)
        routes: list[tuple[MeterKey, Route]] = []
        cells = yield from sorting(self.cells_in(pieces))
        filled = 0
        for code in tuple(self._event_ranges.codes_of(name)):
            filled += 1
            if filled >= STEP_ITEMS:
                filled = 0
                yield
            meter_key = (*name, code)
            # No cell is of a code that no metric ever had, and a producer may send very many.
            if meter_key in self._routes.by_key or not self._definitions.had_metric(name[0], code):
                continue
            route = self._compiled_as_it_stands(meter_key)
            for span in route.spans:
                # Of many that ended one after the other most have none.
                of_span = cells.pop(span.key, None)
                if of_span is None:
                    continue
                filled += len(of_span)
                left = yield from filling(span, of_span)
                if left:
                    cells[span.key] = left
            routes.append((meter_key, route))
        if stamp is not None and (stamp != self.stamp(name) or not self.has(name, pieces)):
            return
        for first_part, _ in pieces:
            self._packed.drop(first_part)
        self._in_part.pop(name, None)
        for meter_key, route in routes:
            self._routes.install(meter_key, route)
        if cells:
            self._refold_orphaned(name, cells)

    def _refold_orphaned(self, name: SubscriptionKey, orphaned: OfSpans) -> None:
        """Count anew what cells hold that no route leads to: they are a fault of ours.

        Their sets of members go with the flush that deletes them, and are not begun again.
        """
        routes, gone = self._routes, list[SetKey]()
        routes.skip_generation()
        for span_key, cells in orphaned.items():
            span = routes.spans.get(span_key)
            if span is not None and not span.all_sets():
                span.generation = routes.generation_now
            for cell_key, (key, value) in cells:
                self._snapshot.delete_packed(key, value)
                generation = decode_cell(value).generation
                for set_name in _set_names(cell_key):
                    if span is not None and span.fold.unique and span.generation == generation:
                        # Its other cells may use the set, which the refold forgets with the span.
                        span.sets[set_name] = span.set_named(set_name)
                    else:
                        gone.append(set_key(*span_key, generation, set_name[2], *set_name[:2]))
        self._members.leave(gone)
        self._stale.miss(self._event_ranges.meter_keys_of(name))

    def pack(self, name: SubscriptionKey, pieces: Sequence[Piece] = ()) -> None:
        """Do what `packing` does, in one go."""
        drained(self.packing(name, pieces))

    def packing(self, name: SubscriptionKey, pieces: Sequence[Piece] = ()) -> Steps[None]:
        """Pack the cells of an external subscription, unless a flush or a refold has to see them.

        What is packed is what the changelog has, so that nothing needs to be written. What changes
        between two steps stays at hand. `pieces`: as they were packed before, if they did not
        change.
        """
        if self._stays(name):
            return
        routes = self._routes
        routes.drop_unused(name)
        cells = self._at_hand(name)
        if any(map(_dirty, cells)):
            return
        meter_keys = [(*name, code) for code in self._event_ranges.codes_of(name)]
        if pieces and self._stale.orphaned_keys.isdisjoint(meter_keys):
            for first_part, piece in pieces:
                self._packed.put(first_part, piece)
        else:
            put_together: PutTogether = {}
            hashes: list[int] = []
            for some in batches(cells, STEP_ITEMS):
                hashes += map(_hash, some)
                written = [cell for cell in some if cell.hash and not cell.dirty]
                rows = packed_cells(written)
                self._packed.put_together(rows, put_together)
                for cell, row in zip(written, rows, strict=True):
                    if record_hash(*row) != cell.hash:
                        # An older program wrote the same in other words: it is written anew.
                        self._snapshot.mark(cell)
                yield
            if self._stays(name) or self._at_hand(name) != cells:
                return
            if any(map(_dirty, cells)) or [*map(_hash, cells)] != hashes:
                return
            self._packed.add_all(put_together)
        for span in self._rest(name):
            span.drop()
            if len(cells) > STEP_ITEMS:
                yield
        yield from freeing(cells)

    def _rest(self, name: SubscriptionKey) -> list[Span]:
        """Take out the routes of an external subscription whose cells are packed.

        Return their spans, which the caller drops.
        """
        routes, spans = self._routes, list[Span]()
        for code in list(self._event_ranges.codes_of(name)):
            spans += routes.remove((*name, code))
        self._timelines.forget(name)
        routes.note_gone(name)
        if spans:
            self._standing.note_packed(name)
        self._event_ranges.rest_again(name)
        for part in self._in_part.pop(name, ()):
            # What stayed packed is put together again.
            self._packed.piece(part)
        return spans

    def _stays(self, name: SubscriptionKey) -> bool:
        """Return whether an external subscription has to stay at hand, for now at least."""
        if name in self._stale.names:
            return True
        if self._standing.changes:
            self._to_pack[name] = None
            return True
        return False

    def _at_hand(self, name: SubscriptionKey) -> list[Cell]:
        """Return the cells at hand of an external subscription."""
        by_key = self._routes.by_key
        return [
            cell
            for code in self._event_ranges.codes_of(name)
            if (route := by_key.get((*name, code))) is not None
            for span in route.spans
            for layer in span.layers.values()
            for cell in layer.cells.values()
        ]

    def pack_later(self) -> Steps[None]:
        """Pack what could not be packed while definitions were looked at."""
        while self._to_pack and not self._standing.looks:
            name, _ = self._to_pack.popitem()
            yield from self.packing(name)
            yield

    def spare(self, name: SubscriptionKey) -> None:
        """Drop what was made to look at an external subscription that has no routes at hand."""
        if not self._timelines.has(name):
            return
        if name not in self._event_ranges.codes or self.is_all_packed(name):
            self._timelines.forget(name)
            self._routes.note_gone(name)

    def _first_parts(self, name: SubscriptionKey) -> Iterable[bytes]:
        definitions = self._definitions
        known, offset, parts = self._parts
        # Who closes it asks twice.
        if known != name or offset != definitions.offset:
            ids = [next(versions.all()).id for versions in definitions.subscriptions(*name)]
            if definitions.settings.implicit_since_ms < NEVER_MS:
                ids.append(subscription_id(*name))
            parts = [*map(first_part_of, ids)]
            self._parts = name, definitions.offset, parts
        return parts

    def load_cell(self, key: bytes, value: bytes) -> None:
        """Take over one record of the cell changelog."""
        if is_newer(value):
            raise StateTooNew(f"a cell is of a fold version later than {FOLD_VERSION}")
        self._packed.add_cell(key, value)
        self._snapshot.note_loaded(key, value)
        if has_late_cuts(value):
            self.late.add(subscription_of(key))

    def packing_loaded(self) -> Steps[None]:
        """Pack what was taken over, now that it is all there; nothing is asked for meanwhile."""
        return self._packed.packing()


_dirty, _hash = attrgetter("dirty"), attrgetter("hash")


def _set_names(cell: CellKey) -> tuple[SpanSetKey, SpanSetKey]:
    """Return the sets that may have a cell's members: of a recurring metric, of another."""
    return (cell.filter_id, cell.groups, None), (cell.filter_id, cell.groups, cell.layer_ms)
