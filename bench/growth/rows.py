"""The rows: what is done, beside what that grows, and by how much its cost may grow with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import NamedTuple

from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival
from bench.growth import corrected, past, reads
from bench.growth.at_once import billed_at_once, canceled_at_once
from bench.growth.defined import (
    ended_under,
    first_touch_under,
    last_page,
    metric_told,
    plan_told,
)
from bench.growth.spent import Spent
from bench.growth.swept import (
    definition_swept,
    definition_swept_at_an_age,
    due_times_swept,
    history_swept,
)
from bench.growth.world import (
    DAY_MS,
    NOW_MS,
    ORG,
    RECURRING,
    TIMES,
    World,
    aged,
    aged_and_corrected,
    name_of,
)
from tables.closing.close import next_cut, settle
from tables.partition.cooling import GRAIN_MS, IDLE_MS, Cooling
from tables.partition.refold import Refold

OWN = 100
"""Events of the subscription that an operation is about."""


class Row(NamedTuple):
    """One operation, and what grows beside it."""

    name: str
    grows: str
    sizes: tuple[int, int, int]
    play: Callable[[int], Spent]
    most: float = 1.2
    """How many times as many steps it may take at ten times the size."""


def _of_recurring(
    name: str,
    grows: str,
    sizes: tuple[int, int, int],
    play: Callable[[str, int], Spent],
    most: float = 1.2,
) -> Iterable[Row]:
    """Yield a row for each metric that recurs, whose code the name has a place for."""
    for code in RECURRING:
        yield Row(name.format(code), grows, sizes, partial(play, code), most)


def _filled(events: int, *, at_once: bool = False) -> World:
    """Make a world with events of many subscriptions, each of which has as many."""
    world = World(max(2 * TIMES, events // OWN))
    if at_once:
        world.bill_at_once()
    settle(world.state, NOW_MS - DAY_MS)
    world.fold(world.event(number % (events // OWN or 1)) for number in range(events))
    for number in range(TIMES):
        world.fold(world.event(number) for _ in range(OWN))
    world.flush()
    return world


def event(pairs: int) -> Spent:
    """Fold an event of a pair that is at hand, and flush it."""
    world = World(pairs)
    world.fold(map(world.event, range(pairs)))
    world.flush()

    def fold(number: int) -> None:
        world.fold([world.event(number)])
        world.flush()

    return world.spent(fold, range(0, 7 * TIMES, 7))


def first_touch(months: int) -> Spent:
    """Fold the first event of a subscription of an age."""
    world = World(TIMES, months)
    return world.spent_folding(world.each())


def first_touch_redefined(months: int) -> Spent:
    """Fold the first event of a subscription of an age, all of which was redefined lately."""
    world = World(TIMES, months)
    world.now_ms = NOW_MS - 40 * DAY_MS
    world.define(commands.set_settings(SettingsRecord(max_groups=1_000)))
    world.define(commands.update_billable_metric(ORG, "calls", {"rounding_function": "ceil"}))
    return world.spent_folding(world.each())


def first_touch_packed(code: str, months: int) -> Spent:
    """Fold the next event of a subscription whose cells are packed."""
    world = aged(months, code)
    for number in range(TIMES):
        world.state.packing.pack(name_of(number))
    return world.spent_folding(world.each(code))


def late_event(months: int) -> Spent:
    """Fold an event of the month before, which is closed."""
    world = aged(months)
    world.fold(world.each())
    return _late(world, "calls", NOW_MS - 20 * DAY_MS)


def very_late_event(code: str, months: int) -> Spent:
    """Fold an event of the first month of what recurs, for which it is never too late."""
    world = aged(months, code)
    world.fold(world.each(code))
    return _late(world, code, NOW_MS - months * 2_629_800_000)


def _late(world: World, code: str, at_ms: int) -> Spent:
    events = world.each(code, at_ms=at_ms, appended_ms=NOW_MS + 1)

    def fold(number: int) -> None:
        world.fold([events[number]])
        if world.state.stale.displaced_keys:
            raise RuntimeError("a late event calls for a refold")
        world.owned.cuts.reschedule(world.state.cuts.take_late_names())

    return world.spent(fold)


def revision(code: str, months: int) -> Spent:
    """Take the revision cut of a late event of the month before."""
    world = aged(months, code)
    world.fold(world.each(code))
    at_ms, came_ms = NOW_MS - 20 * DAY_MS, NOW_MS + 1
    world.fold(world.each(code, at_ms, appended_ms=came_ms))
    world.flush()
    return world.spent(world.close)


def group_revised(groups: int) -> Spent:
    """Take and settle the revision cut of a late event of one of many groups."""
    world = World(TIMES, 2, groups=True)
    came_ms = NOW_MS - 20 * DAY_MS
    for group in range(groups):
        world.fold(world.each("gb", came_ms, group=group))
    world.flush()
    world.close_until(NOW_MS, TIMES)
    world.flush()
    late = [
        world.event(n, "gb", came_ms, appended_ms=NOW_MS + n * DAY_MS + 1) for n in range(TIMES)
    ]

    def revise(number: int) -> None:
        world.fold([late[number]])
        world.flush()
        cut_ms = next_cut(world.state, name_of(number))
        told = world.close(number)
        if len(told) != 2:
            raise RuntimeError("a revision tells of one cell")
        settle(world.state, cut_ms)
        world.flush()

    return world.spent(revise)


def closing(code: str, months: int) -> Spent:
    """Close a month of a subscription, of one cell."""
    world = aged(months, code)
    return world.spent(world.close)


def definition(kind: str, subscriptions: int) -> Spent:
    """Apply a definition: what is done at once."""
    world = World(subscriptions)
    world.fold(map(world.event, range(subscriptions)))
    made = [
        {
            "metric": commands.create_billable_metric(
                ORG, {"name": "n", "code": f"n{i}", "aggregation_type": "count_agg"}
            ),
            "plan": commands.update_plan(ORG, "bench", {"name": f"name {i}"}),
            "settings": commands.set_settings(SettingsRecord(grace_s=i + 1)),
            "customer": commands.upsert_customer(
                ORG, {"external_id": "customer_1", "timezone": ("UTC", "Europe/Paris")[i % 2]}
            ),
        }[kind]
        for i in range(TIMES)
    ]
    return world.spent(world.define, made)


def subscription_created(subscriptions: int) -> Spent:
    """Create a subscription, and look at what it changes."""
    world = World(subscriptions)

    def create(number: int) -> None:
        world.define(world.subscribing(subscriptions + number))
        world.renew()

    return world.spent(create)


def created_and_touched(charges: int) -> Spent:
    """Create a subscription of a plan of so many charges, and fold its first event."""
    world = World()
    world.charge_more(charges)
    world.fold([world.event(1_000_000)])

    def create(number: int) -> None:
        world.define(world.subscribing(number))
        world.renew()
        world.fold([world.event(number)])

    return world.spent(create)


def created_with_events(events: int) -> Spent:
    """Create a subscription for which ten events wait."""
    world = _filled(events)
    first = 1_000_000
    for number in range(TIMES):
        world.fold(world.event(first + number) for _ in range(10))
    world.flush()

    def create(number: int) -> None:
        world.define(world.subscribing(first + number))
        world.renew()
        world.flush()

    return world.spent(create)


def subscription_changed(events: int) -> Spent:
    """Refold a subscription's hundred events."""
    return _refolded(_filled(events))


