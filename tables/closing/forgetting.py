"""Forgetting: cells of final periods go, once their records tell all that anybody asks of them.

A correction, a history record or an admitted event that changes such a period refolds the meter
key. That brings all its cells back, until they are forgotten again. Those of a recurring metric are
carried on in one cell for all periods that are forgotten; an event only adds to them. Once no other
period comes, and all are final, nothing is carried on.

The members of a unique count go before their cell does, so that one whose members are not all gone
is found again after a restart. Their names are in the members store, which the caller asks.
"""

from __future__ import annotations

from array import array
from collections.abc import Container, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.definitions.periods import NEVER_MS, Period, ceil_to
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.breakdown_fold import BreakdownFold
from tables.cells.cell import Cell, Layer, Span
from tables.cells.forgotten import (
    all_final_ms,
    carry,
    gone_ms,
    is_forgotten,
    is_over,
    last_period,
)
from tables.cells.keys import SpanKey
from tables.changelogged.checkpoint import FORGETTING_VERSION
from tables.changelogged.members import SetKey
from tables.changelogged.presence import LogsKept
from tables.closing.alerts import forgetting_alerts
from tables.closing.daily import forgetting_told
from tables.closing.packed_forgetting import Final, final_of
from tables.closing.schedule import Schedule
from tables.closing.told import is_told, keeping_all_rows, shows_before
from tables.partition.left_out import kept_from
from tables.partition.partition import Partition
from tables.routing.route import Route
from tables.unique_count import BEFORE

MOST_CELLS = 20_000
"""Cells of one meter key that are compared in one step; where more are final, all stay."""
MOST_SETS = 1_000
"""About how many sets of members are emptied before those of others."""
NAMES_AT_ONCE = 1_000
"""How many external subscriptions are looked at before cuts have their turn, in some 0.1 s."""


