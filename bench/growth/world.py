"""A partition without servers, as the rows need it: subscriptions of an age, and events."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from itertools import count, islice
from typing import Any, Literal

from msgspec.structs import replace

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from app.numbers import ZERO
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import Arrival, CorrectionArrival, SubscriptionKey, runs_of
from app.wire.events import Correction, Event
from app.wire.usage_records import PublishedRecord
from bench.growth.spent import Spent, spent
from bench.world import METRICS, apply_definition, charge_of, plan_of, subscription_of
from tables.changelogged.presence import LogsKept
from tables.closing.close import close_subscription, next_cut, settle
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.redirection import refolds_of
from tables.partition.refold import Refold
from tests.app.runtime.alone import NoProducer, context_of

ORG = "bench"
NOW_MS = 1_768_435_200_000
"""2026-01-15"""
DAY_MS = 86_400_000
SLICE = 1_000
RECURRING = {
    "balance": {"aggregation_type": "sum_agg", "field_name": "gb"},
    # One property for each subscription: the same one again and again.
    "seats": {"aggregation_type": "unique_count_agg", "field_name": "group"},
}
TIMES = 9
"""Operations a measurement; the last one is counted by steps."""
CORRECTED_FROM = 1 << 40
"""Offsets of corrections are above it."""


class World:
    """One organization on one partition."""

    def __init__(
        self,
        subscriptions: int = 0,
        months: int = 1,
        *,
        recurs: str | None = None,
        groups: bool = False,
        anniversaries: bool = False,
    ):
        """`recurs`: of `RECURRING`, the plan charges it, too. `groups`: the sum is by groups.

        `anniversaries`: each subscription begins at a time of its own, on one of 28 days.
        """
        self.definitions = Definitions()
        self.now_ms = NOW_MS - 40 * DAY_MS * months
        self.apply(commands.set_settings(SettingsRecord(grace_s=0)))
        bodies = list(METRICS)
        if recurs is not None:
            bodies.append({"name": recurs, "code": recurs, "recurring": True, **RECURRING[recurs]})
        metrics = [self.apply(commands.create_billable_metric(ORG, body)).object for body in bodies]
        self.charges = [charge_of(metric.id) for metric in metrics]
        if groups:
            self.charges[1]["properties"]["pricing_group_keys"] = ["group"]
        charges = self.charges[:4] + self.charges[len(METRICS) :]
        self.apply(commands.create_plan(ORG, plan_of(charges)))
        self._began_ms = NOW_MS - months * 2_629_800_000
        self._anniversaries = anniversaries
        for number in range(subscriptions):
            self.apply(self.subscribing(number))
        # Whoever ticks has told that nothing else is defined until then.
        self.definitions.append_time_ms = NOW_MS + DAY_MS
        self.state = Partition(0, self.definitions, EventIndex())
        self.state.event_ranges.most_undefined = 1 << 20
        self.owned = OwnedPartition(self.state, NoProducer(), context_of(self.definitions))
        self._taken: dict[SubscriptionKey, dict[str, list[Arrival]]] = {}
        """By code."""
        self._numbers = count()

    def charge_more(self, charges: int) -> None:
        """Give the plan so many charges more, each of a metric of its own."""
        for number in range(charges):
            metric = {"name": "n", "code": f"more{number}", "aggregation_type": "count_agg"}
            made = self.apply(commands.create_billable_metric(ORG, metric)).object
            self.charges.append(charge_of(made.id))
        more = {"charges": plan_of(self.charges[:4] + self.charges[-charges:])["charges"]}
        self.apply(commands.update_plan(ORG, "bench", more))
        self.definitions.append_time_ms = NOW_MS + DAY_MS

    def subscribing(self, number: int) -> Command:
        """Return the command that makes a subscription, a customer for each."""
        told, began_ms = subscription_of(number), self._began_ms
        if self._anniversaries:
            told["billing_time"] = "anniversary"
            began_ms -= number % 28 * DAY_MS + number * 1_000 % DAY_MS
        began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began_ms // 1000))
        return commands.create_subscription(ORG, {**told, "subscription_at": began})

    def override(self, number: int) -> None:
        """Make a subscription that has a plan of its own."""
        told = {**subscription_of(number), "plan_overrides": {"amount_cents": number}}
        self.apply(commands.create_subscription(ORG, told))

    def apply(self, command: Command) -> Applied:
        """Apply a command that has to be accepted."""
        self.now_ms += 1
        return apply_definition(self.definitions, command, self.now_ms)

    def define(self, command: Command) -> None:
        """Apply a command as a worker does: at once, without looking at whom it concerns."""
        impact, renewal = self.apply(command).impact, self.owned.renewal
        if impact is not None:
            renewal.define(impact, self.definitions.offset - 1, self.now_ms)
        renewal.pass_over(self.definitions.offset, self.now_ms)

    def begin_anew(self, number: int) -> None:
        """End a subscription, and begin it anew."""
        told = subscription_of(number)
        ended = commands.terminate_subscription(ORG, str(told["external_id"]))
        for command in (ended, commands.create_subscription(ORG, told)):
            self.define(command)
            self.renew()

    def renew(self) -> None:
        """Look at whom definitions concern, and refold what they send elsewhere."""
        keys = refolds_of(self.state.redefinition.renewing())
        if keys:
            self.refold(Refold(self.state, keys, redefined=keys))

    def take_over(self) -> None:
        """Look at whom definitions concern, and for the next cuts that they move."""
        looking = self.state.redefinition.renewing()
        drained(self.owned.renewal.taking_over(looking, NOW_MS))

    def refold(self, job: Refold) -> None:
        """Feed a refold what a ledger has of those it seeks, and swap."""
        names, codes = job.sought()
        self.feed(job.feed, names, job.appended_from_ms, codes)
        if not job.swap():
            raise RuntimeError("a refold waits for definitions")

    def feed(
        self,
        feed: Callable[[list[Arrival]], object],
        names: Iterable[SubscriptionKey],
        since_ms: int | None,
        codes: Collection[str] | None = None,
    ) -> None:
        """Read what a ledger has of some subscriptions."""
        for part in sliced(self.of(names, since_ms or -1, codes)):
            self.state.work.add("refold", "ledger_rows", len(part))
            feed(part)

    def spent(self, act: Callable[[Any], object], things: Iterable[Any] = range(TIMES)) -> Spent:
        """Do something with each, a subscription by its number; return what one time spends."""
        return spent([partial(act, each) for each in things], self.state.work)

    def spent_folding(self, events: Iterable[Arrival]) -> Spent:
        """Fold events one by one; return what one spends."""
        return self.spent(self.fold, [[each] for each in events])

    def of(
        self,
        names: Iterable[SubscriptionKey],
        since_ms: int = -1,
        codes: Collection[str] | None = None,
    ) -> Iterator[Arrival]:
        """Yield what was taken of some subscriptions, found without looking at others.

        `since_ms`: nor at what was appended before. `codes`: nor at events of others.
        """
        for name in set(names):
            by_code = self._taken.get(name, {})
            for code in by_code if codes is None else by_code.keys() & codes:
                found = by_code[code]
                first = bisect_left(found, since_ms, key=lambda arrival: arrival.append_time_ms)
                yield from islice(found, first, None)

    def event(
        self,
        number: int,
        code: str = "calls",
        at_ms: int = NOW_MS,
        *,
        transaction_id: str | None = None,
        appended_ms: int | None = None,
        group: int = 0,
    ) -> Arrival:
        """Make the next event of a subscription, with an amount as Lago's producer writes it."""
        offset = next(self._numbers)
        name = str(subscription_of(number)["external_id"])
        properties = offset % 64, offset % 100, group
        value = b'{"gb":1.25,"cores":%d,"user":"u%d","group":"g%d"}' % properties
        event = Event(ORG, name, transaction_id or f"t{offset}", code, at_ms, ZERO, value, b"")
        return Arrival(event, ORG, appended_ms or max(at_ms, self.now_ms), 0, offset, 0)

    def each(
        self,
        code: str = "calls",
        at_ms: int = NOW_MS,
        *,
        appended_ms: int | None = None,
        group: int = 0,
    ) -> list[Arrival]:
        """Make the next event of each subscription that operations are about."""
        return [
            self.event(number, code, at_ms, appended_ms=appended_ms, group=group)
            for number in range(TIMES)
        ]

    def fold(self, arrivals: Iterable[Arrival]) -> None:
        """Fold events as they come."""
        for part in sliced(arrivals):
            runs = runs_of(part)
            self.state.missing_members(runs)
            self.state.fold(runs)
            for arrival in part:
                by_code = self._taken.setdefault(arrival.name, {})
                by_code.setdefault(arrival.event.code, []).append(arrival)

    def bill_at_once(self) -> None:
        """Have the plan count events of a metric `prepaid` as well, each billed when it comes."""
        metric = {"name": "n", "code": "prepaid", "aggregation_type": "count_agg"}
        made = self.apply(commands.create_billable_metric(ORG, metric)).object
        charge = {**charge_of(made.id), "pay_in_advance": True}
        charges = plan_of([*self.charges[:4], charge])["charges"]
        self.apply(commands.update_plan(ORG, "bench", {"charges": charges}))

    def flush(self) -> None:
        """Take out what changed, as a flush does."""
        self.state.instants.let_rest()
        self.state.take_changes()
        self.state.index.seal_flush(self.state.checkpoint.flush)
        self.state.instants.at_rest.seal_flush(self.state.checkpoint.flush)

    def correct(
        self,
        arrival: Arrival,
        properties: bytes | None = None,
        appended_ms: int | None = None,
        *,
        known: bool = True,
    ) -> None:
        """Give an event other properties, or cancel it; `appended_ms`: now, if it does not say.

        `known`: whether the event has come.
        """
        event, offset = arrival.event, CORRECTED_FROM + next(self._numbers)
        name, identity = event.external_subscription_id, event.transaction_id
        amended = None if properties is None else replace(event, properties=properties)
        verb: Literal["amend", "cancel"] = "cancel" if amended is None else "amend"
        told = Correction(ORG, name, identity, verb, amended, f"c{offset}", b"")
        at_ms = NOW_MS + offset % 1_000_000 if appended_ms is None else appended_ms
        coming = CorrectionArrival(told, ORG, at_ms, 0, offset, 0)
        if self.state.corrected.correct(coming) != known:
            raise RuntimeError("a correction is refused")

    def close(self, number: int) -> list[PublishedRecord]:
        """Take the next cut of a subscription."""
        name = name_of(number)
        return list(close_subscription(self.state, name, next_cut(self.state, name)))

    def close_until(self, until_ms: int, subscriptions: int) -> None:
        """Take and settle all cuts up to a time of the first subscriptions, then forget."""
        names = [name_of(number) for number in range(subscriptions)]
        while (cut_ms := min(next_cut(self.state, name) for name in names)) <= until_ms:
            for name in names:
                if next_cut(self.state, name) == cut_ms:
                    list(close_subscription(self.state, name, cut_ms))
            settle(self.state, cut_ms)
            numbers = list(map(self.owned.cuts.schedule.number_of, names))
            self.owned.cuts.forgetting.note_due(numbers, cut_ms)
        drained(self.owned.cuts.forgetting.forgetting(LogsKept()))


