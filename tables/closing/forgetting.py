"""Forgetting: cells of periods that no event changes any more go, once nothing asks for them.

What is published of such a period is in the published table. A correction or a history record that
reaches back refolds the meter key, which brings all its cells back until they are forgotten again.
"""

from __future__ import annotations

from app.definitions.per_event import asks
from app.definitions.timeline import NEVER_MS, Period
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.cells.cell import Layer, Span
from tables.partition.partition import Partition


def forget(partition: Partition, name: SubscriptionKey) -> bool:
    """Forget the cells of final periods of an external subscription; return whether any went.

    Nothing goes while a correction, a definition or a refold of it is under way.
    """
    if not _is_at_rest(partition, name):
        return False
    forgot = False
    for code in list(partition.event_ranges.codes.get(name, ())):
        forgot = _forget((*name, code), partition) or forgot
    return forgot


def _is_at_rest(partition: Partition, name: SubscriptionKey) -> bool:
    return not (
        partition.refolding(*name)
        or partition.standing.changes
        or partition.cuts.late_cuts.get(name)
        or name in partition.corrected.names()
        or partition.corrections.followed_of(name)
    )


def _forget(meter_key: MeterKey, partition: Partition) -> bool:
    stale, route = partition.stale, partition.routes.find(meter_key)
    if route is None or meter_key in stale.displaced_keys or meter_key in stale.orphaned_keys:
        return False
    settled_ms = partition.cuts.settled_ms
    final = [
        (span, layer, period)
        for span in route.spans
        if span.fold.forgets and span.timeline.published
        for layer in span.layers.values()
        if (period := layer.period) is not None and period.final_ms <= settled_ms
    ]
    if not any(layer.cells for _, layer, _ in final):
        return False
    if not all(_is_told(partition, *each) for each in final):
        return False
    forgotten_ms = partition.event_ranges.forgotten_ms(meter_key)
    for span, layer, _ in final:
        for cell in layer.cells.values():
            partition.snapshot.delete(cell)
            partition.work.add("close", "cells", 1)
        del span.layers[layer.start_ms]
        span.current = None
    forgotten_ms = max(forgotten_ms, *(period.final_ms for _, _, period in final))
    partition.event_ranges.note_forgotten(meter_key, forgotten_ms)
    partition.routes.lead_by(route)
    return True


def _is_told(partition: Partition, span: Span, layer: Layer, period: Period) -> bool:
    """Return whether the records of a period say all that anybody may ask of its cells."""
    if period.due_at_ms >= NEVER_MS or layer.group_limit is not None:
        return False
    if len(layer.cells) >= layer.max_groups:
        # Which groups have a place only the cells tell.
        return False
    if any(cell.late or cell.dirty for cell in layer.cells.values()):
        return False
    published = partition.published.find((span.key.subscription_id, period.start_ms))
    return published is not None and published.revision >= 0 and _is_plain(partition, span, period)


def _is_plain(partition: Partition, span: Span, period: Period) -> bool:
    """Return whether a charge says nothing besides its figures, as it stood in the period."""
    definitions, subscription_id = partition.definitions, span.key.subscription_id
    subscription = definitions.subscription_by_id(subscription_id, period.fixed_at_ms)
    if subscription is None:
        return False
    charges = partition.routes.charges_of(subscription, period)
    return not any(
        charge.presents or asks(charge, metric)
        for charge, metric, *_ in charges.in_force
        if charge.id == span.key.charge_id
    )