class Forgetting:
    """Which external subscriptions of a partition have periods that become final, and when."""

    def __init__(self, partition: Partition, schedule: Schedule):
        self._partition = partition
        self._schedule = schedule
        self._numbers: dict[int, array[int]] = {}
        """Numbers in the schedule by the time from which they are to be looked at, some twice."""
        self._final = array("I")
        """Numbers of those whose time has come, each once."""
        self._waiting: dict[SubscriptionKey, set[SetKey]] = {}
        """Sets whose cells go when they are empty."""

    def note_due(self, numbers: Sequence[int], cut_ms: int) -> None:
        """Note those of the schedule whose periods may have been due at a cut."""
        settings = self._partition.definitions.settings_at(cut_ms)
        late_until_ms = cut_ms + settings.late_window_s * 1000
        self._look_at(numbers, ceil_to(late_until_ms, settings.revise_every_s * 1000))

    def note_ended(self, name: SubscriptionKey) -> None:
        """Note an external subscription without a cut to come, after a restore."""
        self._look_at((self._schedule.number_of(name),), 0)

    def _look_at(self, numbers: Sequence[int], at_ms: int) -> None:
        if numbers:
            self._numbers.setdefault(at_ms, array("I")).extend(numbers)

    @property
    def has_work(self) -> bool:
        """Whether periods of anybody may be final by now, or cells that waited may go."""
        due_ms = min(self._numbers, default=NEVER_MS)
        leaving = self._partition.members.leaving
        waits = (sets.isdisjoint(leaving) for sets in self._waiting.values())
        return bool(self._final) or due_ms <= self._partition.cuts.settled_ms or any(waits)

    def forgetting(self, kept: LogsKept) -> Steps[bool]:
        """Forget what is final by now, by small steps; return whether to go on after a cut.

        `kept`: what the logs still have. What only deleted events could bring back stays. While the
        members of many sets are to go, nothing more is looked at.
        """
        event_ranges, leaving = self._partition.event_ranges, self._partition.members.leaving
        if not self._final:
            self._take_final()
        if len(leaving) < MOST_SETS:
            empty = (name for name, sets in self._waiting.items() if sets.isdisjoint(leaving))
            # The last are the next.
            self._final.extend(map(self._schedule.number_of, empty))
        for _ in range(NAMES_AT_ONCE):
            if not self._final or len(leaving) >= MOST_SETS:
                return False
            name = self._schedule.named(self._final[-1])
            waited_for = self._waiting.pop(name, set())
            meter_keys = event_ranges.meter_keys_of(name)
            if not event_ranges.names_lacking(meter_keys, kept) or self._are_kept(meter_keys, kept):
                yield from self._forgetting_one(name, waited_for)
            self._final.pop()
            yield
        return bool(self._final)

    def _are_kept(self, meter_keys: Iterable[MeterKey], kept: LogsKept) -> bool:
        """Return whether the events are there of all that is not forgotten yet."""
        partition = self._partition
        appended = {key: at for key in meter_keys if (at := kept_from(partition, key)) is not None}
        return not partition.event_ranges.names_lacking(meter_keys, kept, appended)

    def _take_final(self) -> None:
        """Take over those whose time has come."""
        settled_ms = self._partition.cuts.settled_ms
        times = [at_ms for at_ms in self._numbers if at_ms <= settled_ms]
        found = [np.frombuffer(self._numbers.pop(at_ms), np.uint32) for at_ms in times]
        if found:
            self._final = array("I", np.unique(np.concatenate(found)).tobytes())

    def _forgetting_one(self, name: SubscriptionKey, waited_for: Container[SetKey]) -> Steps[None]:
        partition = self._partition
        if name in partition.stale.parked:
            return
        if not is_at_rest(partition, name):
            self._look_later(name, partition.cuts.settled_ms + 1)
            return
        yield from forgetting_alerts(partition, name)
        packed = partition.packing.is_packed(name)
        if packed and (final := final_of(partition, name)) is not None:
            self._forget_packed(name, final, waited_for)
            yield from self._forgetting_days(name)
            return
        yield from partition.packing.unpacking_all(name)
        for code in list(partition.event_ranges.codes_of(name)):
            yield from _keeping_rows_left(partition, (*name, code))
            yield from _noting_final(partition, (*name, code))
            yield from self._dropping((*name, code), waited_for)
        yield from self._forgetting_days(name)
        self._look_later(name, _next_final_ms(partition, name))
        if packed:
            yield from partition.packing.packing(name)

    def _forgetting_days(self, name: SubscriptionKey) -> Steps[None]:
        """Drop what daily records said of periods that are over: after the last none would."""
        partition = self._partition
        if not partition.daily:
            return
        told = partition.daily.told_before
        ids = [next(v.all()).id for v in partition.definitions.subscriptions(*name)]
        if not any(told((identity, NEVER_MS)) for identity in ids):
            return
        for versions, timeline in partition.timelines.of(name):
            before = next(versions.all()).id, NEVER_MS
            yield from forgetting_told(partition, before, timeline, partition.cuts.settled_ms)

    def _look_later(self, name: SubscriptionKey, later_ms: int) -> None:
        if later_ms < NEVER_MS:
            self._look_at((self._schedule.number_of(name),), later_ms)

    def _forget_packed(
        self, name: SubscriptionKey, final: Final, waited_for: Container[SetKey]
    ) -> None:
        """Drop packed cells, but for those with members."""
        partition = self._partition
        for code, final_ms in final.codes.items():
            partition.checkpoint.fold_version = FORGETTING_VERSION
            partition.event_ranges.note_forgotten((*name, code), final_ms)
        gone = {
            key
            for key, members in final.cells.items()
            if members is None or self._has_left(name, members, waited_for)
        }
        if gone:
            partition.packing.delete(name, gone)
        partition.work.add("close", "cells", len(gone))
        self._look_later(name, final.later_ms)

    def _dropping(self, meter_key: MeterKey, waited_for: Container[SetKey]) -> Steps[None]:
        """Drop the forgotten cells of a meter key, by steps, but for those with members.

        `waited_for`: sets that left before. A flush that comes between two steps leaves some cells
        behind, which nobody reads.
        """
        partition = self._partition
        route = partition.packing.route_at_hand(meter_key)
        spans = () if route is None else route.spans
        over = {span.key for span in spans if span.fold.metric.recurring and is_over(span)}
        for cells in batches(_forgotten_cells(spans, over), STEP_ITEMS):
            # A flush passes over cells of other spans than those in use.
            nowhere: dict[int, Layer] = {}
            count = 0
            for cell in cells:
                layer, span = cell.layer, cell.layer.span
                if span.fold.metric.recurring and span.key not in over:
                    if cell.late is not None:
                        # It came when the period was final. A cut to come shows it.
                        continue
                    carried = span.layer_of(None).cell(cell.filter_id, cell.groups)
                    carry(cell, carried)
                    partition.snapshot.mark(carried)
                elif span.fold.unique and not self._is_empty(cell, waited_for):
                    continue
                partition.snapshot.delete(layer.cells.pop((cell.filter_id, cell.groups)))
                if id(layer) not in nowhere:
                    nowhere[id(layer)] = Layer.of(span.emptied(), layer.period, layer.first_shown)
                cell.layer = nowhere[id(layer)]
                count += 1
                if not layer.cells:
                    del span.layers[layer.start_ms]
                    span.current = None
            partition.work.add("close", "cells", count)
            yield
        yield

    def _is_empty(self, cell: Cell, waited_for: Container[SetKey]) -> bool:
        """Return whether a cell has no members any more; if it may have some, they are to go."""
        span = cell.layer.span
        start_ms = None if span.fold.metric.recurring else cell.layer.start_ms
        set_name = (cell.filter_id, cell.groups, start_ms)
        if not self._has_left(span.name, span.set_named(set_name), waited_for):
            return False
        span.sets.pop(set_name, None)
        return True

    def _has_left(
        self, name: SubscriptionKey, members: SetKey, waited_for: Container[SetKey]
    ) -> bool:
        """Return whether a set of members left before, and is empty; if not it is to leave."""
        leaving = self._partition.members
        if members in waited_for and members not in leaving.leaving:
            return True
        leaving.leave([members])
        self._waiting.setdefault(name, set()).add(members)
        return False


