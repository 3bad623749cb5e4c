"""Events that are read again are judged one at a step: each may count for hundreds of charges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.meter.events import EventQuery
from app.meter.evidence import WindowUsage
from app.queries.events import MOST_NAMES, _sought
from app.queries.replay import Feed, Replay
from app.queries.series import usage_series
from app.queries.trace import ASKED_AT_ONCE, entries_of, first_entry, trace
from app.wire.arrivals import Arrival, SubscriptionKey
from app.wire.identity import event_id
from tables.changelogged.presence import EventRanges
from tables.event_index.entries import Entry
from tests.world.clock import DAY_MS, HOUR_MS, ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

EVENTS = 40


class _Turn:
    """Counts how often the loop is left to others."""

    pauses = 0
    steps = 0

    async def pause(self) -> None:
        self.pauses += 1

    async def run(self, steps: Steps[Any], *, urgent: bool = False) -> Any:
        try:
            while True:
                next(steps)
                self.steps += 1
        except StopIteration as end:
            return end.value


class _Replay(Replay):
    """Reads what a story sent, and counts the steps."""

    def __init__(self, told: Story) -> None:
        async def unread(*_: int) -> None:
            return None

        shared = SimpleNamespace(raw_lookup=SimpleNamespace(find=unread))
        state: Any = SimpleNamespace(state=told.meter("2024-01-20").partition, shared=shared)
        turn: Any = _Turn()
        super().__init__(state, lambda _: None, turn)  # type: ignore[arg-type,return-value]
        self.arrivals: Sequence[Arrival] = told.arrivals()
        self.steps = 0

    @asynccontextmanager
    async def reading(self, feed: Feed, *_: Any, **__: Any) -> AsyncIterator[Any]:
        async def read() -> None:
            self.steps = sum(1 for _ in feed(list(self.arrivals)))

        @asynccontextmanager
        async def caught_up() -> AsyncIterator[None]:
            yield

        yield SimpleNamespace(near=read, so_far=read, caught_up=caught_up)


def _told() -> Story:
    return Story().metric("m", "sum_agg").plan({}).subscribe()


async def test_an_id_that_was_sent_again_and_again_is_traced_by_small_steps() -> None:
    told = _told().send("2024-01-02", v="1")
    for _ in range(EVENTS - 1):
        told.events.append(told.events[0]._replace(offset=len(told.events)))
    replay = _Replay(told)
    fates = await trace(replay, (ORG, SUBSCRIPTION), "t0", (0, 0))
    assert len(fates) == EVENTS
    assert replay.steps >= EVENTS
    assert replay.turn.pauses == EVENTS  # type: ignore[attr-defined]


async def test_events_of_a_figure_are_shown_one_at_a_step() -> None:
    told = _told()
    for _ in range(EVENTS):
        told.send("2024-01-02", v="1")
    replay, shown = _Replay(told), list[Arrival]()

    def take(arrival: Arrival) -> Steps[None]:
        shown.append(arrival)
        yield from ()

    def finish() -> Steps[int]:
        yield from ()
        return len(shown)

    assert await replay.meter_key((ORG, SUBSCRIPTION, "m"), take, finish) == EVENTS
    assert replay.steps >= EVENTS


async def test_a_series_of_very_many_windows_is_made_in_turns() -> None:
    told = Story().metric("m", "sum_agg", recurring=True).plan({}).subscribe()
    replay, count = _Replay(told.send("2024-01-02", v="1.5")), 5 * STEP_ITEMS
    from_ms = ms("2024-01-02T00:00:00Z") - HOUR_MS
    windows = [(from_ms + n * HOUR_MS, from_ms + (n + 1) * HOUR_MS) for n in range(count)]
    series = await usage_series(replay, (ORG, SUBSCRIPTION, "m"), windows, "UTC")
    (charge,) = series.charges
    shown, before = Decimal("1.5"), Decimal(0)
    assert charge.values == (
        WindowUsage(*windows[0], before, before, 0),
        *(WindowUsage(*window, shown, shown, 1) for window in windows[1:]),
    )
    # Once they are computed, and once they are made into what is answered.
    assert replay.turn.steps >= 2 * count // STEP_ITEMS  # type: ignore[attr-defined]


def test_an_id_alone_is_looked_up_under_all_subscriptions_of_its_organization() -> None:
    state = _told().meter("2024-01-20").partition
    names = [(ORG, f"of_it_{number}") for number in range(2 * ASKED_AT_ONCE)]
    for name in (("another", "of_it_1"), *names):
        state.event_ranges.of(name, "m")
        state.index.add_many([event_id(*name, "asked")], [Entry(1, 0, len(name[0]), 0, -1, 0)])
    wanted = [names[3], names[-2], names[-1]]
    for at, name in zip((3, 1, 2), wanted, strict=True):
        state.index.add_many([event_id(*name, "seldom")], [Entry(at, 0, 5, 0, -1, 0)])
    owned: Any = SimpleNamespace(state=state)
    assert [name for _, name in drained(entries_of(owned, ORG, "seldom"))] == wanted
    assert {name for _, name in drained(entries_of(owned, ORG, "asked"))} == {*names}
    assert len(list(entries_of(owned, ORG, "asked"))) == 3
    first = drained(first_entry(owned, ORG, "seldom"))
    assert first is not None
    assert first.append_time_ms == 1
    assert drained(first_entry(owned, ORG, "never")) is None
    assert drained(first_entry(owned, "nobody", "asked")) is None


def test_an_id_alone_is_looked_up_under_few_subscriptions_and_no_others() -> None:
    state = _told().meter("2024-01-20").partition
    own = [(ORG, f"of_it_{number}") for number in range(3)]
    names = [*own[:1], *(("another", f"of_it_{n}") for n in range(2 * ASKED_AT_ONCE)), *own[1:]]
    for name in names:
        for code in ("m", "other"):
            state.event_ranges.of(name, code)
        state.index.add_many([event_id(*name, "asked")], [Entry(1, 0, len(name[0]), 0, -1, 0)])
    owned: Any = SimpleNamespace(state=state)
    _, parts = state.event_ranges.rows_of(ORG, ASKED_AT_ONCE)
    assert [len(part) for part in parts] == [len(own)]
    assert [name for _, name in drained(entries_of(owned, ORG, "asked"))] == own
    assert len(drained(entries_of(owned, "another", "asked"))) == 2 * ASKED_AT_ONCE


async def test_where_a_list_reads_is_found_among_the_subscriptions_of_its_organization() -> None:
    state, late_ms = _told().meter("2024-01-20").partition, ms("2024-01-19T00:00:00Z")
    ranges, own = state.event_ranges, [(ORG, f"of_it_{number}") for number in range(3)]

    def note(name: SubscriptionKey, code: str, offset: int, at_ms: int) -> None:
        entry = ranges.of(name, code)
        entry.raw_first, entry.newest_ms, entry.appended_ms = offset, at_ms, at_ms

    async def sought(**query: Any) -> tuple[int, list[SubscriptionKey], int]:
        owned: Any = SimpleNamespace(state=state)
        turn = _Turn()
        found, names = await turn.run(_sought(owned, ORG, EventQuery(**query)))
        return found.raw_first, names, turn.steps

    assert await sought() == (-1, [], 0)
    for number in range(10 * STEP_ITEMS):
        note(("another", f"of_it_{number}"), "m", 1, late_ms)
    assert await sought() == (-1, [], 0)
    for number, name in enumerate(own):
        note(name, "m", 5 + number, 1_000)
    note(own[1], "other", 4, late_ms)
    ranges.of(own[2], "m").early_ms = late_ms
    assert await sought() == (4, own, 0)
    assert await sought(code="m") == (5, own, 0)
    assert await sought(timestamp_from_ms=late_ms) == (4, own[1:], 0)
    assert await sought(timestamp_from_ms=late_ms + 2 * DAY_MS) == (-1, [], 0)
    assert await sought(external_subscription_id="of_it_0", timestamp_from_ms=late_ms) == (
        5,
        own[:1],
        0,
    )
    for number in range(MOST_NAMES):
        note((ORG, f"many_{number}"), "m", 9, 1_000)
    assert await sought() == (4, [], MOST_NAMES // STEP_ITEMS)
    assert (await sought(timestamp_from_ms=late_ms))[:2] == (4, own[1:])
    # Whose those are that are not kept one by one is not known.
    ranges.rest = EventRanges(raw_first=3, newest_ms=late_ms, appended_ms=late_ms)
    assert (await sought(timestamp_from_ms=late_ms))[:2] == (3, [])
    assert (await sought(external_subscription_id="of_it_0"))[:2] == (3, own[:1])
