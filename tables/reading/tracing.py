"""Tracing: what became of one event, and why. Pure.

A tracer folds events into empty cells of its own, one span at a time, and looks at what happened.
It uses the very fold that live events go through, so its answers cannot differ from what is
counted. Its cells are a recomputation of the figures from the events it was shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from msgspec.structs import replace

from app.expressions import NO_BUDGET, EvaluationFailed, parse
from app.wire.arrivals import Arrival, MeterKey
from app.wire.identity import event_body_hash
from app.wire.refusals import check_range
from tables.cells.cell import Layer, Span
from tables.changelogged.members import Members
from tables.event_index.entries import Entry
from tables.fold import Folded, apply_members, fold_run
from tables.not_counted import Reason
from tables.partition.intake import WaitForDefinitions
from tables.partition.partition import Partition
from tables.routing.group_admission import impose_live
from tables.routing.route import Route
from tables.values import Ignored, read_of

NOTHING_SETTLED_MS = -1
"""Every cut is kept apart, so that figures can be asked for as of any of them."""

Standing = Literal["taken", "duplicate", "refused", "cancelled", "lost"]


class TracedArrival(NamedTuple):
    """What the partition did with one arrival; metrics are asked only about a taken one."""

    standing: Standing
    """lost: it should be in the event index and is not."""
    reason: str | None = None
    """refused: the dead letter code."""
    counted: Arrival | None = None
    """taken: the arrival with the position the log gave it, as amended."""
    came: Arrival | None = None
    """cancelled: the same as it came. It keeps the place of its group."""
    corrected_ms: int = -1
    """taken: append time of the correction that amended it; -1: none did."""
    winner: Entry | None = None
    """duplicate: the arrival of the same id that counts."""
    same_bytes: bool = False
    """duplicate: byte for byte the same event; otherwise the bodies have to be compared."""


class Traced(NamedTuple):
    """What one charge made of one event."""

    span: Span
    layer: Layer
    """The period that the event falls in, or the history of a recurring metric."""
    reason: str | None
    """Why it is ignored, in words if the expression failed; None: it counts."""
    filter_id: str | None = None
    groups: tuple[str | None, ...] = ()
    value: str = ""
    """Value as the digest names it; "" for a count, and of what is ignored."""
    cut_ms: int = 0
    """The first cut it counts at; 0: that of the period's due time."""


def verdict(partition: Partition, arrival: Arrival) -> TracedArrival:
    """Return what the partition did with an arrival that it has folded past."""
    identity = arrival.identity
    entry = partition.index.find(identity)
    if entry is not None and entry[1:4] == arrival.place[:3]:
        placed = replace(arrival, append_time_ms=entry[0], rekeyed_offset=entry.rekeyed_offset)
        # As it came, as a refold judges it: what a correction makes of it is never too late.
        code = _too_late(partition, placed)
        if code is not None:
            return TracedArrival("refused", code)
        counted = partition.corrected.counted(identity, placed)
        if counted is None:
            return TracedArrival("cancelled", came=placed)
        return TracedArrival("taken", counted=counted.arrival, corrected_ms=counted.since_ms)
    code = check_range(arrival.timestamp_ms, arrival.append_time_ms)
    if code is None:
        # A refusal is final, also if a subscription that begins later takes the period's place.
        code = _too_late(partition, arrival) or _too_late(
            partition, arrival, arrival.append_time_ms
        )
    if code is not None:
        return TracedArrival("refused", code)
    if entry is None or is_before(arrival, entry):
        return TracedArrival("lost")
    same = entry.body_hash == event_body_hash(arrival.event)
    return TracedArrival("duplicate", winner=entry, same_bytes=same)


def is_before(arrival: Arrival, entry: Entry) -> bool:
    """Return True if an arrival that was read again lies before the indexed one.

    Offsets decide within a partition: a read that begins later may show smaller append times.
    """
    if arrival.raw_partition == entry.raw_partition:
        return arrival.place[1:3] < entry[2:4]
    return arrival.position < entry[:4]


def _too_late(partition: Partition, arrival: Arrival, until_ms: int | None = None) -> str | None:
    try:
        return partition.intake.too_late(arrival, arrival.timestamp_ms, until_ms)
    except WaitForDefinitions:
        # The live fold waits here, so it has not refused it.
        return None


class Tracer:
    """Events of one meter key, folded into cells of its own."""

    def __init__(self, partition: Partition, meter_key: MeterKey):
        self.meter_key = meter_key
        self.route = partition.routes.compile(meter_key).priced()
        self.partition = partition
        # Shown one event or some, in any order: who is admitted is known already.
        impose_live(partition.views.route_of(meter_key), self.route)
        self._members = Members(capacity=None)
        self._alone = [
            Route(*meter_key, self.route.timelines, (span,)) for span in self.route.spans
        ]

    def trace(self, counted: Arrival, corrected_ms: int = -1) -> list[Traced]:
        """Fold an arrival that is taken; what each charge whose period holds it made of it."""
        return [
            traced
            for route in self._alone
            for traced in _fold_alone(route, counted, corrected_ms, self._members)
        ]

    def unrouted(self, counted: Arrival) -> str:
        """Return why no charge was asked about an event."""
        return self.partition.unrouted(self.route, counted)


def _fold_alone(
    route: Route, counted: Arrival, corrected_ms: int, members: Members
) -> Iterator[Traced]:
    (span,) = route.spans
    timestamp_ms = counted.timestamp_ms
    layer = span.layer_at(timestamp_ms)
    if layer is None:
        return
    folded = Folded()
    fold_run(route, (counted,), NOTHING_SETTLED_MS, members, folded, corrected_ms)
    for reason in folded.ignored:
        yield Traced(span, layer, _worded(reason, span, counted))
    # The first cell is the event's own; members may change those of other periods after it.
    reached = folded.dirty[:1]
    apply_members(folded.unique, members, NOTHING_SETTLED_MS, folded)
    for cell in folded.dirty:
        cell.dirty = False
    for cell in reached:
        yield Traced(
            span,
            layer,
            None,
            cell.filter_id,
            cell.groups,
            _value_text(span, counted),
            _first_cut(span, layer, max(counted.append_time_ms, corrected_ms)),
        )


def _first_cut(span: Span, layer: Layer, append_time_ms: int) -> int:
    """Return the first cut that shows an event; 0: that of the period's due time."""
    cut_ms = span.cut_of(layer, append_time_ms)
    if cut_ms <= layer.due_at_ms:
        return 0
    for period in span.timeline.due_after(append_time_ms - 1):
        if period.start_ms > append_time_ms:
            break
        if period.due_at_ms == cut_ms:
            return cut_ms
    # It is a revision, or comes before one: a period was open until then.
    return layer.revision_of(cut_ms)


def _worded(reason: Reason, span: Span, counted: Arrival) -> str:
    """Return the reason; of a failed expression why it failed, which no count tells apart."""
    expression = span.fold.metric.expression
    if reason != "expression_failed" or not expression:
        return reason
    code, timestamp_ms, properties, _ = read_of(counted)
    try:
        # It failed within its budget.
        parse(expression).evaluate(code, timestamp_ms, properties, NO_BUDGET)
    except EvaluationFailed as error:
        return str(error)
    raise AssertionError("an expression that failed fails again")


def _value_text(span: Span, counted: Arrival) -> str:
    value = span.fold.read_value(*read_of(counted))
    if isinstance(value, Ignored):
        raise AssertionError("an event that was folded has a value")
    return value.digest_text