def is_at_rest(partition: Partition, name: SubscriptionKey) -> bool:
    """Return whether no correction, definition or refold of an external subscription is to come.

    Events may wait for a cut: of a final period they have states of their own.
    """
    return not (
        partition.refolding(*name)
        or partition.standing.changes
        or partition.history.revises(name)
        or not partition.corrections.followed.are_shown(name, partition.cuts.settled_ms)
    )


def _keeping_rows_left(partition: Partition, meter_key: MeterKey) -> Steps[None]:
    """Have rows kept of forgotten periods whose cells an earlier program left for them.

    It did so of a charge that recurs and is paid in advance, beside another one of its metric.
    """
    route = partition.packing.route_at_hand(meter_key)
    if route is not None and any(
        layer.cells and layer.period is not None and is_forgotten(layer)
        for span in route.spans
        if isinstance(span.fold, BreakdownFold) and not span.fold.by_day
        for layer in span.layers.values()
    ):
        yield from keeping_all_rows(partition, route, -1)


def _noting_final(partition: Partition, meter_key: MeterKey) -> Steps[None]:
    """Note that a meter key does without the cells of its final periods, if it does."""
    known_ms = partition.event_ranges.forgotten_ms(meter_key[:2], meter_key[2])
    if (found := _final_in(partition, meter_key)) is None:
        return
    yield from keeping_all_rows(partition, found.route, known_ms)
    # Between two steps somebody may have come.
    found = _final_in(partition, meter_key) if is_at_rest(partition, meter_key[:2]) else None
    if (
        found is not None
        and all(is_told(partition, *each) for each in found.layers)
        and _is_in_order(partition, found.layers)
        and not any(shows_before(partition, span, known_ms) for span in found.route.spans)
    ):
        partition.checkpoint.fold_version = FORGETTING_VERSION
        final_ms = [known_ms, *(period.final_ms for _, _, period in found.layers)]
        final_ms += [each.final_ms for each in found.over]
        partition.event_ranges.note_forgotten(meter_key, max(final_ms))
        partition.routes.lead_by(found.route)


class _FinalCells(NamedTuple):
    """What of a meter key is final."""

    route: Route
    layers: list[tuple[Span, Layer, Period]]
    over: list[_Over]


def _final_in(partition: Partition, meter_key: MeterKey) -> _FinalCells | None:
    """Return what of a meter key may go, if records tell it; None: nothing may."""
    stale, route = partition.stale, partition.packing.route_at_hand(meter_key)
    if route is None or meter_key in stale.displaced_keys | stale.orphaned_keys:
        return None
    settled_ms = partition.cuts.settled_ms
    final = [
        (span, layer, period)
        for span, layer, period in _layers_of(route)
        if period.final_ms <= settled_ms and not is_forgotten(layer)
    ]
    over = _over(route, settled_ms)
    layers = [layer for _, layer, _ in final]
    layers += [each.span.layers[BEFORE] for each in over if BEFORE in each.span.layers]
    if not any(layer.cells for layer in layers):
        return None
    periods = [(span, period) for span, _, period in final]
    periods += [(each.span, each.last) for each in over]
    if any(_gone_ms(partition, span, period) > settled_ms for span, period in periods):
        return None
    if sum(len(layer.cells) for layer in layers) > MOST_CELLS:
        return None
    if any(map(_is_limited, {id(layer.limits): layer for layer in layers}.values())):
        return None
    return _FinalCells(route, final, over)


