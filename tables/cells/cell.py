"""Cells: one accumulator per (subscription, charge, filter bucket, group, period) and cut.

Within a period an event counts from a *cut* on. The cut is 0 for an event appended until the period
was due. Else, and always if somebody watches, it is the first cut at or after its append time
(records-and-cuts §4). A cell at cut T merges its states up to T; published ones are *settled* in 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import chain
from typing import Any, cast

import msgspec

from app.definitions.model import FOLD_VERSION
from app.definitions.periods import NEVER_MS, Period, ceil_to
from app.definitions.timeline import Timeline
from app.kernel import pack_cells
from app.wire.arrivals import Position
from tables.aggregation import WITH_BARE, Aggregation, Groups, State
from tables.cells.figures import CellFigures, figures_of, window_of
from tables.cells.group_limit import GroupLimit
from tables.cells.keys import (
    ONLY_CELL,
    OPEN_CUT_MS,
    UNKNOWN_POSITION,
    CellKey,
    PackedPosition,
    SpanKey,
    SpanSetKey,
    pack_position,
)
from tables.cells.late_cut import NO_LATE_CUT, LateCut, revised_after_correction
from tables.cells.noted import FEW_CELLS, Balances, Noted
from tables.cells.watch import Watch
from tables.changelogged.members import SetKey, set_key
from tables.charge import ChargeFold
from tables.unique_count import BEFORE

_encode = msgspec.msgpack.Encoder().encode


class Cell(msgspec.Struct, eq=False):
    """States of one cell by cut. Most cells only ever have cut 0."""

    layer: Layer
    filter_id: str | None
    groups: Groups
    state: State
    late: dict[int, State] | None = None
    dirty: bool = False
    hash: int = 0
    """Hash of the changelog record last written; 0 when there is none."""

    def state_at(self, cut_ms: int, aggregation: Aggregation[Any]) -> State:
        """Return the state that the cut adds to, made if absent."""
        if cut_ms == 0:
            return self.state
        if self.late is None:
            self.late = {}
        state = self.late.get(cut_ms)
        if state is None:
            state = self.late[cut_ms] = aggregation.initialize()
        return state

    def merge_into(self, total: State, cut_ms: int, aggregation: Aggregation[Any]) -> None:
        """Add everything up to a cut to `total`."""
        aggregation.merge(total, self.state)
        for late_ms, state in (self.late or {}).items():
            if late_ms <= cut_ms:
                aggregation.merge(total, state)

    def settle(self, settled_ms: int, aggregation: Aggregation[Any]) -> bool:
        """Merge settled cuts into cut 0; return True if there was one."""
        published = [c for c in self.late or () if self.layer.is_settled(c, settled_ms)]
        for late_ms in published:
            aggregation.merge(self.state, self.late.pop(late_ms))  # type: ignore[union-attr]
        self.late = self.late or None
        return bool(published)

    @property
    def empty(self) -> bool:
        """Whether no event was folded into it."""
        return self.state.events == 0 and not self.late

    def blank(self, aggregation: Aggregation[Any]) -> bool:
        """Return True if the cell is like one that was never made."""
        return not self.late and self.state == aggregation.initialize()

    @property
    def key(self) -> CellKey:
        """Its name in the changelog."""
        return CellKey(*self.layer.span.key, self.layer.start_ms, self.filter_id, self.groups)

    def packed_key(self) -> bytes:
        """Return the key as the changelog has it."""
        return _encode(self.key)

    def packed(self) -> bytes:
        """Return its changelog value: version, (cut, state) pairs, generation of the span."""
        return _encode(self._parts())

    def _parts(self) -> tuple[object, ...]:
        span = self.layer.span
        pack = span.fold.aggregation.pack
        cuts, bare = [(0, pack(self.state))], self.state.bare > 0
        if self.late:
            cuts += [(cut_ms, pack(state)) for cut_ms, state in sorted(self.late.items())]
            bare = bare or any(state.bare for state in self.late.values())
        return FOLD_VERSION + WITH_BARE * bare, cuts, span.generation


class GroupCell(Cell, eq=False):
    """The cell of a group, which knows since when the group is there."""

    first: PackedPosition = UNKNOWN_POSITION
    """Position of the group's first event at the last write; a lower bound."""

    def note_first(self, position: Position) -> None:
        """Take in the position of an event that may be the group's first."""
        self.first = min(self.first, pack_position(position))

    def _parts(self) -> tuple[object, ...]:
        return *super()._parts(), self.first


