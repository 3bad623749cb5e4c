"""Usage regrouped all at once, from all that a partition was shown."""

from __future__ import annotations

from collections.abc import Iterable

from app.bounds.turns import drained
from app.meter.usage import PeriodUsage, Regrouping
from tables.partition.partition import Partition
from tables.reading.regrouping import Regrouped
from tables.reading.tracing import TracedArrival


def merged(partition: Partition, usage: PeriodUsage, wanted: Regrouping, at_ms: int) -> Regrouped:
    """Return what the cells tell; `to_read` says whether they tell all."""
    regrouped = Regrouped(partition, usage, wanted, at_ms)
    drained(regrouped.merging())
    return regrouped


def answered(regrouped: Regrouped, traced: Iterable[TracedArrival]) -> PeriodUsage:
    """Return the usage, once everything was shown."""
    shown = list(traced)
    for each in shown:
        regrouped.note(each)
    drained(regrouped.admitting())
    for each in shown:
        if each.counted is not None:
            regrouped.feed(each.counted)
    return drained(regrouped.usage())
