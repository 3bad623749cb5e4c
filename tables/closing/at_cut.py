"""What is closed: a period of a subscription at one cut."""

from __future__ import annotations

from typing import NamedTuple

from app.definitions.model import Plan, Subscription
from app.definitions.periods import Period
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import Envelope, envelope_of
from tables.partition.partition import Partition


class AtCut(NamedTuple):
    """A period of a subscription at one cut."""

    partition: Partition
    name: SubscriptionKey
    subscription: Subscription
    period: Period
    earlier: Period | None
    """The period before this one; None: there is none, or nothing of it is asked."""
    cut_ms: int

    @property
    def schema_version(self) -> int:
        """The version of the records' schema."""
        return min(self.partition.definitions.settings_at(self.cut_ms).fold_version, 2)

    def envelope(self, plan: Plan, as_of_ms: int) -> Envelope:
        """Return what the records have in common whose definitions are those of one time."""
        offset, version = self.partition.definitions.last_offset_at(as_of_ms), self.schema_version
        return envelope_of(self.subscription, plan, self.period, self.cut_ms, offset, version)