def aged_subscription_changed(months: int) -> Spent:
    """Refold a subscription of an age, with an event a month; most months are forgotten."""
    return _refolded(aged(months))


def corrected_subscription_changed(months: int) -> Spent:
    """Refold such a subscription, of which an event was cancelled in the first month."""
    return _refolded(aged_and_corrected(months))


def _refolded(world: World) -> Spent:
    def refold(number: int) -> None:
        keys = world.state.event_ranges.meter_keys_of(name_of(number))
        world.refold(Refold(world.state, keys, redefined=keys))

    return world.spent(refold)


def correction(events: int, *, at_once: bool = False) -> Spent:
    """Cancel an event of a subscription; others may be billed at once."""
    return corrected.correction(_filled(events, at_once=at_once))


def smaller_duplicate(code: str, events: int) -> Spent:
    """Fold an event again that was appended before the copy that is known."""
    world = _filled(events)
    copies = []
    for number in range(TIMES):
        known = world.event(number, code, NOW_MS + number)
        world.fold([known])
        copies.append(replace(known, append_time_ms=known.append_time_ms - 1, raw_partition=1))
    spent = world.spent_folding(copies)
    if world.state.stale.displaced_keys:
        raise RuntimeError("an earlier copy calls for a refold")
    return spent


def flush(pairs: int) -> Spent:
    """Fold an event, and flush the cell that it changed."""
    world = World(pairs)
    world.fold(map(world.event, range(pairs)))
    world.flush()

    def one(event: Arrival) -> None:
        world.fold([event])
        world.flush()

    return world.spent(one, world.each())


