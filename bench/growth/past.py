"""Rows of what happened before, once or often: what comes later costs as if it had not."""

from __future__ import annotations

from functools import partial

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS
from bench.growth.spent import Spent
from bench.growth.world import DAY_MS, NOW_MS, ORG, RECURRING, TIMES, World, aged, name_of, names
from bench.world import subscription_of
from tables.closing.changed import changed_at
from tables.closing.close import next_cut, settle
from tables.reading.usage import current_usage

MINUTE_MS = 60_000


def event_of_the_implicit_plan(names: int) -> Spent:
    """Fold an event of a name that nobody defines, beside others."""
    world = World()
    world.apply(commands.set_settings(SettingsRecord(grace_s=0, implicit_plan=True)))
    world.definitions.append_time_ms = NOW_MS + DAY_MS
    world.fold(map(world.event, range(names)))
    return world.spent_folding(world.each())


def first_of_a_later_period(months: int) -> Spent:
    """Fold the first event of a month, of a subscription with events of the last one."""
    world = aged(months)
    world.fold(world.each())
    return world.spent_folding(world.each(at_ms=NOW_MS + 31 * DAY_MS))


def event_begun_anew(code: str, times: int) -> Spent:
    """Fold an event of a subscription that ended and began anew so often."""
    world, at_ms = _begun_anew(times, code)
    return _folded_again(world, at_ms, code)


def _begun_anew(times: int, code: str = "calls") -> tuple[World, int]:
    """Return subscriptions that ended and began anew so often, and a time after all of it."""
    world = World(TIMES, recurs=code if code in RECURRING else None)
    for number in range(TIMES):
        for _ in range(times):
            world.begin_anew(number)
    world.now_ms = world.definitions.append_time_ms + 1
    return world, world.now_ms


def _long_begun_anew(times: int, code: str = "calls") -> World:
    """Return subscriptions that ended and began anew each day, so often, and whose cells rest."""
    world = World(recurs=code if code in RECURRING else None)
    world.now_ms = world.definitions.append_time_ms = NOW_MS - (times + 1) * DAY_MS
    for number in range(TIMES):
        world.apply(commands.create_subscription(ORG, subscription_of(number)))
    for _ in range(times):
        world.now_ms += DAY_MS
        for number in range(TIMES):
            told = subscription_of(number)
            world.apply(commands.terminate_subscription(ORG, str(told["external_id"])))
            world.apply(commands.create_subscription(ORG, told))
    world.now_ms = world.definitions.append_time_ms = NOW_MS + 60 * DAY_MS
    world.fold(world.each(code, appended_ms=NOW_MS))
    world.close_until(NOW_MS, TIMES)
    world.flush()
    for number in range(TIMES):
        world.state.packing.pack(name_of(number))
    return world


def closing_cold_begun_anew(times: int) -> Spent:
    """Close a month of one that rests and ended and began anew so often, of one cell."""
    world = _long_begun_anew(times)

    def close(number: int) -> None:
        if len(world.close(number)) != 2:
            raise RuntimeError("a month tells of one cell")

    return world.spent(close)


def begun_anew_at_rest(times: int) -> Spent:
    """End one that rests and ended and began anew so often, and begin it anew."""
    world = _long_begun_anew(times)
    return world.spent(world.begin_anew)


def next_cut_begun_anew(times: int) -> Spent:
    """Say when the next cut is of one that rests and ended and began anew so often."""
    world = _long_begun_anew(times)
    return world.spent(partial(next_cut, world.state), names())


def usage_begun_anew(code: str, times: int) -> Spent:
    """Ask for current usage of one at hand that ended and began anew so often."""
    world = _long_begun_anew(times, code)
    world.fold(world.each(code, appended_ms=NOW_MS))
    return world.spent(partial(current_usage, world.state, at_ms=NOW_MS + 1), names())


def late_begun_anew(code: str, times: int) -> Spent:
    """Fold an event of a month that is closed, of one that ended and began anew so often."""
    world = _long_begun_anew(times, code)
    came_ms = NOW_MS + 20 * DAY_MS
    world.close_until(came_ms - 1, TIMES)
    first, others = (world.each(code, appended_ms=came_ms + turn) for turn in range(2))
    # The first makes what the others find.
    world.fold(first)
    world.flush()
    return world.spent_folding(others)


