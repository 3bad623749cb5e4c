"""Cells of a period that ends, shown from the bytes they are packed in.

Most cells of a large worker wait, packed, for the end of their period, which changes none of them.
Making routes, spans and cells of them takes more than all else that the cut does. Where records say
more than figures, or nobody else has the same periods, routes tell them (`PeriodAtCut.closings`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.definitions.model import ChargeFilter
from app.definitions.periods import Period
from app.definitions.terms import Shared
from app.definitions.timeline import Timeline
from app.wire.arrivals import SubscriptionKey
from tables.aggregation import State, Window
from tables.cells.figures import figures_of, window_of
from tables.changelogged.packed_rows import CellHere, Place
from tables.charge import ChargeFold
from tables.closing.beside import told_of
from tables.closing.period_before import PeriodBefore
from tables.closing.revision import CellsAlike, Closing, ClosingCell
from tables.partition.filling import decode_cell, states_of
from tables.partition.route_table import RouteTable
from tables.routing.period_charges import PeriodCharge, PeriodCharges


class Shown(NamedTuple):
    """A charge of a period as its packed cells show it, to all who share the period."""

    period_charge: PeriodCharge
    fold: ChargeFold
    default_keys: tuple[str, ...]
    filters: Mapping[str, ChargeFilter]
    by_routes: bool
    """Whether routes tell its cells."""
    span_start_ms: int
    """Start of the span that holds the period, of one that recurs."""


def shown_of(
    routes: RouteTable,
    name: SubscriptionKey,
    charges: PeriodCharges,
    period: Period,
    timeline: Timeline | None,
) -> dict[str, Shown]:
    """Return the charges of a period by id; `timeline`: what all have who share it; None: alone."""
    shown: dict[str, Shown] = {}
    for each in charges.in_force:
        charge, metric, *_ = each
        fold = routes.fold_of(charge, metric, period.timezone)
        default_keys, has_more, filters = told_of(charge, metric)
        begin_ms: int | None = -1
        if metric.recurring:
            # Who has periods of his own may end, or be carried on by another.
            begin_ms = None
            if timeline is not None:
                begin_ms = routes.span_start_ms(name, fold, timeline, period)
        by_routes, start_ms = has_more or begin_ms is None, -1 if begin_ms is None else begin_ms
        shown[charge.id] = Shown(each, fold, default_keys, filters, by_routes, start_ms)
    return shown


def closings_of(
    alike: CellsAlike,
    period: Period,
    shown: Mapping[str, Shown],
    shared: Shared | None,
    cells: Iterable[CellHere],
    before: PeriodBefore,
) -> list[Closing] | None:
    """Return the cells of a period of which nothing is published yet; None: routes tell them.

    `shared`: what tells of its periods, if they are not its own. `cells`: all of the subscription.
    `before`: the period before.
    """
    now: dict[Place, State] = {}
    carried: dict[Place, State] = {}
    start_ms = period.start_ms
    for cell, value in cells:
        place = cell.place
        one = shown.get(place[0])
        if one is None:
            # It is shown with another, or of a charge that the period does not have.
            continue
        if one.by_routes:
            return None
        into = now
        if cell.layer_ms != start_ms:
            if cell.layer_ms > start_ms or not one.fold.metric.recurring:
                continue
            into = carried
        if one.fold.metric.recurring and shared is not None:
            begin_ms = shared.begin_ms(one.span_start_ms)
            if begin_ms is None or begin_ms < cell.span_start_ms:
                return None
            if begin_ms > cell.span_start_ms:
                # Of a span that has ended: those of this one show its events, too.
                continue
        aggregation = one.fold.aggregation
        states = states_of(decode_cell(value), aggregation)
        if states is None or (place in into and into is now):
            # It is of no span that there is.
            return None
        (_, state), *late = states
        for cut_ms, more in late:
            if cut_ms <= period.due_at_ms:
                aggregation.merge(state, more)
        if place in into:
            aggregation.merge(into[place], state)
        else:
            into[place] = state
    for charge, *_ in alike.charges.recurring:
        one = shown[charge.id]
        for filter_id, groups in before.closed(charge, one.filters):
            if one.by_routes:
                return None
            carried.setdefault((charge.id, filter_id, groups), one.fold.aggregation.initialize())
    closings: list[Closing] = []
    window = window_of(period)
    for place in now if not carried else {**now, **carried}:
        one, state = shown[place[0]], now.get(place)
        closing = _closing(alike, period, window, one, place, state, carried)
        if closing is None:
            return None
        closings.append(closing)
    return closings


def _closing(
    alike: CellsAlike,
    period: Period,
    window: Window,
    one: Shown,
    place: Place,
    state: State | None,
    carried: Mapping[Place, State],
) -> Closing | None:
    """Return a cell by what it has in a period and before; None: routes tell it."""
    cell, fold = alike.cells.get(place) or _cell(alike, one, place), one.fold
    if cell is None:
        return None
    before: State | None = None
    if fold.metric.recurring:
        before = carried.get(place) or fold.aggregation.initialize()
    figures = figures_of(fold, state or fold.aggregation.initialize(), before, window)
    if fold.charge.prorated and period.fold_version > 1:
        figures = figures.billed(in_advance=fold.in_advance)
    return Closing(cell, figures)


def _cell(alike: CellsAlike, one: Shown, place: Place) -> ClosingCell | None:
    """Return a cell of a charge; None: its filter is not there, or it has other groups."""
    charge_filter, keys = None, one.default_keys
    _, filter_id, groups = place
    if filter_id is not None:
        charge_filter = one.filters.get(filter_id)
        if charge_filter is None:
            return None
        keys = one.period_charge.charge.group_keys(charge_filter)
    if groups and len(groups) != len(keys):
        return None
    return alike.keep(place, alike.make(place, one.period_charge, charge_filter, keys))