def next_cuts(subscriptions: int) -> Spent:
    """Say when the next cut is, and schedule one subscription anew."""
    world = World(subscriptions)
    drained(world.owned.cuts.scheduling())

    def one(number: int) -> None:
        world.owned.cuts.reschedule([name_of(number)])
        world.owned.cuts.schedule.next_ms()

    return world.spent(one)


def cooling(subscriptions: int) -> Spent:
    """Pack what is idle: one subscription, while all others are touched later."""
    world = World(subscriptions + TIMES)
    now_ms = NOW_MS + DAY_MS
    world.fold(world.event(n, appended_ms=NOW_MS + n * 60_000) for n in range(TIMES))
    world.fold(world.event(TIMES + n, appended_ms=now_ms) for n in range(subscriptions))
    world.flush()
    rounds = Cooling(world.state)

    def look(number: int) -> None:
        world.state.checkpoint.append_time_ms = NOW_MS + number * 60_000 + IDLE_MS + GRAIN_MS
        drained(rounds.cooling(1 << 30))

    look(-1)
    return world.spent(look)


EVENTS = (1_000, 10_000, 100_000)
SUBSCRIPTIONS = (100, 1_000, 10_000)
GROUPS = (30, 300, 3_000)
MONTHS = (1, 10, 100)
OLDER = (3, 30, 300)
"""Some months are forgotten at each."""
OLD = (10, 100, 300)
"""The first is, too."""
CHARGES = (5, 50, 500)
OFTEN = (1, 10, 100)
OFTENER = (10, 100, 1_000)
BILLED = (100, 1_000, 10_000)
"""How often something happened before."""
ALWAYS = (10, 100, 400)
"""The same, up to what a quota allows."""

