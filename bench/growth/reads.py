"""Rows of what is only read: usage, the page, an event by its id, a verification."""

from __future__ import annotations

from datetime import date
from functools import partial

from app.bounds.turns import Turns, drained
from app.definitions import commands
from app.definitions.model import Subscription
from app.definitions.outcome import Rejected
from app.definitions.what_if import branch_with
from app.meter.overview import OverviewQuery, UsageView
from app.meter.usage import AnalyticsQuery
from app.queries.trace import first_entry
from app.queries.usage_lines import UsageLines
from app.runtime.status import Tally
from app.wire.arrivals import SubscriptionKey
from bench.growth.spent import Spent
from bench.growth.world import DAY_MS, NOW_MS, ORG, TIMES, World, aged, name_of, names
from bench.world import charge_of, plan_of, subscription_of
from tables.reading.analytics import added_units
from tables.reading.preview import Preview, PreviewScope
from tables.reading.usage import current_usage
from tables.reading.verification import Verification
from tests.world.begun import begun


def usage(code: str, months: int) -> Spent:
    """Ask for current usage."""
    world = aged(months, code)
    return world.spent(partial(current_usage, world.state, at_ms=NOW_MS + 1), names())


def sampled(months: int) -> Spent:
    """Verify a subscription of an age, with an event a month, as workers do in the background."""
    world = aged(months)

    def verify(name: SubscriptionKey) -> None:
        job = begun(Verification(world.state, [name], recent=True))
        world.feed(job.feed, [name], job.refold.appended_from_ms)
        compared = list(filter(None, job.compare()))
        wrong = [each for one in compared for each in one.differences]
        wrong += [each for told in filter(None, job.compare_published()) for each in told]
        if wrong or not any(one.cells for one in compared):
            raise RuntimeError(f"verification finds {wrong} of {compared}")
        job.drop()

    return world.spent(verify, names())


def previewed(months: int) -> Spent:
    """Preview other groups of a plan that each has since today, and had another one for months."""
    world = aged(months)
    charges = world.charges[:4]
    world.now_ms = max(world.now_ms, NOW_MS)
    world.apply(commands.create_plan(ORG, {**plan_of(charges), "name": "next", "code": "next"}))
    for number in range(TIMES):
        told = {**subscription_of(number), "plan_code": "next"}
        ended = commands.terminate_subscription(ORG, str(told["external_id"]))
        for command in (ended, commands.create_subscription(ORG, told)):
            world.define(command)
            world.renew()
    now_ms = NOW_MS + DAY_MS
    world.definitions.append_time_ms = now_ms
    world.fold(world.each(at_ms=now_ms))
    plan = world.definitions.plan(ORG, "next")
    if plan is None:
        raise LookupError("the plan is gone")
    properties = {"amount": "1", "pricing_group_keys": ["group"]}
    others = [
        {**charge_of(each.metric_id), "id": each.id, "properties": properties}
        for each in plan.charges
    ]
    change = commands.update_plan(ORG, "next", {"charges": others})
    branch = drained(branch_with(world.definitions, ORG, [change], 0, now_ms + 1, now_ms))
    if isinstance(branch, Rejected):
        raise TypeError(str(branch))
    scope, changed = PreviewScope(0, now_ms + 1, now_ms), branch

    def preview(name: SubscriptionKey) -> None:
        job = begun(Preview(world.state, changed, [name], scope))
        world.feed(job.refold.feed, [name], job.refold.appended_from_ms)
        (found,) = filter(None, job.differences())
        if len(found) != 2:
            raise RuntimeError(f"{found} would differ")
        job.refold.drop()

    return world.spent(preview, names())


def published(subscriptions: int) -> Spent:
    """Compare what is published of a subscription, of so many that are verified at once."""
    world = World(subscriptions, recurs="balance")
    world.fold(world.event(number, "balance") for number in range(subscriptions))
    job = begun(Verification(world.state, [name_of(number) for number in range(subscriptions)]))
    job.feed(list(world.of(job.names)))
    told = job.compare_published()

    def compare(_: int) -> None:
        if next(each for each in told if each is not None):
            raise RuntimeError("verification finds what is not wrong")

    return world.spent(compare)


def overview(subscriptions: int) -> Spent:
    """Look at the overview page once its names are known."""
    world = World(subscriptions)
    world.fold(map(world.event, range(subscriptions)))
    world.flush()
    tally = Tally(work=world.state.work)
    lines = UsageLines(Turns(clock=lambda: 0.0), tally)
    query = OverviewQuery(organization_id=ORG)

    def look(_: int) -> tuple[list[UsageView], int]:
        return drained(lines.shown({0: world.state}, query, NOW_MS))

    views, _ = look(0)
    if not views:
        raise RuntimeError("the page shows no usage")
    return world.spent(look)


def analytics(subscriptions: int) -> Spent:
    """Look for what the days of a customer's one subscription added."""
    world = World(subscriptions)
    day = date(2026, 1, 15)
    looked_at: list[str] = []

    def days_of(subscription: Subscription) -> None:
        looked_at.append(subscription.external_customer_id)

    def ask(number: int) -> None:
        customer_id = str(subscription_of(number)["external_customer_id"])
        query = AnalyticsQuery(
            granularity="daily", from_date=day, to_date=day, external_customer_id=customer_id
        )
        looked_at.clear()
        drained(added_units(days_of, world.definitions, ORG, query))
        if looked_at != [customer_id]:
            raise RuntimeError(f"{looked_at} are looked at for {customer_id}")

    return world.spent(ask)


def event_by_id(subscriptions: int) -> Spent:
    """Find an event by its id alone, under all subscriptions of an organization."""
    world = World()
    for number in range(subscriptions):
        world.state.event_ranges.of(name_of(number), "calls")
    return world.spent(lambda _: drained(first_entry(world.owned, ORG, "t1")))
