"""At hand: whose routes, cells or periods are made, by when an event touched them last.

It is noted when they are made, not with each event. So a name may have been touched later than it
says here, never before; whoever looks at it moves it on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from app.wire.arrivals import SubscriptionKey

NOT_KNOWN = -1
"""Grain of time of those that were made since somebody looked when they were touched."""


class AtHand:
    """External subscriptions of one partition that are at hand, or were lately."""

    def __init__(self) -> None:
        self._new: dict[SubscriptionKey, None] = {}
        self._by_grain: dict[int, dict[SubscriptionKey, None]] = {}
        self.note: Callable[[SubscriptionKey], None] = self._new.setdefault
        """Notes that something of an external subscription was made: each first touch does."""

    def __bool__(self) -> bool:
        return bool(self._new or self._by_grain)

    def drop(self, name: SubscriptionKey) -> None:
        """Forget one that was only noted, and has nothing at hand any more."""
        self._new.pop(name, None)

    def note_touched(self, name: SubscriptionKey, grain: int) -> None:
        """Note in which grain of time an external subscription was touched."""
        self._by_grain.setdefault(grain, {})[name] = None

    def grains(self) -> Iterator[int]:
        """Yield the grains that there are, the oldest first."""
        yield NOT_KNOWN
        yield from sorted(self._by_grain)

    def take(self, grain: int) -> SubscriptionKey | None:
        """Take one out that was touched in a grain, as far as is known; None: there is none."""
        names = self._new if grain == NOT_KNOWN else self._by_grain.get(grain)
        if names:
            return names.popitem()[0]
        self._by_grain.pop(grain, None)
        return None
