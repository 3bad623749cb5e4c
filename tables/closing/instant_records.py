"""Records of what was decided of single events."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from app.bounds.at_hand import keep
from app.definitions.model import Charge, Metric, Plan, Subscription
from app.definitions.periods import Period
from app.numbers import EXACT, ZERO, group_text, plain
from app.wire.arrivals import Arrival, Position
from app.wire.events import Event
from app.wire.instant_records import BilledEvent, InstantText, instant_record
from app.wire.properties import read_properties
from app.wire.usage_records import Envelope, PublishedRecord, RecordedCell, envelope_of, groups_text
from tables.cells.cell import Span
from tables.cells.figures import window_of
from tables.changelogged.instants import StoredChain, StoredFigure
from tables.closing.beside import spans_named, told_of
from tables.instants.chain import Figure
from tables.partition.partition import Partition
from tables.routing.period_charges import PeriodCharges

CELLS_AT_HAND = 10_000
"""A cut keeps what is the same for all events of a cell, for so many cells at most."""


class FigureChange(NamedTuple):
    """The figure of an event in a cell, as a step leaves it."""

    stored: StoredFigure
    previous: StoredFigure | None
    figure: Figure
    chain: StoredChain
    arrival: Arrival | None
    """The event, None where it was taken out."""
    span: Span | None
    """The charge that it counts in; None where it was taken out."""
    period: Period | None
    at: Position
    """Position of the event."""


class _Cell(NamedTuple):
    """A cell at the cut, for the records of its events."""

    recorded: RecordedCell
    balance: Decimal
    presentation_keys: Sequence[str]


class InstantRecords:
    """Makes the records of one cut."""

    def __init__(self, partition: Partition, cut_ms: int):
        self._partition = partition
        self._cut_ms = cut_ms
        self._envelopes: dict[tuple[str, int], Envelope] = {}
        self._cells: dict[str, _Cell] = {}
        """Cells that events were taken into, by their ids."""

    def record(self, change: FigureChange) -> PublishedRecord:
        """Return the record of one figure."""
        chain, stored, figure = change.chain, change.stored, change.figure
        cell = self._cell_of(change)
        after = EXACT.add(cell.balance, chain.peak)
        event = None if change.arrival is None else change.arrival.event
        precise = None if event is None else event.precise_total_amount_cents
        text = InstantText(
            plain(figure.units),
            None if stored.prorated_units is None else plain(stored.prorated_units),
            plain(figure.applied_units),
            plain(EXACT.subtract(after, figure.units)),
            plain(after),
            plain(chain.current),
            plain(chain.peak),
            None if precise is None else plain(precise),
            stored.counts,
        )
        before = None if change.previous is None else change.previous.units
        return instant_record(
            cell.recorded,
            stored.revision,
            BilledEvent(
                stored.transaction_id,
                stored.timestamp_ms,
                change.at,
                _presentation_by(cell.presentation_keys, event),
            ),
            text,
            None if before is None else plain(before),
            None if before is None else plain(EXACT.subtract(figure.units, before)),
        )

    def _cell_of(self, change: FigureChange) -> _Cell:
        """Return the cell of a figure, as the cut has it for all events that it takes in."""
        identity = change.stored.cell_id
        if change.span is None:
            # What was taken out is named as it was when it was taken in.
            return self._make_cell(change)
        cell = self._cells.get(identity)
        if cell is None:
            cell = keep(self._cells, identity, self._make_cell(change), CELLS_AT_HAND)
        return cell

    def _make_cell(self, change: FigureChange) -> _Cell:
        chain = change.chain
        subscription = subscription_at(self._partition, chain.subscription_id, self._cut_ms)
        period = change.period or self._period_of(subscription, change)
        charge, metric = self._charge_of(subscription, period, change)
        bucket = told_of(charge, metric).filter(chain.filter_id)
        envelope = self._envelope(subscription, period)
        echo, groups = envelope.echo_of(charge, metric, bucket), groups_text(chain.grouped_by)
        return _Cell(
            RecordedCell(envelope, change.stored.cell_id, echo, groups),
            self._balance(subscription, chain, metric, period),
            charge.presentation_keys(bucket),
        )

    def _envelope(self, subscription: Subscription, period: Period) -> Envelope:
        envelope = self._envelopes.get((subscription.id, period.start_ms))
        if envelope is None:
            definitions = self._partition.definitions
            plan = self._plan_of(subscription, self._cut_ms)
            offset = definitions.last_offset_at(self._cut_ms)
            envelope = envelope_of(subscription, plan, period, self._cut_ms, offset, 2)
            self._envelopes[subscription.id, period.start_ms] = envelope
        return envelope

    def _charge_of(
        self, subscription: Subscription, period: Period, change: FigureChange
    ) -> tuple[Charge, Metric]:
        """Return charge and metric as they were then, or in a period that is due as it has them.

        Of a figure that is taken out, as it had them. A span keeps what is called otherwise since.
        """
        decided_ms = self._cut_ms if change.previous is None else change.previous.decided_ms
        at_ms = self._cut_ms if change.span is not None else decided_ms
        at_ms = min(at_ms, period.fixed_at_ms)
        plan = self._plan_of(subscription, at_ms)
        for charge in plan.charges:
            if charge.id == change.chain.charge_id:
                versions = self._partition.definitions.metric_versions[charge.metric_id]
                metric = versions.last_before_deletion(at_ms)
                if metric is not None:
                    return charge, metric
        # A history record put it in force for a period that is due.
        if change.span is not None:
            return change.span.fold.charge, change.span.fold.metric
        definitions = self._partition.definitions
        history = definitions.history_of(subscription.organization_id, decided_ms)
        plans = definitions.plan_of(subscription.id)
        known = PeriodCharges(definitions, plans, period, history).last(change.chain.charge_id)
        if known is None:
            raise LookupError(f"charge {change.chain.charge_id} is not known at {decided_ms}")
        return known.charge, known.metric

    def _plan_of(self, subscription: Subscription, at_ms: int | None) -> Plan:
        versions = self._partition.definitions.plan_of(subscription.id)
        plan = versions.last_before_deletion(at_ms)
        if plan is None:
            raise LookupError(f"plan {subscription.plan_id} is not known at {at_ms}")
        return plan

    def _period_of(self, subscription: Subscription, change: FigureChange) -> Period:
        """Return the period of a cell; one that is no more as it was for the figure before."""
        name = (subscription.organization_id, subscription.external_id)
        start_ms, before = change.chain.start_ms, change.previous
        decided_ms = self._cut_ms if before is None else before.decided_ms
        held: Period | None = None
        for until_ms in (self._cut_ms, decided_ms):
            for versions, timeline in self._partition.timelines.of(name, until_ms):
                newest, period = versions.at(), timeline.holding(start_ms)
                if newest is None or newest.id != subscription.id or period is None:
                    continue
                if period.start_ms == start_ms:
                    return period
                held = held or period
        if held is None:
            raise LookupError(f"subscription {subscription.id} has no period at {start_ms}")
        return held

    def _balance(
        self, subscription: Subscription, chain: StoredChain, metric: Metric, period: Period
    ) -> Decimal:
        """Return what a cell carries into its period, as of the cut; 0 unless it recurs."""
        if not metric.recurring:
            return ZERO
        name = (subscription.organization_id, subscription.external_id)
        groups = tuple(text for _, text in chain.grouped_by)
        spans = self._partition.packing.route_of((*name, metric.code)).spans
        for span in spans_named(spans, chain.subscription_id, chain.charge_id, period):
            _, before = span.states(period, chain.filter_id, groups, self._cut_ms)
            aggregation = span.fold.aggregation
            nothing = aggregation.initialize()
            return aggregation.result(nothing, before, window_of(period)).full_units
        return ZERO


def _presentation_by(keys: Sequence[str], event: Event | None) -> dict[str, str | None] | None:
    """Return what an event is presented by; None where nothing presents it."""
    if not keys or event is None:
        return None
    properties = read_properties(event.properties)
    raws = {key: properties.get(key) for key in keys}
    return {key: None if raw is None else group_text(raw) for key, raw in raws.items()}


def subscription_at(partition: Partition, subscription_id: str, at_ms: int | None) -> Subscription:
    """Return a subscription as it was at a moment; None: as it is."""
    found = partition.definitions.subscription_by_id(subscription_id, at_ms)
    if found is None:
        raise LookupError(f"subscription {subscription_id} is not known at {at_ms}")
    return found