def aged(months: int, code: str = "calls") -> World:
    """Make a world of subscriptions with an event in each month of their life."""
    world = World(TIMES, months, recurs=code if code in RECURRING else None)
    _pass_months(world, months, code)
    return world


def _pass_months(world: World, months: int, code: str = "calls") -> None:
    for month in range(months, -1, -1):
        at_ms = NOW_MS - month * 2_629_800_000
        world.fold(world.each(code, at_ms, appended_ms=at_ms + 3))
        world.close_until(at_ms, TIMES)
        world.flush()


def aged_and_corrected(months: int) -> World:
    """Make such a world, in which the first event of each was cancelled in its month."""
    world, first_ms = World(TIMES, months), NOW_MS - months * 2_629_800_000
    for number in range(TIMES):
        name = name_of(number)
        wrong = world.event(number, "calls", first_ms, appended_ms=first_ms + 1)
        world.fold([wrong])
        world.correct(wrong, appended_ms=first_ms + 2)
        keys = world.state.event_ranges.meter_keys_of(name)
        world.refold(Refold(world.state, keys, {name: next_cut(world.state, name)}))
    _pass_months(world, months)
    return world


def names() -> list[SubscriptionKey]:
    """Return the subscriptions that operations are about, one each."""
    return [name_of(number) for number in range(TIMES)]


def name_of(number: int) -> SubscriptionKey:
    """Name a subscription."""
    return ORG, str(subscription_of(number)["external_id"])


def sliced(arrivals: Iterable[Arrival]) -> Iterator[list[Arrival]]:
    """Yield arrivals by slices."""
    rest = iter(arrivals)
    while part := list(islice(rest, SLICE)):
        yield part
