"""Rows of what is billed at once: the next event costs as if none had been billed before."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from app.wire.arrivals import Arrival
from bench.growth.spent import Spent
from bench.growth.world import DAY_MS, NOW_MS, TIMES, World
from tables.closing.close import settle
from tables.closing.instants import instants_at

MINUTE_MS = 60_000


class _World:
    """A plan that is paid in advance, and many events that it has billed."""

    def __init__(self, events: int):
        self.world = world = World(TIMES)
        world.bill_at_once()
        world.definitions.append_time_ms = NOW_MS + 30 * DAY_MS
        self.now_ms = world.now_ms
        for first in range(0, events, 1_000):
            self.bill(self.event(number) for number in range(first, min(events, first + 1_000)))

    def event(self, number: int) -> Arrival:
        return self.world.event(number % TIMES, "prepaid", NOW_MS, appended_ms=self.now_ms)

    def bill(self, events: Iterable[Arrival]) -> None:
        """Take events, decide them at their grid cut, and flush what they billed."""
        self.world.fold(events)
        self.decide()

    def decide(self) -> None:
        state, cut_ms = self.world.state, self.now_ms + 10 * MINUTE_MS
        self.now_ms = cut_ms + 1
        for _ in instants_at(state, cut_ms):
            pass
        if state.instants.names():
            raise RuntimeError("something waits for another cut")
        settle(state, cut_ms)
        self.world.flush()


def billed_at_once(events: int) -> Spent:
    """Take an event that is billed at once, after so many."""
    of = _World(events)
    # The first cut after a start looks for figures.
    of.bill([of.event(0)])
    return of.world.spent(of.bill, [[of.event(number)] for number in range(TIMES)])


def canceled_at_once(events: int) -> Spent:
    """Take back what an event billed, after so many."""
    of = _World(events)
    wrong = [of.event(number) for number in range(TIMES)]
    of.bill(wrong)
    return of.world.spent(partial(_cancel, of), wrong)


def _cancel(of: _World, wrong: Arrival) -> None:
    of.world.correct(wrong, appended_ms=of.now_ms)
    of.decide()
