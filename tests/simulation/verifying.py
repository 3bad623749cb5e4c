"""The program's own verification of what a seed left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import chain

from app.wire.arrivals import Arrival, SubscriptionKey
from tables.partition.partition import Partition
from tables.reading.verification import Verification
from tests.world.begun import begun
from tests.world.verified import rounds


def verified(
    partition: Partition, arrivals: Iterable[Arrival], parked: Collection[SubscriptionKey] = ()
) -> Iterator[str]:
    """What the program's own verification finds of those at home here; nothing, if all is well.

    `parked`: whose figures stand as they are.
    """
    arrivals = list(arrivals)
    for recent in (False, True):
        found = []
        first = begun(Verification(partition, partition.event_ranges.codes, recent=recent))
        for job in rounds(first, arrivals, strangers=True):
            found += job.lost
            for compared in filter(None, job.compare()):
                if compared.meter_key[:2] in parked:
                    continue
                if compared.skipped:
                    yield f"verification of {compared.meter_key} is skipped, and nothing goes on"
                found += compared.differences
            published = chain.from_iterable(filter(None, job.compare_published()))
            of_parked = {external_id for _, external_id in parked}
            found += [each for each in published if each.external_subscription_id not in of_parked]
        for difference in found:
            yield f"verification{' of a sample' if recent else ''}: {difference}"
