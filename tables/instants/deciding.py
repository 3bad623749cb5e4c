"""Deciding: what one event bills in one cell of a charge paid in advance."""

from __future__ import annotations

from typing import NamedTuple

from app.definitions.periods import Period
from app.wire.arrivals import Arrival, Position
from tables.aggregation import Groups
from tables.cells.cell import Layer, Span
from tables.cells.figures import window_of
from tables.changelogged.members import MemberKey, Members
from tables.fold import set_of
from tables.instants.chain import Chain, Figure, bill, prorated, take_in
from tables.instants.sweep import Sweep
from tables.values import Ignored, Value, read_of


class CountedInstant(NamedTuple):
    """An event that counts in a cell of a charge paid in advance."""

    arrival: Arrival
    layer: Layer
    period: Period
    filter_id: str | None
    groups: Groups
    value: Value

    def member(self, members: Members) -> MemberKey | None:
        """Return what has to be at hand to decide it; None: nothing has."""
        if not self.layer.span.fold.unique:
            return None
        return set_of(self.layer, self.filter_id, self.groups, members), self.value.text


def counted_in(
    span: Span, arrival: Arrival, blank_after_ms: int, *, groups_known: bool = True
) -> CountedInstant | None:
    """Return where an event counts in a span; None: it bills nothing there, or no period holds it.

    `blank_after_ms`: append time after which an empty text is for the record alone, as in Lago.
    `groups_known`: the span has a cell for each group that is admitted.
    """
    fold, timestamp_ms = span.fold, arrival.timestamp_ms
    layer = span.layer_at(timestamp_ms)
    if layer is None or layer.period is None or arrival.append_time_ms <= fold.counts_after_ms:
        return None
    read = read_of(arrival)
    value = fold.read_value(*read)
    if isinstance(value, Ignored):
        return None
    if fold.unique and not value.text and arrival.append_time_ms > blank_after_ms:
        return None
    name = fold.place_of(*read)
    if name is None or (name[1] and groups_known and name not in layer.cells):
        return None
    return CountedInstant(arrival, layer, layer.period, *name, value)


def decided(
    counted: CountedInstant, chain: Chain, sweep: Sweep, known: Position | None = None
) -> tuple[Chain, Figure]:
    """Take an event into the chain of its cell; return the chain after it and its figure.

    `known`: position of the correction that the event comes with, if one made it so later.
    """
    fold, value, arrival = counted.layer.span.fold, counted.value, counted.arrival
    active, member = False, counted.member(sweep.members)
    if member is not None:
        place = arrival.position
        active = sweep.was_active(member, arrival.timestamp_ms, place, known or place)
    part = fold.aggregation.part(value.number, adds=value.adds, active=active)
    chain, figure = take_in(chain, part, counts_values=fold.unique)
    if fold.charge.prorated:
        figure = prorated(figure, arrival.timestamp_ms, window_of(counted.period))
    return bill(chain, figure), figure