def packed_cells(cells: list[Cell]) -> list[tuple[bytes, bytes]]:
    """Return key and value of each cell, as the changelog has them: `packed_key` and `packed`."""
    rows: list[tuple[bytes, bytes]] = pack_cells(cells, FOLD_VERSION, Decimal)
    return rows


class Alone(Cell, eq=False, kw_only=True):
    """What one cut sees of a cell: it has only the state of that cut."""

    own: Cell
    """The cell: it is what a flush writes."""


class Layer(msgspec.Struct, eq=False):
    """The cells of one period of a span, or of its history (`period` None)."""

    span: Span
    period: Period | None
    start_ms: int
    end_ms: int
    first_shown: Period
    """Earliest-due period that shows these cells; a recurring metric has several."""
    due_at_ms: int
    """Last append time in ms at which an event has cut 0."""
    max_groups: int
    cells: dict[tuple[str | None, Groups], Cell] = {}
    group_limit: GroupLimit | None = None
    """Groups let in, of a metric that is not recurring; None until there are many groups."""
    noted: Noted[Cell] | None = None
    """Which of many cells changed; None until somebody asks."""
    late_cut: LateCut = NO_LATE_CUT
    """The cut of late events of a recurring metric, as it was asked for last."""

    @classmethod
    def of(cls, span: Span, period: Period | None, first_shown: Period) -> Layer:
        """Return the layer of a period of a span without cells."""
        return cls(
            span,
            period,
            BEFORE if period is None else period.start_ms,
            span.key.start_ms if period is None else period.end_ms,
            first_shown,
            first_shown.due_at_ms if span.timeline.published else NEVER_MS,
            first_shown.max_groups + span.fold.spare_groups,
        )

    def cell(self, filter_id: str | None, groups: Groups, state: State | None = None) -> Cell:
        """Return the cell of a bucket and group, made if absent; `state`: what it has then."""
        name = (filter_id, groups) if groups or filter_id is not None else ONLY_CELL
        if (cell := self.cells.get(name)) is None:
            state = state or self.span.fold.aggregation.initialize()
            self.cells[name] = cell = (GroupCell if groups else Cell)(self, *name, state)
        return cell

    def revision_of(self, at_ms: int) -> int:
        """Return the first revision at or after an instant of what was published by then.

        Definitions may still change the layer's own period until it is due. Until then the rules
        are those of `first_shown`.
        """
        own = self.period
        rules = own if own is not None and own.due_at_ms < at_ms else self.first_shown
        return ceil_to(at_ms, rules.revise_every_ms)

    def is_settled(self, cut_ms: int, settled_ms: int) -> bool:
        """Return whether states of a cut are one with cut 0; revisions are settled until then."""
        watch = self.span.watch if cut_ms <= self.due_at_ms else None
        return cut_ms <= settled_ms or (watch is not None and watch.is_taken(cut_ms))

    def noting(self) -> Noted[Cell] | None:
        """Return which of its cells change from now on; None: they are few."""
        if self.noted is None and len(self.cells) > FEW_CELLS:
            self.noted = Noted(self.cells.values())
        return self.noted

    def note(self, cell: Cell) -> None:
        """Note for cuts to come that one of its cells changed."""
        if self.noted is not None:
            self.noted.add(cell)
        if self.span.balances is not None:
            self.span.balances.add(cell, self.start_ms)

    def late_cells(self) -> Iterable[Cell]:
        """Return cells with states of cuts to come, and maybe some without."""
        noted = self.noting()
        return list(self.cells.values()) if noted is None else noted.late()

    def uses(self, cell: Cell) -> bool:
        """Return whether a cell is here, and does more than keep the place of a group."""
        blank = not self.span.fold.plain and cell.empty and cell.blank(self.span.fold.aggregation)
        return not blank and self.cells.get((cell.filter_id, cell.groups)) is cell

    def used(self) -> Iterator[tuple[str | None, Groups]]:
        """Return the names of cells, without cells that only keep the place of a group."""
        aggregation = self.span.fold.aggregation
        # Most have events, and there may be tens of thousands.
        return (n for n, c in self.cells.items() if c.state.events or not c.blank(aggregation))

    def admit(self, filter_id: str | None, groups: Groups, position: Position) -> Cell | None:
        """Return a new cell for the group of an event at this position; None: no room is left."""
        first, most = pack_position(position), self.limits.max_groups
        group_limit = self.limits.group_limit
        if group_limit is None and not self.has_room(1):
            group_limit = self.limits.group_limit = group_limit_of(self.limited_layers())
        if group_limit is not None and not group_limit.admits(groups, first, most):
            return None
        cell = GroupCell(self, filter_id, groups, self.span.fold.aggregation.initialize())
        cell.first = first
        self.cells[filter_id, groups] = cell
        return cell

    def has_room(self, groups: int) -> bool:
        """Return whether so many new groups find room, in any order."""
        cells = sum(len(layer.cells) for layer in self.limited_layers())
        return self.limits.group_limit is None and cells + groups <= self.limits.max_groups

    def displaced_by(self, position: Position) -> bool:
        """Return True if a group that found no room may have a better claim than one with cells."""
        group_limit = self.limits.group_limit
        return group_limit is not None and group_limit.displaces(pack_position(position))

    @property
    def limits(self) -> Layer | Span:
        """Owner of the group limit: the layer, or the whole span of a recurring metric."""
        return self.span if self.span.fold.limits_history else self

    def limited_layers(self) -> list[Layer]:
        """Return the layers that share its limit of groups."""
        return list(self.span.layers.values()) if self.limits is self.span else [self]


