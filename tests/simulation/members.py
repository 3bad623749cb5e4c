"""Members of unique counts that a seed left, to be compared to those of the offline fold."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import partial
from typing import cast

from app.definitions.periods import NEVER_MS
from app.definitions.timeline import Timeline
from app.wire.arrivals import SubscriptionKey
from tables.cells.cell import Span
from tables.cells.forgotten import is_over
from tables.cells.keys import SpanKey, SpanSetKey
from tables.changelogged.members import MemberKey, SetKey
from tables.changelogged.operations import Row, row_of
from tables.partition.partition import Partition
from tables.unique_count import BEFORE, Member, UniqueCount, since_last

Members = dict[tuple[SpanKey, SpanSetKey, str], tuple[Member, list[Row]]]
"""Each with all its operations if it is paid in advance, by span, set and property text."""


Forgotten = dict[SpanKey, int]
"""Until when periods are forgotten, by span; -1: none are; NEVER_MS: all, and none is to come."""


def members_of(
    partition: Partition,
    name: SubscriptionKey,
    kept: Mapping[MemberKey, Member],
    settled_ms: int,
    forgotten: Mapping[SpanKey, int],
) -> Members:
    """Those of `kept` that are of a set of the subscription, and not of a forgotten period."""
    found: dict[SetKey, tuple[Span, SpanSetKey]] = {}
    for code in partition.event_ranges.codes_of(name):
        for span in partition.packing.route_of((*name, code)).spans:
            if span.fold.unique:
                found.update((key, (span, known)) for known, key in span.all_sets().items())
    members: Members = {}
    for (key, text), member in kept.items():
        if key in found and member:
            span, known = found[key]
            period = None if known[2] is None else span.timeline.holding(known[2])
            forgotten_ms = forgotten.get(span.key, -1) if span.fold.forgets else -1
            final_ms = NEVER_MS if period is None else period.final_ms
            if final_ms <= forgotten_ms:
                continue
            aggregation, rows = cast(UniqueCount, span.fold.aggregation), list[Row]()
            if span.fold.in_advance:
                apart = partition.members.operations.of_set(key).get(text)
                rows = sorted(map(row_of, member)) if apart is None else apart
                member = aggregation.reduced(member)
            member = aggregation.settled(member, settled_ms)
            if known[2] is None and not span.fold.in_advance:
                member = since_last(member, partial(_is_past, span.timeline, forgotten_ms))
            members[span.key, known, text] = member, rows
    return members


def _is_past(timeline: Timeline, forgotten_ms: int, start_ms: int) -> bool:
    period = timeline.holding(start_ms)
    return forgotten_ms >= 0 and (
        start_ms == BEFORE or (period is not None and period.final_ms <= forgotten_ms)
    )


def forgotten_of(partition: Partition, name: SubscriptionKey) -> Forgotten:
    """What a live partition has forgotten of a subscription."""
    codes = partition.event_ranges.codes_of(name)
    routes = (partition.packing.route_of((*name, code)) for code in codes)
    return {
        span.key: NEVER_MS if span.fold.metric.recurring and is_over(span) else span.forgotten_ms
        for route in routes
        for span in route.spans
    }


class Everything(Container[SetKey]):
    def __contains__(self, key: object) -> bool:
        return True