class _Over(NamedTuple):
    """A span of what recurs that has no period to come."""

    span: Span
    last: Period
    final_ms: int
    """When all of its periods are final."""


def _over(route: Route, settled_ms: int) -> list[_Over]:
    """Return the spans of what recurs whose periods are all final."""
    found = list[_Over]()
    for span in route.spans:
        fold = span.fold
        last = last_period(span) if fold.metric.recurring and fold.forgets else None
        if last is None or not span.timeline.published:
            continue
        final_ms = all_final_ms(span, last, settled_ms)
        if final_ms <= settled_ms:
            found.append(_Over(span, last, final_ms))
    return found


def _gone_ms(partition: Partition, span: Span, period: Period) -> int:
    settled_ms = partition.cuts.settled_ms
    return gone_ms(partition.definitions, period, settled_ms, by_day=span.fold.by_day)


def _is_in_order(partition: Partition, final: Iterable[tuple[Span, Layer, Period]]) -> bool:
    """Return whether nothing may change any more before what is carried on of recurring metrics.

    A period may be final before an earlier one, if settings or a termination made its wait shorter.
    """
    open_ms: dict[SpanKey, int] = {}
    for span, _, period in final:
        if not span.fold.metric.recurring:
            continue
        if span.key not in open_ms:
            open_ms[span.key] = _open_from(partition, span)
        if period.start_ms >= open_ms[span.key]:
            return False
    return True


def _open_from(partition: Partition, span: Span) -> int:
    """Return when the first period of a span begins that is not final; NEVER_MS: all are.

    Those of version 1 never are, with or without events, and they are the first of their span:
    what is dated before one changes it at any age.
    """
    first = span.timeline.holding(span.key.start_ms)
    if first is not None and first.carries_until_ms >= NEVER_MS:
        return first.start_ms
    settled_ms = partition.cuts.settled_ms
    # The others were due before, and their wait is over.
    for period in span.timeline.due_after(settled_ms - span.timeline.open_for_ms):
        if period.start_ms >= span.key.start_ms and period.final_ms > settled_ms:
            return period.start_ms
    return NEVER_MS


def _layers_of(route: Route) -> Iterable[tuple[Span, Layer, Period]]:
    """Return the layers of published periods whose cells may ever be forgotten."""
    return [
        (span, layer, layer.period)
        for span in route.spans
        if span.fold.forgets and span.timeline.published
        for layer in span.layers.values()
        if layer.period is not None
    ]


def _is_limited(layer: Layer) -> bool:
    """Return whether groups may be refused: which have a place only the cells tell."""
    limits = layer.limits
    names = {name for each in layer.limited_layers() for name in each.cells}
    return limits.group_limit is not None or len(names) >= limits.max_groups


def _forgotten_cells(spans: Iterable[Span], over: Container[SpanKey]) -> list[Cell]:
    """Return the cells of spans that are forgotten and still there; `over`: all of these are."""
    return [
        cell
        for span in spans
        if span.fold.forgets and span.timeline.published
        for layer in span.layers.values()
        if span.key in over or (layer.period is not None and is_forgotten(layer))
        for cell in layer.cells.values()
    ]


def _next_final_ms(partition: Partition, name: SubscriptionKey) -> int:
    """Return when the next cells may go of the periods that were due; NEVER_MS: none are left."""
    settled_ms, done_ms = partition.cuts.settled_ms, partition.checkpoint.cut_ms
    codes = partition.event_ranges.codes_of(name)
    routes = (partition.packing.route_at_hand((*name, code)) for code in codes)
    times = (
        _gone_ms(partition, span, period)
        for route in routes
        if route is not None
        for span, _, period in _layers_of(route)
        if period.due_at_ms <= done_ms
    )
    return min((gone_ms for gone_ms in times if gone_ms > settled_ms), default=NEVER_MS)
