"""Shown last: what the last cut of a period past its late window made of recurring charges.

Later events are in the balance and not in the period (records-and-cuts §4). So its cells are folded
once more with the states of all cuts kept apart, and closed as of the cut that showed them last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from app.definitions.model import Plan
from app.definitions.periods import ceil_to
from app.wire.arrivals import Arrival, MeterKey
from app.wire.events import Event
from app.wire.usage_records import PublishedRecord, RevisionReason
from tables.changelogged.published_period import PublishedCell
from tables.closing.at_cut import AtCut
from tables.closing.billing import moved_by
from tables.closing.period_at_cut import PeriodAtCut
from tables.closing.revision import Closing
from tables.partition.partition import Partition
from tables.partition.revised import Counted, turned
from tables.routing.period_charges import PeriodCharge
from tables.routing.route import Route

Turned = Mapping[str, Sequence[Counted]]
"""By code, events before and after each of their corrections."""


def turned_by(partition: Partition, arrival: Arrival) -> Iterator[Counted]:
    """Yield an event before and after each correction that came after it."""
    if not partition.corrections.touches(arrival.name):
        return
    event: Event | None = arrival.event
    for stored in partition.corrections.history(arrival.identity):
        before, event = event, stored.event
        if stored.append_time_ms > arrival.append_time_ms:
            yield from turned(arrival, before, event, stored.append_time_ms)


class ShownLast(PeriodAtCut):
    """The recurring charges of a period that is open no more."""

    def __init__(self, at: AtCut, turned: Turned):
        """Take `turned`: all corrections of the external subscription that were shown."""
        super().__init__(at)
        self._turned = turned
        self._again = set[str]()

    def shown_until_ms(self, charge_id: str) -> int | None:
        """Return up to when appended events the period shows of a balance; None: it shows all."""
        known = self.charges.last(charge_id)
        if (
            known is None
            or self.partition.checkpoint.append_time_ms <= self.period.carries_until_ms
        ):
            return None
        return self._shown_until_ms(known)

    def _shown_until_ms(self, period_charge: PeriodCharge) -> int | None:
        """Return the cut that showed a charge last, or until when its period was open."""
        charge, metric, *_ = period_charge
        if not metric.recurring:
            return None
        self._again.add(charge.id)
        every_ms = self.period.revise_every_ms
        shown_ms = [ceil_to(at_ms, every_ms) for at_ms in self._recounted_at(period_charge)]
        return max([self.period.carries_until_ms, *shown_ms])

    def _recounted_at(self, period_charge: PeriodCharge) -> Iterator[int]:
        """Yield append times of history records and corrections that concern a charge."""
        yield from self.charges.named_at(period_charge.charge)
        for arrival, since_ms, _ in self._turned_of(period_charge):
            if arrival.timestamp_ms < self.period.end_ms:
                yield since_ms
        yield from self._moved_at(period_charge)

    def _moved_at(self, period_charge: PeriodCharge) -> Iterator[int]:
        """Yield append times of corrections of what a charge billed at once in the period."""
        charge, metric, *_ = period_charge
        wanted = (self.subscription.id, charge.id, self.period.start_ms)
        turned = self._turned.get(metric.code, ()) if charge.is_billed_at_once(metric) else ()
        for arrival, since_ms, _ in turned:
            for chain in moved_by(self.partition.instants, arrival.identity, since_ms):
                if (chain.subscription_id, chain.charge_id, chain.start_ms) == wanted:
                    yield since_ms

    def _turned_of(self, period_charge: PeriodCharge) -> Iterator[Counted]:
        """Yield events of a charge before and after their corrections."""
        charge, metric, *_ = period_charge
        fold = self.partition.routes.fold_of(charge, metric, self.period.timezone)
        for counted in self._turned.get(metric.code, ()):
            if counted.place_only and not fold.gives_places:
                continue
            if fold.cell_of_event(counted.arrival) is not None:
                yield counted

    def _gives_way(self, shown: Closing) -> bool:
        """Return whether a correction of a later period may have changed who is admitted.

        What the period showed of a group that lost or gained its place by that stays
        (records-and-cuts §7).
        """
        if not shown.cell.grouped_by:
            return False
        charge, metric, *_ = shown.cell.period_charge
        route = self.partition.packing.route_of((*self.name, metric.code))
        full = any(
            span.fold.limits_history
            and span.group_limit is not None
            and len(span.group_limit.firsts) >= span.max_groups
            for span in self._spans_of(charge, route)
        )
        return full and any(
            counted.arrival.timestamp_ms >= self.period.end_ms
            for counted in self._turned_of(shown.cell.period_charge)
        )

    def closings(
        self, route_of: Callable[[MeterKey], Route], codes: object = None
    ) -> Iterator[Closing | None]:
        """Yield the cells of recurring charges that are in force."""
        for found in super().closings(route_of):
            if found is None or found.cell.period_charge.charge.id in self._again:
                yield found

    def qualifies(self, closing: Closing) -> bool:
        """Return True for a published cell, and for one that should be whatever was before it."""
        return closing.figures.shows or closing.cell.name in self.before.cells

    def _reason(self, closing: Closing, known: PublishedCell) -> RevisionReason:
        return "late_events"

    def _revision(
        self,
        plan: Plan,
        identity: str,
        shown: Closing,
        known: PublishedCell | None,
        reason: RevisionReason | None,
    ) -> tuple[PublishedCell | None, PublishedRecord | None]:
        """Return what the figures should be; None when they are, whatever is said beside them."""
        entry, record = super()._revision(plan, identity, shown, known, reason)
        was_there = known is not None and bool(known.events_count or any(known.digest))
        one_sided = not was_there or not shown.figures.digest
        if entry is not None and one_sided and self._gives_way(shown):
            return None, None
        if known is not None and entry is not None:
            if known.same_but_billing(entry):
                return None, None
            if not (shown.figures.units or was_there):
                # It was there no more.
                return None, None
        return entry, record