ROWS = tuple(
    chain(
        (
            Row("event", "pairs", SUBSCRIPTIONS, event),
            Row("… of who began anew", "times", OFTEN, partial(past.event_begun_anew, "calls")),
            *_of_recurring("… of {} of who began anew", "times", OFTEN, past.event_begun_anew),
            Row("… of a property once more", "months of age", OLDER, past.event_of_a_member),
            Row("… once nobody asks what changed", "times", OFTEN, past.event_once_told),
            Row("… while an alert stands", "grid cuts", OFTEN, past.event_while_alerts_stand),
            Row("… once alerts are deleted", "times", OFTEN, past.event_of_deleted_alerts),
            Row("… at rest since alerts are deleted", "times", OFTEN, past.touch_of_deleted_alerts),
            Row("alert of one grid cut", "made and deleted in it", OFTEN, past.alert_of_one_cut),
            Row(
                "… beside corrections",
                "events that never come",
                OFTEN,
                past.event_beside_corrections,
            ),
            Row("event billed at once", "events billed before", BILLED, billed_at_once),
            Row("… taken back", "events billed before", BILLED, canceled_at_once),
            Row("event, and flush of its cell", "pairs", SUBSCRIPTIONS, flush),
            Row(
                "event of the implicit plan",
                "names",
                SUBSCRIPTIONS,
                past.event_of_the_implicit_plan,
            ),
            Row("first of a later period", "months of age", MONTHS, past.first_of_a_later_period),
            # From the second year on its periods are found by arithmetic: 1,000 steps more.
            Row("first touch, new", "months of age", MONTHS, first_touch),
            Row("… beside alerts", "on other metrics", OFTENER, past.touch_beside_alerts),
            Row("… redefined since", "months of age", MONTHS, first_touch_redefined, 1.7),
            Row("… under settings", "records since", OFTEN, partial(first_touch_under, "settings")),
            Row(
                "… under prices", "records since", OFTEN, partial(first_touch_under, "prices"), 1.5
            ),
            Row(
                "… under history",
                "records since",
                OFTEN,
                partial(first_touch_under, "history"),
                1.05,
            ),
            # It unpacks all cells of its charges, also those of periods that are over.
            Row(
                "first touch, packed",
                "months of age",
                MONTHS,
                partial(first_touch_packed, "calls"),
                1.6,
            ),
            # What recurs is carried on in one cell, and the months that are not final yet.
            *_of_recurring(
                "… of {}, which recurs", "months of age", MONTHS, first_touch_packed, 1.6
            ),
            # Cells of the others stay packed.
            Row("… beside others", "charges with cells", OFTEN, past.touch_beside_packed, 1.05),
        ),
        (
            Row(f"{kind}, at once", "subscriptions", SUBSCRIPTIONS, partial(definition, kind))
            for kind in ("metric", "plan", "settings", "customer")
        ),
        (
            Row("metric renamed and told", "plans of one each", SUBSCRIPTIONS, metric_told),
            Row("plan told", "subscriptions of it", SUBSCRIPTIONS, plan_told),
            Row("settings, each looked at", "subscriptions", SUBSCRIPTIONS, definition_swept),
            Row("… and for its next cut", "subscriptions", SUBSCRIPTIONS, due_times_swept),
            Row("… of groups, at an age", "months of age", MONTHS, definition_swept_at_an_age, 1.7),
            Row("history, each looked at", "subscriptions", SUBSCRIPTIONS, history_swept),
            Row("subscription created", "subscriptions", SUBSCRIPTIONS, subscription_created),
            # What is told by it is joined to each record once.
            Row(
                "ended, under settings",
                "records since",
                OFTEN,
                partial(ended_under, "settings"),
                1.4,
            ),
            Row("ended and begun anew", "times before", ALWAYS, past.defined_begun_anew),
            Row("… at rest, and looked at", "times before", ALWAYS, past.begun_anew_at_rest),
            Row("created and touched", "charges of its plan", CHARGES, created_and_touched),
            Row("created with 10 events waiting", "events", EVENTS, created_with_events),
            Row("subscription changed", "events", EVENTS, subscription_changed),
            Row("… at an age", "months of age", OLDER, aged_subscription_changed),
            Row("… once corrected", "months of age", OLDER, corrected_subscription_changed),
            Row("correction", "events", EVENTS, correction),
            Row("… beside others billed", "events", EVENTS, partial(correction, at_once=True)),
            Row("… of the greatest value", "events of others", EVENTS, corrected.greatest),
            Row("… at an age", "months of age", OLDER, corrected.greatest_at_an_age),
            Row("smaller duplicate", "events", EVENTS, partial(smaller_duplicate, "calls")),
            Row("… of a unique value", "events", EVENTS, partial(smaller_duplicate, "users")),
            Row("late event", "months of age", MONTHS, late_event),
            Row(
                "… of who began anew often",
                "times",
                OFTENER,
                partial(past.late_begun_anew, "calls"),
                1.1,
            ),
            *_of_recurring(
                "… of {} of who began anew often", "times", OFTENER, past.late_begun_anew, 1.1
            ),
            *_of_recurring("very late event of {}", "months of age", OLD, very_late_event),
            Row("closing a cell", "months of age", MONTHS, partial(closing, "calls")),
            *_of_recurring("… of {}", "months of age", MONTHS, closing),
            Row("closing what began anew", "times", OFTEN, past.closing_begun_anew),
            Row("… at rest", "times", OFTENER, past.closing_cold_begun_anew, 1.05),
            Row("revising a cell", "months of age", MONTHS, partial(revision, "calls")),
            Row("… of what began anew", "times", OFTEN, past.revising_begun_anew, 1.05),
            *_of_recurring("… of {}", "months of age", MONTHS, revision, 1.25),
            Row("… of many groups", "groups", GROUPS, group_revised),
            Row("revision beside", "charges of its plan", CHARGES, past.revision_beside, 1.05),
            Row("next cut", "subscriptions", SUBSCRIPTIONS, next_cuts),
            Row("next cut of who began anew", "times", OFTENER, past.next_cut_begun_anew, 1.05),
            Row("current_usage", "months of age", MONTHS, partial(reads.usage, "calls")),
            *_of_recurring("… of {}", "months of age", MONTHS, reads.usage),
            Row(
                "… of who began anew, at hand",
                "times",
                OFTENER,
                partial(past.usage_begun_anew, "calls"),
                1.05,
            ),
            *_of_recurring(
                "… of {} of who began anew, at hand", "times", OFTENER, past.usage_begun_anew, 1.05
            ),
            Row("preview of a later plan", "months of age", OLDER, reads.previewed),
            Row("verification of a sample", "months of age", OLDER, reads.sampled),
            Row("… of what is published", "verified at once", SUBSCRIPTIONS, reads.published),
            Row(
                "customers, last page", "customers", SUBSCRIPTIONS, partial(last_page, "customers")
            ),
            Row("… of subscriptions", "subscriptions", SUBSCRIPTIONS, partial(last_page, "all")),
            Row("analytics of a customer", "subscriptions", SUBSCRIPTIONS, reads.analytics),
            Row("overview page", "subscriptions", SUBSCRIPTIONS, reads.overview),
            Row("event by id alone", "subscriptions", SUBSCRIPTIONS, reads.event_by_id, 10),
            Row("cooling of one that is idle", "subscriptions", SUBSCRIPTIONS, cooling),
        ),
    )
)