class Span(msgspec.Struct, eq=False):
    """Consecutive periods of one subscription in which one charge folds alike."""

    name: tuple[str, str]
    """(organization_id, external_subscription_id)"""
    key: SpanKey
    fold: ChargeFold
    timeline: Timeline
    end_ms: int
    """Start of the first period that folds otherwise; NEVER_MS while there is none."""
    layers: dict[int, Layer] = {}
    current: Layer | None = None
    generation: int = 0
    """Generation of its sets of members; sets of an earlier refold are void."""
    sets: dict[SpanSetKey, SetKey] = {}
    """unique_count: the sets of members that were asked for; `all_sets` returns all."""
    group_limit: GroupLimit | None = None
    """Groups let in, of a recurring metric; None until there are many groups."""
    balances: Balances[Cell] | None = None
    """Which cells change that periods show of a recurring metric; None until a cut asks."""
    watch: Watch | None = None
    forgotten_ms: int = -1
    """Cells of periods that were final by then are forgotten; -1: none are."""
    stands: bool = False
    """Whether the table of routes has it under its key. To look it up took a flush 1.4 us."""

    @property
    def max_groups(self) -> int:
        """Group limit of a recurring metric, from the period that is published first."""
        return self._first_shown(None).max_groups + self.fold.spare_groups

    @property
    def watched_ms(self) -> int:
        """Somebody watches what is appended until then; -1: nobody does. NEVER_MS: also later."""
        return -1 if self.watch is None else self.watch.stretches[-1][1]

    def watching(self, append_time_ms: int) -> Watch | None:
        """Return who watches what is appended since a time; None: nobody does, or any more."""
        return self.watch if append_time_ms <= self.watched_ms else None

    def emptied(self) -> Span:
        """Return the same span without cells."""
        span = type(self)(self.name, self.key, self.fold, self.timeline, self.end_ms)
        span.generation, span.watch = self.generation, self.watch
        return span

    def drop(self) -> None:
        """Cut the references of its cells back to the span, which nothing keeps any more.

        The last reference then frees it without the garbage collector. A reader may go on.
        """
        bare = self.emptied()
        for layer in self.layers.values():
            blank = Layer.of(bare, layer.period, layer.first_shown)
            for cell in layer.cells.values():
                if cell.layer is layer:
                    cell.layer = blank
            layer.span = bare

    def set_named(self, name: SpanSetKey) -> SetKey:
        """Return the key of a set of members (unique_count)."""
        return self.sets.get(name) or set_key(*self.key, self.generation, name[2], *name[:2])

    def all_sets(self) -> dict[SpanSetKey, SetKey]:
        """Return every set of members that there may be, one for each cell (unique_count)."""
        recurring = self.fold.metric.recurring
        names = [
            (*name, None if recurring else layer.start_ms)
            for layer in self.layers.values()
            for name in layer.cells
        ]
        return {name: self.set_named(name) for name in (*self.sets, *names)}

    def layer_at(self, timestamp_ms: int) -> Layer | None:
        """Return the layer that holds an event of that time; None: no period of the span does."""
        layer = self.current
        if layer is not None and layer.start_ms <= timestamp_ms < layer.end_ms:
            return layer
        if timestamp_ms < self.key.start_ms:
            return self.layer_of(None) if self.fold.reaches_back else None
        period = self.timeline.holding(timestamp_ms)
        if period is None or period.start_ms >= self.end_ms:
            return None
        self.current = self.layer_of(period)
        return self.current

    def place_layer(self, timestamp_ms: int) -> Layer | None:
        """Return the layer in which the group of an event of that time takes a place.

        If the limit spans all history, an event after the span takes a place in an earlier layer,
        by a cell without events.
        """
        layer = self.layer_at(timestamp_ms)
        return self.layer_of(None) if layer is None and self.fold.limits_history else layer

    def lies_apart(self, start_ms: int, before_ms: int) -> bool:
        """Return whether no event of a time reaches it, nor takes a place for its group in it."""
        fold, first_ms = self.fold, self.key.start_ms
        if fold.grouped and fold.limits_history:
            return False
        if first_ms > start_ms:
            return first_ms >= before_ms and not fold.reaches_back
        return self.end_ms <= start_ms or not self.timeline.has_any(start_ms, before_ms)

    def layer_of(self, period: Period | None) -> Layer:
        """Return the layer of a period of the span; None: its history."""
        start_ms = BEFORE if period is None else period.start_ms
        layer = self.layers.get(start_ms)
        if layer is None:
            shown = period
            if shown is None or self.fold.metric.recurring:
                shown = self._first_shown(period)
            layer = self.layers[start_ms] = Layer.of(self, period, shown)
        return layer

    def layer_starting(self, start_ms: int) -> Layer | None:
        """Return the layer of that start, made if the timeline has such a period in the span."""
        if start_ms == BEFORE:
            return self.layer_of(None)
        period = self.timeline.holding(start_ms)
        if period is None or period.start_ms != start_ms or start_ms >= self.end_ms:
            return None
        return self.layer_of(period)

    def cut_of(self, layer: Layer, append_time_ms: int, *, corrected: bool = False) -> int:
        """Return the first cut at which an event of the layer counts; 0 until the period is due.

        If the span is watched: its grid cut, 0 once that is taken. One appended later counts at the
        next revision of its period, or as `LateCut` has it. `corrected`: no later cut may show the
        event as it was. For a recurring metric the next revision of any period then shows it.
        """
        watch = self.watch
        if append_time_ms <= layer.due_at_ms:
            return 0 if watch is None else watch.cut_until(layer.due_at_ms, append_time_ms)
        known = layer.late_cut
        if not corrected and known.since_ms <= append_time_ms <= known.until_ms:
            cut_ms = known.cut_ms
        else:
            cut_ms = layer.revision_of(append_time_ms)
            if self.fold.metric.recurring:
                if corrected:
                    cut_ms = revised_after_correction(self.timeline, append_time_ms, cut_ms)
                args = append_time_ms, layer.start_ms, self.end_ms, cut_ms
                late_cut = LateCut.of(self.timeline, *args)
                if not corrected:
                    layer.late_cut = late_cut
                cut_ms = late_cut.cut_ms
        if watch is not None:
            cut_ms = min(cut_ms, watch.cut_of(append_time_ms) or cut_ms)
        return cut_ms

    def figures(
        self, period: Period, filter_id: str | None, groups: Groups, cut_ms: int = OPEN_CUT_MS
    ) -> CellFigures:
        """Return the figures of one cell of a period, as of a cut."""
        layer = None if self.fold.metric.recurring else self.layers.get(period.start_ms)
        cell = None if layer is None else layer.cells.get((filter_id, groups))
        if cell is not None and cell.late is None:
            # Nothing to merge: most cells of most periods.
            return figures_of(self.fold, cell.state, None, window_of(period))
        states = self.states(period, filter_id, groups, cut_ms)
        return figures_of(self.fold, *states, window_of(period))

    def states(
        self, period: Period, filter_id: str | None, groups: Groups, cut_ms: int = OPEN_CUT_MS
    ) -> tuple[State, State | None]:
        """Merge states of one cell, as of a cut: of the period, and of all before if recurring."""
        aggregation: Aggregation[Any] = self.fold.aggregation
        recurring = self.fold.metric.recurring
        state, before = aggregation.initialize(), aggregation.initialize()
        name = (filter_id, groups)
        for start_ms, layer in self.layers.items():
            if start_ms == period.start_ms:
                into = state
            elif start_ms < period.start_ms and recurring:
                into = before
            else:
                continue
            cell = layer.cells.get(name)
            if cell is not None:
                cell.merge_into(into, cut_ms, aggregation)
        return state, before if recurring else None

    def noted_in(self, period: Period) -> Noted[Cell] | None:
        """Return which cells of a period change from now on; None: all may show anything new.

        What recurs shows earlier periods, too; what definitions change has spans of its own.
        """
        layer, whole = self.layers.get(period.start_ms), self.fold.metric.recurring
        return None if layer is None or whole else layer.noting()

    def balances_noted_in(self, period: Period) -> Noted[Cell] | None:
        """Return which cells change that a period shows of what recurs; None: they are few."""
        layers = [each for at_ms, each in self.layers.items() if at_ms <= period.start_ms]
        if sum(len(layer.cells) for layer in layers) <= FEW_CELLS:
            return None
        self.balances = self.balances or Balances()
        return self.balances.noting(period, (c for each in layers for c in each.late_cells()))

    def cells_of(self, period: Period) -> dict[tuple[str | None, Groups], None]:
        """Return names of the cells of a period: of a recurring metric those of history too."""
        if self.fold.metric.recurring:
            layers = [each for at_ms, each in self.layers.items() if at_ms <= period.start_ms]
        else:
            layers = [self.layers[period.start_ms]] if period.start_ms in self.layers else []
            if self.fold.plain and layers:
                return dict.fromkeys(layers[0].cells)
        names = [layer.cells if self.fold.plain else layer.used() for layer in layers]
        return dict.fromkeys(chain.from_iterable(names))

    def _first_shown(self, period: Period | None) -> Period:
        """Return the earliest-due period that shows a layer; `period` None: the history.

        Every later period of a recurring metric shows it, too; otherwise only the period does.
        """
        first = period or self.timeline.holding(self.key.start_ms)
        if first is None:
            raise LookupError("a span begins with a period")
        if self.timeline.published and self.fold.metric.recurring:
            for candidate in self.timeline.overtaking(first):
                if candidate.start_ms >= min(self.end_ms, first.due_at_ms):
                    break
                if candidate.due_at_ms < first.due_at_ms:
                    first = candidate
        return first


def group_limit_of(layers: Iterable[Layer]) -> GroupLimit:
    """Return the groups that have cells, as admitted."""
    firsts: dict[Groups, PackedPosition] = {}
    for groups, cell in grouped_cells(layers):
        firsts[groups] = min(firsts.get(groups, UNKNOWN_POSITION), cell.first)
    return GroupLimit(firsts)


def grouped_cells(layers: Iterable[Layer]) -> Iterator[tuple[Groups, GroupCell]]:
    """Return all cells of groups, with their groups."""
    for layer in layers:
        for (_, groups), cell in layer.cells.items():
            if groups:
                yield groups, cast("GroupCell", cell)
