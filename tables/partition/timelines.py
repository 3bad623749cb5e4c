"""Timelines: the periods of the subscriptions of an external id, made once and kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS, Due, Period
from app.definitions.state import Definitions
from app.definitions.terms import (
    CommonTerms,
    Shared,
    longest_waits_ms,
    subscription_timeline,
)
from app.definitions.timeline import Timeline
from app.definitions.versions import Versions
from app.wire.arrivals import SubscriptionKey
from tables.partition.at_hand import AtHand

Timelines = list[tuple[Versions[Subscription], Timeline]]
"""(versions, timeline) of every subscription of an external id, without canceled ones."""

FEW = 8
"""Most timelines of an external id that are all looked at."""

Left = tuple[Timelines, int, Timelines]
"""(all, a cut in ms, those that are left after it)."""


class TimelineTable:
    """Timelines of the external subscriptions of one partition."""

    def __init__(self, definitions: Definitions, at_hand: AtHand):
        self._definitions = definitions
        self._common = CommonTerms(definitions)
        self._at_hand = at_hand
        self._made: dict[SubscriptionKey, tuple[int, Timelines]] = {}
        """By name: (value of `_outdated` when they were made, timelines)."""
        self._names: dict[str, dict[SubscriptionKey, None]] = {}
        """By organization: whose timelines `_made` has."""
        self._running: dict[SubscriptionKey, Left] = {}
        """By name, of whoever has several: those with a period due after a cut."""
        self._open: dict[SubscriptionKey, Left] = {}
        """The same of those with a period that is not final, either."""
        self._stood: tuple[tuple[SubscriptionKey, int, int] | None, Timelines] = (None, [])
        """Timelines last made as of a time: ((name, that time, definitions offset), timelines)."""
        self._latest: tuple[tuple[SubscriptionKey, int] | None, int, Timelines] = (None, 0, [])
        """Timelines last made of some: ((name, definitions offset), place of the first, them)."""
        self._told: set[SubscriptionKey] = set()
        """Names of whom a definition was told since theirs were made."""
        self._outdated = 0
        self._old: dict[str | None, int] = {}
        """By organization (None: all), `_outdated` at its last change; older ones are stale."""

    def of(self, name: SubscriptionKey, until_ms: int | None = None) -> Timelines:
        """Return timelines under all definitions, or under those appended up to a time."""
        before: Timelines = []
        stands = False
        made = self._made.get(name) if until_ms is None else None
        if made is not None:
            made_at, before = made
            stands = made_at == self._outdated or self._is_since(name, made_at)
            if stands and name not in self._told:
                return before
        stood, standing = self._stood
        if stood is not None and stood[0] == name:
            if stood[1:] == (until_ms, self._definitions.offset):
                return standing
            before = before or standing
        subscriptions = self._definitions.subscriptions(*name)
        if not subscriptions:
            # Keep no entry: there may be any number of names that nothing defines.
            return []
        timelines = self._timelines_of(subscriptions, before, until_ms, stands=stands)
        if until_ms is None:
            self.lend(name, timelines)
            self._at_hand.note(name)
        else:
            self._stood = (name, until_ms, self._definitions.offset), timelines
        return timelines

    def _timelines_of(
        self,
        subscriptions: Iterable[Versions[Subscription]],
        before: Timelines,
        until_ms: int | None = None,
        *,
        stands: bool = False,
    ) -> Timelines:
        """Make timelines of subscriptions; `before`: some of them, under other definitions.

        `stands`: others than of these subscriptions changed nothing.
        """
        known = {id(each): timeline for each, timeline in before} if before else {}
        timelines = []
        for subscription in subscriptions:
            if _counts(subscription, until_ms):
                earlier = known.get(id(subscription))
                if stands and earlier is not None and _is_over_like(earlier, subscription):
                    timelines.append((subscription, earlier))
                    continue
                args = subscription, until_ms, earlier, self._common
                timelines.append((subscription, subscription_timeline(self._definitions, *args)))
        return timelines

    def _later_than(self, name: SubscriptionKey, at_ms: int) -> Timelines:
        """Return timelines of an external id that are not at hand, without those over by a time."""
        index, offset = self._definitions.subscription_index, self._definitions.offset
        first = index.over_by(name, at_ms)
        if not first:
            return self.of(name)
        about, known_first, latest = self._latest
        if about != (name, offset) or known_first > first:
            before = latest if about is not None and about[0] == name else []
            latest = self._timelines_of(index.later_of(name, first), before)
            self._latest = (name, offset), first, latest
        return latest

    def not_fixed(self, name: SubscriptionKey, at_ms: int, until_ms: int | None) -> Timelines:
        """Return timelines as `of` does, without those of many that were fixed by a time.

        No definition of later changes any period of theirs.
        """
        index = self._definitions.subscription_index
        if name not in index.over_ms:
            return self.of(name, until_ms)
        due_ms, _ = longest_waits_ms(self._definitions, name)
        first = index.over_by(name, at_ms - due_ms)
        if not first:
            return self.of(name, until_ms)
        return self._timelines_of(index.later_of(name, first), [], until_ms)

    def _ending_after(self, name: SubscriptionKey, from_ms: int, until_ms: int) -> Timelines:
        """Return those that may have a period that ends after an instant and starts until another.

        As they stand under all definitions: each ends before the next one begins. Of few all are.
        """
        timelines = self.of(name)
        if len(timelines) <= FEW:
            return timelines
        first = last = bisect_right(timelines, from_ms, key=_over_ms)
        while last < len(timelines):
            terms = timelines[last][1].terms
            if terms and all(until_ms < each.subscription.started_at_ms for each in terms):
                break
            last += 1
        return timelines[first:last]

    def next_due(self, name: SubscriptionKey, done_ms: int) -> int:
        """Return when a period of an external id is due first after a cut; NEVER_MS: none is."""
        known = name in self._made and self._is_fresh(name)
        due_ms = None if known else self._common.next_due(name, done_ms)
        if due_ms is not None:
            return due_ms
        dues_ms = [each.next_due(done_ms).at_ms for _, each in self.running(name, done_ms)]
        return min(dues_ms, default=NEVER_MS)

    def running(self, name: SubscriptionKey, done_ms: int) -> Timelines:
        """Return the timelines that may have a period due after a cut.

        One of a subscription that ended has none from some cut on, and is asked no more.
        """
        return self._left(self._running, name, done_ms, _is_running)

    def open(self, name: SubscriptionKey, done_ms: int) -> Timelines:
        """Return the timelines that may have a period due after a cut, or one that is not final."""
        return self._left(self._open, name, done_ms, _is_open)

    def _asked(self, name: SubscriptionKey, done_ms: int, *, for_open: bool) -> Timelines:
        """Return timelines that may have a period due after a cut, or open: many are not made."""
        definitions = self._definitions
        if name not in definitions.subscription_index.over_ms or self._is_fresh(name):
            return self.of(name)
        due_ms, final_ms = longest_waits_ms(definitions, name)
        known = (definitions.settings_at(-1), *definitions.settings.all())
        if for_open and any(each.fold_version == 1 for each in known):
            # It is open for good.
            return self.of(name)
        return self._later_than(name, done_ms - (final_ms if for_open else due_ms))

    def _left(
        self,
        kept: dict[SubscriptionKey, Left],
        name: SubscriptionKey,
        done_ms: int,
        stays: Callable[[Timeline, int], bool],
    ) -> Timelines:
        """Return the timelines that stay after a cut; who does not is asked no more."""
        timelines = left = self._asked(name, done_ms, for_open=kept is self._open)
        if len(timelines) < 2:
            return timelines
        if not self.has(name):
            return [each for each in left if stays(each[1], done_ms)]
        known = kept.get(name)
        if known is not None and known[0] is timelines and known[1] <= done_ms:
            left = known[2]
        left = [each for each in left if stays(each[1], done_ms)]
        kept[name] = timelines, done_ms, left
        return left

    def due_alone(
        self, name: SubscriptionKey, done_ms: int
    ) -> tuple[Subscription, Due, Shared] | None:
        """Return the one subscription of an external id, and what of it is due first after a cut.

        It never changed. With what it shares. None: its timelines are at hand, or have to be made.
        """
        alone = None if self._is_fresh(name) else self.alone(name)
        due = None if alone is None else alone[1].due_after(done_ms)
        return None if alone is None or due is None else (alone[0], due, alone[1])

    def shared(self, name: SubscriptionKey) -> Shared | None:
        """Return what an external id shares with others, if its one subscription never changed."""
        return self._common.shared(name)

    def alone(self, name: SubscriptionKey) -> tuple[Subscription, Shared] | None:
        """Return the one subscription of an external id that never changed, and what it shares."""
        lived = self._definitions.subscription_index.by_external_id.lived(name)
        if lived is None:
            return None
        life, one = lived
        shared = self._common.shared(name, life)
        return None if shared is None else (one, shared)

    def within(
        self, name: SubscriptionKey, from_ms: int, until_ms: int, shared: Timeline | None
    ) -> Iterator[Period]:
        """Yield periods of an external id that end after an instant and start until another.

        `shared`: what `telling` returns.
        """
        if shared is not None:
            return shared.within(from_ms, until_ms)
        timelines = self._ending_after(name, from_ms, until_ms)
        return chain.from_iterable(timeline.within(from_ms, until_ms) for _, timeline in timelines)

    def telling(self, name: SubscriptionKey, from_ms: int) -> Timeline | None:
        """Return what `shared_from` does, unless timelines of its own are at hand."""
        return None if self._is_fresh(name) else self.shared_from(name, from_ms)

    def shared_from(self, name: SubscriptionKey, from_ms: int) -> Timeline | None:
        """Return a timeline with the same periods that end after an instant; None: none is known.

        Many external ids share it.
        """
        shared = self._common.shared(name)
        first = None if shared is None else shared.timeline.holding(from_ms)
        if shared is None or first is None or first.start_ms < shared.since_ms:
            return None
        return shared.timeline

    def tell(self, name: SubscriptionKey) -> None:
        """Outdate the timelines of an external subscription, but of those that ended before."""
        if name in self._made:
            self._told.add(name)

    def lend(self, name: SubscriptionKey, timelines: Timelines) -> None:
        """Take over timelines that were made elsewhere, under the same definitions."""
        self._made[name] = self._outdated, timelines
        self._told.discard(name)
        self._names.setdefault(name[0], {})[name] = None

    def period_at(
        self, name: SubscriptionKey, timestamp_ms: int, until_ms: int | None = None
    ) -> Period | None:
        """Return the period of an external id that an event falls in, whatever its charges.

        Under all definitions, or under those appended until a time.
        """
        if until_ms is None:
            timelines = self._ending_after(name, timestamp_ms, timestamp_ms)
        else:
            timelines = self.of(name, until_ms)
        for _, timeline in timelines:
            period = timeline.holding(timestamp_ms)
            if period is not None:
                return period
        return None

    def is_late(
        self, name: SubscriptionKey, timestamp_ms: int, append_time_ms: int, recurs: bool
    ) -> bool:
        """Return whether a period that may show an event was due before it was appended.

        What recurs shows in later periods, too: one of them may be due first, and there need be
        none that holds the event.
        """
        if not recurs:
            period = self.period_at(name, timestamp_ms)
            return period is not None and period.due_at_ms < append_time_ms
        return any(
            period.due_at_ms < append_time_ms
            for _, timeline in self._ending_after(name, timestamp_ms, append_time_ms)
            for period in timeline.within(timestamp_ms, append_time_ms)
        )

    def names_of(self, organization_id: str) -> Iterable[SubscriptionKey]:
        """Return the external subscriptions of an organization that have timelines at hand."""
        return self._names.get(organization_id, ())

    def has(self, name: SubscriptionKey) -> bool:
        """Return whether the timelines of an external subscription are at hand."""
        return name in self._made

    def _is_fresh(self, name: SubscriptionKey) -> bool:
        """Return whether timelines are at hand, and nothing outdated them."""
        made = self._made.get(name)
        return made is not None and name not in self._told and self._is_since(name, made[0])

    def _is_since(self, name: SubscriptionKey, made_at: int) -> bool:
        """Return whether nothing outdated all timelines of an organization since some."""
        return made_at >= max(self._old.get(name[0], 0), self._old.get(None, 0))

    def outdate(self, organization_id: str | None) -> None:
        """Outdate the timelines of an organization; None: of all."""
        self._outdated += 1
        self._old[organization_id] = self._outdated

    def forget(self, name: SubscriptionKey) -> None:
        """Drop the timelines of an external subscription; the next look-up makes them again."""
        if self._made.pop(name, None) is not None:
            names = self._names[name[0]]
            del names[name]
            if not names:
                del self._names[name[0]]
        self._told.discard(name)
        self._running.pop(name, None)
        self._open.pop(name, None)


def _is_over_like(timeline: Timeline, subscription: Versions[Subscription]) -> bool:
    """Return whether a timeline is of one that ended, and of its newest version."""
    terms = timeline.terms
    return timeline.over_ms < NEVER_MS and terms[-1].subscription is subscription.at()


def _over_ms(one: tuple[Versions[Subscription], Timeline]) -> int:
    return one[1].over_ms


def _is_running(timeline: Timeline, done_ms: int) -> bool:
    """Return whether a period is due after a cut."""
    return timeline.next_due(done_ms).at_ms < NEVER_MS


def _is_open(timeline: Timeline, done_ms: int) -> bool:
    """Return whether a period is due after a cut, or not final."""
    return _is_running(timeline, done_ms) or any(timeline.open_at(done_ms + 1))


def _counts(subscription: Versions[Subscription], until_ms: int | None = None) -> bool:
    """Return True if the subscription was made by then, and not canceled."""
    newest = subscription.at(until_ms)
    return newest is not None and newest.canceled_at_ms is None