def defined_begun_anew(times: int) -> Spent:
    """End a subscription that ended and began anew so often, and begin it anew, in any worker."""
    world, _ = _begun_anew(times)

    def again(number: int) -> None:
        told = subscription_of(number)
        world.apply(commands.terminate_subscription(ORG, str(told["external_id"])))
        world.apply(commands.create_subscription(ORG, told))

    return world.spent(again)


def event_of_a_member(months: int) -> Spent:
    """Fold an event of a property of what recurs, which had one in each month before."""
    return _folded_again(aged(months, "seats"), NOW_MS, "seats")


def event_beside_corrections(corrections: int) -> Spent:
    """Fold an event of a subscription with so many corrections of events that never come."""
    world = World(TIMES)
    for number in range(TIMES):
        for wrong in range(corrections):
            never = world.event(number, transaction_id=f"never{wrong}")
            world.correct(never, appended_ms=NOW_MS, known=False)
    return _folded_again(world, NOW_MS)


def _folded_again(world: World, at_ms: int, code: str = "calls") -> Spent:
    """Fold an event of each subscription that has taken others of the period."""
    for _ in range(3):
        world.fold(world.each(code, at_ms))
    return world.spent_folding(world.each(code, at_ms))


def event_of_deleted_alerts(times: int) -> Spent:
    """Fold an event of a subscription that had so many alerts, one after another."""
    return _folded_again(*_of_deleted_alerts(times))


def touch_of_deleted_alerts(times: int) -> Spent:
    """Fold the next event of such a subscription, at rest since all was told."""
    world, at_ms = _of_deleted_alerts(times)
    world.fold(world.each(at_ms=at_ms))
    world.definitions.append_time_ms = at_ms + MINUTE_MS
    settle(world.state, at_ms + MINUTE_MS)
    world.flush()
    for number in range(TIMES):
        world.state.packing.pack(name_of(number))
    return world.spent_folding(world.each(at_ms=at_ms + MINUTE_MS))


def touch_beside_alerts(alerts: int) -> Spent:
    """Fold the first event of a subscription with so many alerts, each on a metric of its own."""
    world = World(TIMES)
    for number in range(alerts):
        metric = {"name": "n", "code": f"alerted{number}", "aggregation_type": "count_agg"}
        world.apply(commands.create_billable_metric(ORG, metric))
    asked = [
        {
            "alert_type": "billable_metric_current_usage_units",
            "code": f"a{number}",
            "billable_metric_code": f"alerted{number}",
            "thresholds": [{"value": "1"}],
        }
        for number in range(alerts)
    ]
    for number in range(TIMES):
        world.apply(commands.create_alerts(ORG, name_of(number)[1], asked))
    return world.spent_folding(world.each())


def touch_beside_packed(charges: int) -> Spent:
    """Fold the next event of one code while cells of so many other charges are packed with its."""
    world = World()
    world.charge_more(charges)
    for number in range(TIMES):
        world.apply(world.subscribing(number))
    codes = ["calls", *(f"more{number}" for number in range(charges))]
    for code in codes:
        world.fold([world.event(number, code) for number in range(TIMES)])
    world.flush()
    for number in range(TIMES):
        world.state.packing.pack(name_of(number))
    return world.spent_folding(world.each())


def revision_beside(charges: int) -> Spent:
    """Take the revision cut of a late event of one of so many charges."""
    world = World()
    world.definitions.append_time_ms = world.now_ms
    world.charge_more(charges)
    world.definitions.append_time_ms = world.now_ms
    for number in range(TIMES):
        world.apply(world.subscribing(number))
    came_ms = NOW_MS - 20 * DAY_MS
    world.definitions.append_time_ms = NOW_MS + DAY_MS
    world.fold(world.each(at_ms=came_ms, appended_ms=came_ms))
    world.flush()
    world.close_until(NOW_MS, TIMES)
    world.fold(world.each(at_ms=came_ms, appended_ms=NOW_MS + 1))
    world.flush()

    def revise(number: int) -> None:
        if len(world.close(number)) != 2:
            raise RuntimeError("a revision tells of one cell")

    return world.spent(revise)


