"""Cuts and whoever waits for them: found from either side, without a look at all others."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import SubscriptionKey


class WaitingNames:
    """External subscriptions and the cuts that each waits for.

    Of a partition that is far behind very many cuts are waited for.
    """

    def __init__(self) -> None:
        self._names: dict[int, dict[SubscriptionKey, None]] = {}
        """By cut, who waits for it."""
        self._cuts: list[int] = []
        """The cuts, in order."""
        self.by_name: dict[SubscriptionKey, int | list[int]] = {}
        """By name, the only cut that it waits for, or all in order: most wait for one. Others look
        whether somebody is there; nearly nobody is."""

    def add(self, name: SubscriptionKey, cut_ms: int) -> bool:
        """Let somebody wait for a cut; return False if that is known."""
        names = self._names.get(cut_ms)
        if names is None:
            names = self._names[cut_ms] = {}
            insort(self._cuts, cut_ms)
        elif name in names:
            return False
        names[name] = None
        known = self.by_name.get(name)
        if known is None:
            self.by_name[name] = cut_ms
        elif isinstance(known, int):
            self.by_name[name] = sorted((known, cut_ms))
        else:
            insort(known, cut_ms)
        return True

    def at(self, cut_ms: int) -> Mapping[SubscriptionKey, None]:
        """Return who waits for a cut."""
        return self._names.get(cut_ms, {})

    def of(self, name: SubscriptionKey) -> Sequence[int]:
        """Return the cuts that somebody waits for, in order."""
        known = self.by_name.get(name, ())
        return (known,) if isinstance(known, int) else known

    def until(self, cut_ms: int) -> Sequence[int]:
        """Return the cuts up to one, in order."""
        return self._cuts[: bisect_right(self._cuts, cut_ms)]

    def next_ms(self, done_ms: int) -> int:
        """Return the first cut after one that anybody waits for; NEVER_MS: there is none."""
        return _first_after(self._cuts, done_ms)

    def next_of(self, name: SubscriptionKey, done_ms: int) -> int:
        """Return the first cut after one that somebody waits for; NEVER_MS: there is none."""
        known = self.by_name.get(name)
        if known is None:
            return NEVER_MS
        if isinstance(known, int):
            return known if known > done_ms else NEVER_MS
        return _first_after(known, done_ms)

    def drop(self, name: SubscriptionKey, until_ms: int) -> None:
        """Let somebody wait no more for the cuts up to one."""
        cuts = self.of(name)
        gone = bisect_right(cuts, until_ms)
        if not gone:
            return
        for cut_ms in cuts[:gone]:
            names = self._names[cut_ms]
            del names[name]
            if not names:
                del self._names[cut_ms]
                del self._cuts[bisect_left(self._cuts, cut_ms)]
        left = cuts[gone:]
        if left:
            self.by_name[name] = left[0] if len(left) == 1 else [*left]
        else:
            del self.by_name[name]


def _first_after(cuts: Sequence[int], done_ms: int) -> int:
    place = bisect_right(cuts, done_ms)
    return cuts[place] if place < len(cuts) else NEVER_MS
