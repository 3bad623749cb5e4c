"""What happens to subscriptions later: a start, an end, an end that comes near.

Nothing in the log says that it happens. It is told when the process's clock has passed it.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final, NamedTuple

from app.billing_periods.day_count import DAY_MS
from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.model import Subscription
from app.definitions.state import Definitions
from app.definitions.versions import Versions

STARTED: Final = "subscription.started"
TERMINATED: Final = "subscription.terminated"
ALERT: Final = "subscription.termination_alert"
ALERT_DAYS: Final = (45, 15)
"""UTC dates before that of ending_at."""


class Instant(NamedTuple):
    """When something happens to a subscription."""

    at_ms: int
    is_start: bool
    """At one instant what ends is told before what takes its place."""
    webhook_type: str
    subscription_id: str


def instants_of(subscription: Subscription) -> Iterator[Instant]:
    """Yield what happens to a subscription as it is defined now, at whatever time."""
    if subscription.canceled_at_ms is not None:
        return
    identity, start_ms = subscription.id, subscription.active_from_ms
    end_ms, ending_ms = subscription.end_ms, subscription.ending_at_ms
    if end_ms is None or start_ms < end_ms:
        yield Instant(start_ms, True, STARTED, identity)
    if end_ms is not None:
        yield Instant(end_ms, False, TERMINATED, identity)
    if ending_ms is not None:
        for days in ALERT_DAYS:
            at_ms = (ending_ms // DAY_MS - days) * DAY_MS
            if subscription.status_at(at_ms) == "active":
                yield Instant(at_ms, False, ALERT, identity)


def _was_past(versions: Versions[Subscription], instant: Instant) -> Steps[bool]:
    """Return True if the record that first said it came no earlier: it was told as that."""
    for count, (at_ms, version) in enumerate(zip(versions.changes, versions.all(), strict=True), 1):
        if instant in instants_of(version):
            return instant.at_ms <= at_ms
        if count % STEP_ITEMS == 0:
            yield
    return False


class Agenda:
    """What is still to happen, soonest first; only what still holds is told."""

    def __init__(self, definitions: Definitions):
        self._definitions = definitions
        self._coming: list[Instant] = []

    def fill(self, after_ms: int) -> Steps[None]:
        """Note what happens to all subscriptions after an instant without a record of its own."""
        for count, versions in enumerate(self._definitions.subscription_versions.values(), 1):
            subscription = versions.at()
            if subscription is not None:
                for each in instants_of(subscription):
                    if each.at_ms > after_ms and not (yield from _was_past(versions, each)):
                        self.note(each)
            if count % STEP_ITEMS == 0:
                yield

    def note(self, instant: Instant) -> None:
        """Note what is to happen."""
        heappush(self._coming, instant)

    def next_ms(self, until_ms: int) -> int | None:
        """Return when the next is noted that happens by an instant; None: nothing more does."""
        if self._coming and self._coming[0].at_ms <= until_ms:
            return self._coming[0].at_ms
        return None

    def take(self, until_ms: int) -> Iterator[Instant | None]:
        """Take what happens by an instant, in order; None: what was noted is not told."""
        while self._coming and self._coming[0].at_ms <= until_ms:
            instant = heappop(self._coming)
            # The same may be noted again: a definition took it back, and a later one did not.
            is_last = not self._coming or self._coming[0] != instant
            yield instant if is_last and self._holds(instant) else None

    def _holds(self, instant: Instant) -> bool:
        subscription = self._definitions.subscription_by_id(instant.subscription_id)
        return subscription is not None and instant in instants_of(subscription)