def alert_of_one_cut(times: int) -> Spent:
    """Make an alert and delete it, after so many others that no grid cut was between."""
    world = World(TIMES)
    world.fold(world.each())

    def again(number: int) -> None:
        _alert(world, number, after_ms=1)
        _alert(world, number, is_gone=True, after_ms=1)

    for number in range(TIMES):
        for _ in range(times):
            again(number)
    return world.spent(again)


def _of_deleted_alerts(times: int) -> tuple[World, int]:
    """Make a world of subscriptions that had so many alerts, and the time since."""
    world = World(TIMES)
    for _ in range(times):
        for number in range(TIMES):
            _alert(world, number)
            _alert(world, number, is_gone=True)
    at_ms = world.now_ms = world.definitions.append_time_ms + MINUTE_MS
    return world, at_ms


def event_while_alerts_stand(cuts: int) -> Spent:
    """Fold an event of a subscription with an alert, after so many grid cuts that had some."""
    world = World(TIMES)
    for number in range(TIMES):
        _alert(world, number)
    for _ in range(cuts):
        at_ms = world.now_ms = world.definitions.append_time_ms + MINUTE_MS
        world.fold(world.each(at_ms=at_ms))
        world.definitions.append_time_ms = at_ms + MINUTE_MS
        world.close_until(at_ms + MINUTE_MS, TIMES)
        world.flush()
    at_ms = world.now_ms = world.definitions.append_time_ms + MINUTE_MS
    return _folded_again(world, at_ms)


def _alert(
    world: World, number: int, *, is_gone: bool = False, after_ms: int = 2 * MINUTE_MS
) -> None:
    """Make an alert of a subscription, or delete it, so long after the last definition."""
    _, external_id = name_of(number)
    if is_gone:
        command = commands.delete_alert(ORG, external_id, "calls")
    else:
        alert = {"alert_type": "billable_metric_current_usage_units", "code": "calls"}
        alert |= {"billable_metric_code": "calls"}
        command = commands.create_alert(
            ORG, external_id, {**alert, "thresholds": [{"value": "1000000"}]}
        )
    world.now_ms = world.definitions.append_time_ms + after_ms
    world.define(command)
    world.renew()


def closing_begun_anew(times: int) -> Spent:
    """Close a month of a subscription that ended and began anew so often, of one cell."""
    world, at_ms = _begun_anew(times)
    world.fold(world.each(at_ms=at_ms))
    world.definitions.append_time_ms = at_ms + 60 * DAY_MS
    # Of those that ended all is taken.
    world.close_until(at_ms, TIMES)
    world.flush()
    return world.spent(world.close)


def revising_begun_anew(times: int) -> Spent:
    """Take the revision cut of a late event of one that ended and began anew so often, long ago."""
    world, at_ms = _begun_anew(times)
    at_ms += 100 * DAY_MS
    world.fold(world.each(at_ms=at_ms))
    world.definitions.append_time_ms = at_ms + 60 * DAY_MS
    came_ms = at_ms + 33 * DAY_MS
    world.close_until(came_ms, TIMES)
    for _ in range(2):
        world.fold(world.each(at_ms=at_ms, appended_ms=came_ms + 1))
        world.flush()
        found = world.spent(partial(_revise, world))
        settle(world.state, came_ms + DAY_MS)
        came_ms += DAY_MS
    return found


def _revise(world: World, number: int) -> None:
    if len(world.close(number)) != 2:
        raise RuntimeError("a revision tells of one cell")


def event_once_told(times: int) -> Spent:
    """Fold an event once changes of usage were told, and are told no more, so often."""
    world = World(TIMES)
    for number in range(2 * times):
        world.now_ms = world.definitions.append_time_ms + MINUTE_MS
        world.define(commands.set_settings(SettingsRecord(usage_changed=number % 2 == 0)))
        world.renew()
    while (moment_ms := world.state.changed.next_ms()) < NEVER_MS:
        list(changed_at(world.state, moment_ms))
    at_ms = world.now_ms = world.definitions.append_time_ms + MINUTE_MS
    return _folded_again(world, at_ms)
