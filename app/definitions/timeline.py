"""The periods of one subscription and when each is due, from the definitions log alone.

A period is fixed once its due time is reached under the definitions known by then
(records-and-cuts §2). A later change shapes only the periods after it.

It has over 500 lines: what finds periods by arithmetic is the other way round of what makes them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import count
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.alike_terms import AlikeTerms, Terms
from app.definitions.model import EXACT_ENDS, WHOLE_ENDS, ClosingReason, Subscription

T = TypeVar("T")

NEVER_MS = 1 << 62
"""Later than any instant: the due time of a period that is never published."""

TIMEZONE_SHIFT_MS = 26 * 3600 * 1000 + 1
"""Two readings of one period start in different timezones differ by less (billing-periods §7).

From 14 hours east to 12 hours west it is 26 hours. Before `WHOLE_ENDS` these were not met.
"""


class Period(NamedTuple):
    """One usage period, half-open [start_ms, end_ms)."""

    start_ms: int
    end_ms: int
    to_ms: int
    """As printed: next start - 1 s, or the end instant floored to the second."""
    last_ms: int
    """The last instant as days are counted: end - 1 ms, or the instant of termination."""
    duration_days: int
    timezone: str
    fixed_at_ms: int
    """From here on no definition changes the period, but a history record."""
    due_at_ms: int
    """The time of its first cut: `fixed_at_ms`, or NEVER_MS when it is not published."""
    late_until_ms: int
    """Events appended after it are too late."""
    closing_reason: ClosingReason
    upgraded: bool
    """Cut short by an upgrade: its last day belongs to the new plan."""
    refuses_late: bool = False
    """Events appended after it is due are refused, instead of revising it."""
    revise_every_ms: int = 3_600_000
    """Once due, it is revised at multiples of this only."""
    max_groups: int = 10_000
    fold_version: int = 2
    """Version of the rules by which it closes."""
    end_rules: int = 0
    """Number of `SettingsRecord.end_rules` by which it ends."""

    @property
    def open_until_ms(self) -> int:
        """Events appended after it do not change the period, but by a correction."""
        return self.due_at_ms if self.refuses_late else self.late_until_ms

    @property
    def final_ms(self) -> int:
        """Return the last cut that shows late events; later ones show corrections."""
        return ceil_to(self.late_until_ms, self.revise_every_ms)

    @property
    def carries_until_ms(self) -> int:
        """The same for recurring metrics, whose events later periods show instead."""
        return self.open_until_ms if self.fold_version > 1 else NEVER_MS


class Due(NamedTuple):
    """The next cut at which periods of a subscription are published first."""

    done_ms: int
    """The cut that it comes after; there is none between them."""
    at_ms: int
    """NEVER_MS: there is none."""
    periods: tuple[tuple[Period, Period | None], ...]
    """Each with the one before it."""
    shared_ms: int
    """It is also what is due first of whoever has the same periods from then on, and no others.

    Each follows one that begins then or later, and is due by the cut. -NEVER_MS: it is nobody's.
    """

    @classmethod
    def of(cls, done_ms: int, at_ms: int, periods: tuple[tuple[Period, Period | None], ...]) -> Due:
        """Make it of the periods that are due then."""
        begin_ms = [
            earlier.start_ms
            for _, earlier in periods
            if earlier is not None and earlier.start_ms < earlier.due_at_ms <= done_ms
        ]
        is_shared = bool(periods) and len(begin_ms) == len(periods)
        return cls(done_ms, at_ms, periods, min(begin_ms) if is_shared else -NEVER_MS)


class _Stretch:
    """Periods that follow each other, made as far as they are asked for."""

    __slots__ = ("made_under", "more", "periods", "starts_ms", "whole")

    def __init__(self, more: Iterator[tuple[int, Period]]):
        self.more = more
        self.periods: list[Period] = []
        self.starts_ms: list[int] = []
        self.made_under: list[int] = []
        """Number of the terms that made each period."""
        self.whole = False
        """Whether there is no period after these."""

    def holding(self, at_ms: int) -> Period | None:
        """Return the period that holds the instant; None: no period of the stretch does."""
        self.reach(at_ms)
        i = bisect_right(self.starts_ms, at_ms) - 1
        if i < 0 or at_ms >= self.periods[i].end_ms:
            return None
        return self.periods[i]

    def after(self, start_ms: int) -> Iterator[Period]:
        """Yield periods that start after `start_ms`, in order."""
        i = bisect_right(self.starts_ms, start_ms)
        while i < len(self.periods) or self.advance():
            if self.periods[i].start_ms > start_ms:
                yield self.periods[i]
            i += 1

    def is_near(self, at_ms: int) -> bool:
        """Return whether it has made the periods around an instant, but for a few."""
        if not self.periods:
            return False
        last = self.periods[-1]
        near_ms = last.end_ms + _NEAR_PERIODS * (last.end_ms - last.start_ms)
        return self.starts_ms[0] <= at_ms and (self.whole or at_ms < near_ms)

    def reach(self, at_ms: int) -> None:
        """Make the periods up to the one that holds an instant."""
        while (not self.periods or self.periods[-1].end_ms <= at_ms) and self.advance():
            pass

    def begin_after(self, at_ms: int) -> None:
        """Begin with the first period that ends after an instant, or else with the last one.

        Between earlier ones some may have been passed over.
        """
        while self.advance() and self.periods[-1].end_ms <= at_ms:
            pass
        for each in (self.periods, self.starts_ms, self.made_under):
            del each[:-1]

    def advance(self) -> bool:
        """Make one period more; return False if there is none."""
        made = next(self.more, None)
        if made is None:
            self.whole = True
            return False
        under, period = made
        self.made_under.append(under)
        self.periods.append(period)
        self.starts_ms.append(period.start_ms)
        return True


class Timeline:
    """Periods of one subscription, made as far as they are asked for.

    It is a snapshot: a definition that touches the subscription makes a new one. What lies between
    its first periods and those of now is not kept.
    """

    __slots__ = (
        "_begun",
        "_due",
        "_due_before",
        "_kept",
        "_last",
        "_recent",
        "lasting",
        "published",
        "terms",
    )

    def __init__(self, terms: Sequence[Terms], published: bool = True):
        self.terms = terms
        self.published = published
        """False for the implicit plan: its periods are never due."""
        self.lasting = _lasting_in(terms)
        """The only terms, if nothing changed since it was made and nothing ends it; else None."""
        self._kept: dict[str, tuple[object, Sequence[Any]]] | None = None
        """By name, what somebody made of its periods, and by what; None: nothing is kept."""
        self._begun: _Stretch | None = None
        """Periods from the first one on; None: nobody asked for what `_running_at` cannot tell."""
        self._recent: _Stretch | None = None
        """Periods around the instant that was asked for last, found by arithmetic."""
        self._last: Period | None = None
        """Period that was found last: most events fall into it, too."""
        self._due: Due | None = None
        """What `next_due` found last: who waits for a cut asks again when it is taken."""
        self._due_before: Due | None = None
        """What it found before: all who share it ask for what a cut is of, and what follows."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let another process make its periods again: they follow from the terms."""
        return Timeline, (self.terms, self.published)

    def under(self, terms: Sequence[Terms]) -> Timeline:
        """Return the timeline under other terms; periods fixed before the terms differ are kept."""
        if terms == self.terms:
            return self
        timeline = Timeline(terms, self.published)
        since_ms = _differ_ms(self.terms, terms)
        fixed, first = 0, self._first
        while fixed < len(first.periods) and first.periods[fixed].fixed_at_ms < since_ms:
            fixed += 1
        if fixed:
            kept = timeline._first
            kept.periods = first.periods[:fixed]
            kept.starts_ms = first.starts_ms[:fixed]
            kept.made_under = first.made_under[:fixed]
            kept.more = _periods(terms, previous=kept.periods[-1], first=kept.made_under[-1])
        return timeline

    def differs_ms(self, other: Timeline) -> int:
        """Return when the first period is fixed that may differ from that of another timeline."""
        if not self.terms or not other.terms:
            return -NEVER_MS
        return _differ_ms(self.terms, other.terms)

    def holding(self, at_ms: int) -> Period | None:
        """Return the period that holds the instant; None before the start or after the end."""
        last = self._last
        if last is not None and last.start_ms <= at_ms < last.end_ms:
            return last
        found = self._running_at(at_ms)
        if found is None and not (len(self.terms) > 1 and self.over_ms <= at_ms):
            found = self._around(at_ms).holding(at_ms)
        if found is not None:
            self._last = found
        return found

    @property
    def steady(self) -> Terms | None:
        """The first terms, if it has a period and those later move no timezone, plan or start.

        None: it may be otherwise. `lasting` is one of a kind of these.
        """
        terms = self.terms
        if not terms:
            return None
        first = terms[0]
        plan_id, start_ms = first.subscription.plan_id, first.subscription.started_at_ms
        if isinstance(terms, AlikeTerms):
            if terms.moves:
                return None
            # All else is said of one subscription.
            terms = (first,)
        timezone, one, grid = first.grid.timezone, None, first.grid
        for entry in terms:
            # Most change neither: what is told of settings is the same subscription's.
            if entry.grid is not grid:
                grid = entry.grid
                if grid.timezone != timezone:
                    return None
            if entry.subscription is one:
                continue
            one = entry.subscription
            end_ms = one.usage_end_ms
            if one.plan_id != plan_id or one.started_at_ms != start_ms:
                return None
            if one.canceled_at_ms is not None or (end_ms is not None and end_ms <= start_ms):
                return None
        return first

    @property
    def over_ms(self) -> int:
        """When all periods have ended: no end was ever moved to before it; NEVER_MS: never."""
        end_ms = self.terms[-1].subscription.usage_end_ms if self.terms else None
        return NEVER_MS if end_ms is None else end_ms

    @property
    def open_for_ms(self) -> int:
        """How long after its due time a period may be revised, at the most."""
        late_ms = max(map(_LATE_WINDOW_MS, self.terms), default=0)
        return late_ms + max(map(_REVISE_EVERY_MS, self.terms), default=0)

    @property
    def first(self) -> Period | None:
        """The first period; None: there is none."""
        first = self._first
        return first.periods[0] if first.periods or first.advance() else None

    @property
    def _first(self) -> _Stretch:
        """Periods from the first one on."""
        if self._begun is None:
            self._begun = _Stretch(_periods(self.terms))
        return self._begun

    def until(self, at_ms: int) -> list[Period]:
        """Return every period that starts at or before the instant, in order."""
        first = self._first
        first.reach(at_ms)
        return first.periods[: bisect_right(first.starts_ms, at_ms)]

    def reaching(self, at_ms: int) -> Steps[None]:
        """Make the periods that `until` returns, by steps: there may be thousands."""
        first, made = self._first, 0
        while (not first.periods or first.periods[-1].end_ms <= at_ms) and first.advance():
            made += 1
            if made % STEP_ITEMS == 0:
                yield

    def after(self, start_ms: int) -> Iterator[Period]:
        """Yield periods that start after `start_ms`, in order; endless while nothing ends them."""
        return self._around(start_ms).after(start_ms)

    def overtaking(self, period: Period) -> Iterator[Period]:
        """Yield periods after one, in order, if any of them may be due before it."""
        lasting = self.lasting
        if lasting is not None and lasting.since_ms < period.end_ms:
            # Each is due once it is over and its grace past.
            return iter(())
        return self.after(period.start_ms)

    def within(self, from_ms: int, until_ms: int) -> Iterator[Period]:
        """Yield periods that end after an instant and start at or before another, in order."""
        if from_ms > until_ms:
            return
        holding = self.holding(from_ms)
        if holding is not None:
            yield holding
        elif len(self.terms) > 1 and self.over_ms <= from_ms:
            return
        for period in self.after(from_ms):
            if period.start_ms > until_ms:
                break
            yield period

    def has_any(self, start_ms: int, before_ms: int) -> bool:
        """Return whether any period has a part in a time."""
        return next(self.within(start_ms, before_ms - 1), None) is not None

    def due_after(self, done_ms: int) -> Iterator[Period]:
        """Yield periods in order, without most of those that are due by then or never will be.

        By arithmetic on the grid: what it costs does not hang on how long ago the first one was.
        """
        return (period for _, period in _periods(self.terms, done_ms))

    def next_due(self, done_ms: int) -> Due:
        """Return the periods that are due first after a cut."""
        due, before = self._due, self._due_before
        if due is not None and due.done_ms <= done_ms < due.at_ms:
            return due
        if before is not None and before.done_ms <= done_ms < before.at_ms:
            return before
        found = self._found_due(done_ms)
        self._due, self._due_before = found, due
        return found

    def _found_due(self, done_ms: int) -> Due:
        newest = self.terms[-1] if self.terms else None
        if newest is not None:
            regular_ms = _regular_ms(newest)
            if regular_ms <= done_ms:
                due = _running_due(done_ms, newest[2:])
                period, earlier = due.periods[0]
                if earlier is not None and regular_ms <= earlier.start_ms:
                    return due
                known = self._due.periods[-1:] if self._due is not None else ()
                if known and known[0][0].end_ms == period.start_ms >= regular_ms:
                    # What is due first begins with it, as ever, but follows one of its own.
                    periods = ((period, known[0][0]), *due.periods[1:])
                    return Due.of(done_ms, due.at_ms, periods)
        return _first_due(done_ms, self.due_after(done_ms))

    def fixed_since(self, at_ms: int, until_ms: int) -> list[Period]:
        """Return the periods fixed at or after `at_ms` that start until `until_ms`, in order."""
        if at_ms <= -NEVER_MS:
            return self.until(until_ms)
        if at_ms >= NEVER_MS:
            return []
        first, found = self._first, list[Period]()
        if len(first.periods) <= _NEAR_PERIODS and first.is_near(until_ms):
            return [period for period in self.until(until_ms) if period.fixed_at_ms >= at_ms]
        for _, period in _periods(self.terms, at_ms - 1, skips_never=False):
            if period.start_ms > until_ms:
                break
            if period.fixed_at_ms >= at_ms:
                found.append(period)
        return found

    def parting(self, alike_until_ms: Callable[[Period], int]) -> Iterator[Period]:
        """Yield periods in order, without most of those like the one that is yielded before.

        `alike_until_ms`: of a period, when the first one after it is fixed that may be another,
        as far as they stand under the same terms.
        """
        if not self.terms:
            return iter(self)
        periods = _periods(self.terms, alike_until_ms=alike_until_ms)
        return (period for _, period in periods)

    def kept(self, name: str, by: object, make: Callable[[], Sequence[T]]) -> Sequence[T]:
        """Return what is made of all periods, kept under a name if nothing comes after them.

        `by`: what makes it; another one makes it again.
        """
        if self.over_ms >= NEVER_MS:
            return make()
        if self._kept is None:
            self._kept = {}
        known = self._kept.get(name)
        if known is None or known[0] is not by:
            known = self._kept[name] = by, make()
        return known[1]

    def open_after(self, at_ms: int, start_ms: int) -> Iterator[Period]:
        """Yield periods that start at or after `start_ms`, in order.

        Without most of those that events appended at `at_ms` or later do not change.
        """
        if at_ms - start_ms < _LATE_MS or any(each.fold_version == 1 for each in self.terms):
            return self.after(start_ms - 1)
        # Whatever starts by then is due later.
        done_ms = max(at_ms - max(map(_LATE_WINDOW_MS, self.terms)) - 1, start_ms)
        periods = _periods(self.terms, done_ms)
        return (period for _, period in periods if period.start_ms >= start_ms)

    def showing(self, at_ms: int, start_ms: int, before_ms: int) -> Iterator[Period]:
        """Yield the same periods, without most of those that have no cut between two times either.

        Not before `before_ms`, of all cuts since `at_ms`.
        """
        periods, terms = self.open_after(at_ms, start_ms), self.terms
        if self.revised_ms(at_ms) < before_ms:
            # Any of them may be revised earlier.
            yield from periods
            return
        open_ms = min(0 if each.refuses_late else each.late_window_ms for each in terms)
        for period in periods:
            if period.end_ms + open_ms >= before_ms:
                break
            yield period
            start_ms = period.end_ms
        for _, period in _periods(terms, at_ms - 1):
            if period.start_ms >= start_ms:
                yield period

    def revised_ms(self, at_ms: int) -> int:
        """Return the first instant since another at which any period may be revised."""
        return ceil_to(at_ms, min(map(_REVISE_EVERY_MS, self.terms)))

    def open_at(self, cut_ms: int) -> Iterator[Period]:
        """Yield the periods that begin until a cut and are not final before it, in order."""
        first = self.first
        if first is None:
            return
        every_ms = max(map(_REVISE_EVERY_MS, self.terms))
        for period in self.open_after(cut_ms - every_ms, first.start_ms):
            if period.start_ms > cut_ms:
                break
            if period.final_ms >= cut_ms or period.fold_version == 1:
                yield period

    def __iter__(self) -> Iterator[Period]:
        return self._first.after(-NEVER_MS)

    def _running_at(self, at_ms: int) -> Period | None:
        """Return the period that holds an instant, where one look at the grid tells; else None."""
        entry, terms = self.lasting, self.terms
        if entry is not None:
            began_ms, grid = entry.subscription.started_at_ms, entry.grid
            if at_ms < began_ms:
                return None
            start_ms = max(began_ms, grid.start_ms(grid.index_at(at_ms)))
            return _running_under(start_ms, entry, entry.since_ms)
        if len(terms) < 2:
            return None
        entry = terms[-1]
        regular_ms = _regular_ms(entry)
        if at_ms < regular_ms or regular_ms >= NEVER_MS:
            return None
        start_ms = entry.grid.start_ms(entry.grid.index_at(at_ms))
        return (
            _running_under(start_ms, entry, terms[0].since_ms) if regular_ms <= start_ms else None
        )

    def _around(self, at_ms: int) -> _Stretch:
        """Return a stretch that has the period holding an instant, and all after it."""
        first, recent = self._first, self._recent
        begins = bool(first.periods) or first.advance()
        if not begins or at_ms < first.starts_ms[0] or first.is_near(at_ms):
            return first
        if recent is not None and recent.is_near(at_ms):
            return recent
        # As far back as late events mostly are, so that these do not ask for others.
        recent = _Stretch(_periods(self.terms, at_ms - _LATE_MS, skips_never=False))
        recent.begin_after(at_ms - _LATE_MS)
        if recent.periods and recent.starts_ms[0] > first.starts_ms[-1]:
            self._recent = recent
            return recent
        # No period was passed over.
        return first


def _regular_ms(newest: Terms) -> int:
    """Return when one period of the grid follows another from then on; NEVER_MS: it may end.

    Under the newest terms, with no reading of the time that parts a period from the grid's.
    """
    subscription = newest.subscription
    if _may_end(subscription):
        return NEVER_MS
    return max(newest.since_ms, subscription.started_at_ms) + TIMEZONE_SHIFT_MS


def _lasting_in(terms: Sequence[Terms]) -> Terms | None:
    """Return the only terms of whom nothing ends; None: there are others, or it has an end."""
    if len(terms) != 1:
        return None
    (entry,) = terms
    return None if _may_end(entry.subscription) else entry


def _may_end(subscription: Subscription) -> bool:
    """Return whether anything ends a subscription, now or at a time to come."""
    return subscription.usage_end_ms is not None or subscription.canceled_at_ms is not None


def _first_due(done_ms: int, periods: Iterable[Period]) -> Due:
    """Return those of some periods in order that are due first after a cut."""
    earliest_ms = NEVER_MS
    found: list[tuple[Period, Period | None]] = []
    earlier: Period | None = None
    for period in periods:
        # A termination has no grace: it may be due before the period that is in grace before it.
        if done_ms < period.due_at_ms < earliest_ms:
            earliest_ms, found = period.due_at_ms, [(period, earlier)]
        elif period.due_at_ms == earliest_ms < NEVER_MS:
            found.append((period, earlier))
        # The next begins there, and is due later than it begins.
        if period.end_ms >= earliest_ms:
            break
        earlier = period
    return Due.of(done_ms, earliest_ms, tuple(found))


def _differ_ms(one: Sequence[Terms], other: Sequence[Terms]) -> int:
    """Return since when terms differ from others; NEVER_MS: they do not."""
    pairs = enumerate(zip(one, other, strict=False))
    alike = min(len(one), len(other))
    common = next((number for number, (ours, theirs) in pairs if ours != theirs), alike)
    return min((each[common].since_ms for each in (one, other) if each[common:]), default=NEVER_MS)


_NEAR_PERIODS = 8
"""Most periods that are made one after the other, rather than one of them by arithmetic."""
_LATE_MS = 45 * 86_400 * 1000


class FixedPeriods(Timeline):
    """Given periods that are never due: every event counts from cut 0 on."""

    __slots__ = ()

    def __init__(self, periods: Iterable[Period]):
        super().__init__([], False)
        self._begun = _Stretch((0, period) for period in periods)


class _UnmadeEnd(NamedTuple):
    """The end of a period that is not made, because nobody asks for it."""

    end_ms: int
    timezone: str


def _periods(
    terms: Sequence[Terms],
    done_ms: int | None = None,
    *,
    skips_never: bool = True,
    alike_until_ms: Callable[[Period], int] | None = None,
    previous: Period | _UnmadeEnd | None = None,
    first: int = 0,
) -> Iterator[tuple[int, Period]]:
    """Yield periods in order: each fixed by the first terms under which its due time is reached.

    With the number of the terms that made it. `done_ms`: as `Timeline.due_after` has them, or also
    those that are never due and not fixed by then. `alike_until_ms`: as `Timeline.parting` has
    them. `previous`, made under the terms number `first`: those after it.
    """
    created_ms = terms[0].since_ms if terms else NEVER_MS
    if done_ms is not None and len(terms) >= _FEW_TERMS:
        first, previous = _lately(terms, done_ms) or (first, previous)
    for i in range(first, len(terms)):
        entry = terms[i]
        changes_ms = terms[i + 1].since_ms if i + 1 < len(terms) else NEVER_MS
        opening = _opening(terms, i) if previous is None else None
        if done_ms is not None:
            args = previous or opening, entry, created_ms, done_ms, changes_ms
            passed = _passed(*args, skips_never=skips_never)
            previous = None if passed is opening else passed
        while True:
            period = _next_period(previous or opening, entry, created_ms)
            if period is None:
                break
            if period.fixed_at_ms >= changes_ms:
                if not _ended_in_grace(period, entry, created_ms, changes_ms):
                    break
                # A period after it is fixed, and with it where this one ends: only its due time
                # is not.
                period = _due_under(period, terms[i + 1 :], created_ms)
            yield i, period
            previous = period
            if alike_until_ms is None:
                continue
            # The next two periods are as quickly made as passed over.
            near_ms = 3 * period.end_ms - 2 * period.start_ms
            if near_ms < changes_ms:
                until_ms = min(alike_until_ms(period), changes_ms)
                if near_ms < until_ms < NEVER_MS:
                    args = previous, entry, created_ms, until_ms - 1, changes_ms
                    previous = _passed(*args, skips_never=False)


def _opening(terms: Sequence[Terms], number: int) -> _UnmadeEnd | None:
    """Return what a first period follows under some terms, if its timezone moved since its start.

    None if the next post is still to come as it was read at the start: it ends the period as ever.
    """
    entry = terms[number]
    start_ms, grid = entry.subscription.started_at_ms, entry.grid
    held = bisect_right(terms, start_ms, hi=number + 1, key=_SINCE_MS)
    began = terms[max(held - 1, 0)].grid
    if entry.end_rules < EXACT_ENDS or began.timezone == grid.timezone:
        return None
    post_ms = grid.start_ms(grid.index_at(start_ms) + 1)
    passed = began.start_nearest_ms(post_ms) <= start_ms
    return _UnmadeEnd(start_ms, began.timezone) if passed else None


def _lately(terms: Sequence[Terms], done_ms: int) -> tuple[int, _UnmadeEnd] | None:
    """Return the number of terms, and where a period begins before which all are fixed by a cut.

    The first ones after it are, too. None: it cannot be told without all terms before. Whatever
    changed, a grid has its own periods once two have passed, where nothing moves start or end.
    """
    subscription, created_ms = terms[-1].subscription, terms[0].since_ms
    if _may_end(subscription):
        return None
    waits_ms = max(map(_GRACE_MS, terms)) + max(map(_CLOSE_GRID_MS, terms))
    newest = bisect_right(terms, done_ms - waits_ms, key=_SINCE_MS) - 1
    if newest < 0:
        return None
    grid = terms[newest].grid
    k = grid.index_at(done_ms - waits_ms) - 1
    start_ms, before_ms = grid.start_ms(k), grid.start_ms(k - 2)
    if before_ms < max(created_ms, subscription.started_at_ms):
        return None
    holding = bisect_right(terms, start_ms, key=_SINCE_MS) - 1
    before = bisect_right(terms, before_ms, key=_SINCE_MS) - 1
    if any(each.grid != grid for each in terms[before:newest]):
        return None
    changes_ms = terms[newest + 1].since_ms if newest + 1 < len(terms) else NEVER_MS
    fixed_ms = _fixed_at(start_ms, False, terms[newest], created_ms)
    # Else terms came and went so fast that none of them had it due.
    return (holding, _UnmadeEnd(start_ms, grid.timezone)) if fixed_ms < changes_ms else None


_FEW_TERMS = 4
"""Fewer terms are gone through."""
_SINCE_MS = attrgetter("since_ms")
_GRACE_MS = attrgetter("grace_ms")
_CLOSE_GRID_MS = attrgetter("close_grid_ms")
_LATE_WINDOW_MS = attrgetter("late_window_ms")
_REVISE_EVERY_MS = attrgetter("revise_every_ms")


def _passed(
    previous: Period | _UnmadeEnd | None,
    terms: Terms,
    created_ms: int,
    done_ms: int,
    changes_ms: int,
    *,
    skips_never: bool,
) -> Period | _UnmadeEnd | None:
    """Return where the periods that need not be made end, without the last of them.

    The last of them is made after all: closing the next one may need it.
    """
    subscription, grid = terms.subscription, terms.grid
    if subscription.canceled_at_ms is not None:
        return previous
    # As `_fixed_at` and `due_at_ms` have it, the other way round.
    fixed_ms = min(done_ms, changes_ms - 1) // terms.close_grid_ms * terms.close_grid_ms
    reachable = max(created_ms + terms.grace_ms, terms.since_ms) <= fixed_ms
    until_ms = fixed_ms - terms.grace_ms if reachable else -NEVER_MS
    never_due = skips_never and not terms.close_elapsed
    if never_due and _fixed_at(created_ms, False, terms, created_ms) < changes_ms:
        until_ms = max(until_ms, created_ms)
    if subscription.usage_end_ms is not None:
        until_ms = min(until_ms, subscription.usage_end_ms - 1)
    start_ms = subscription.started_at_ms if previous is None else previous.end_ms
    if until_ms <= start_ms:
        return previous
    k = grid.index_at(until_ms) - 1
    if k <= _index_after(previous, terms, start_ms):
        return previous
    return _UnmadeEnd(grid.start_ms(k), grid.timezone)


def _ended_in_grace(period: Period, terms: Terms, created_ms: int, until_ms: int) -> bool:
    """Return True if the subscription ended, without grace, while a period was in grace.

    By the rules of version 1: since version 2 every end has the grace of a period.
    """
    end_ms = terms.subscription.end_ms
    if end_ms is None or end_ms >= until_ms:
        return False
    following: Period | None = period
    while following is not None and following.fixed_at_ms >= until_ms:
        following = _next_period(following, terms, created_ms)
    return following is not None


def _due_under(period: Period, later: Sequence[Terms], created_ms: int) -> Period:
    """Return the period with the due time that later terms give it."""
    for i, terms in enumerate(later):
        fixed_at_ms = _fixed_at(period.end_ms, False, terms, created_ms)
        if i + 1 == len(later) or fixed_at_ms < later[i + 1].since_ms:
            break
    skipped = not terms.close_elapsed and period.end_ms <= created_ms
    due_at_ms = NEVER_MS if skipped else fixed_at_ms
    return period._replace(
        fixed_at_ms=fixed_at_ms,
        due_at_ms=due_at_ms,
        late_until_ms=due_at_ms + terms.late_window_ms,
        refuses_late=terms.refuses_late,
        revise_every_ms=terms.revise_every_ms,
        max_groups=terms.max_groups,
        fold_version=terms.fold_version,
        end_rules=terms.end_rules,
    )


def _shift_ms(terms: Terms) -> int:
    """Return what two readings of one start differ by less than, as the terms have it."""
    return TIMEZONE_SHIFT_MS if terms.end_rules >= WHOLE_ENDS else TIMEZONE_SHIFT_MS - 1


def _index_after(previous: Period | _UnmadeEnd | None, terms: Terms, start_ms: int) -> int:
    """Return which period of the grid begins where `previous` ends."""
    grid = terms.grid
    k = grid.index_at(start_ms)
    if (
        previous is not None
        and previous.timezone != grid.timezone
        and grid.start_ms(k + 1) - start_ms < _shift_ms(terms)
    ):
        # The same post read in another timezone: neither a hole nor a period of a few hours.
        k += 1
    return k


def _next_period(
    previous: Period | _UnmadeEnd | None, terms: Terms, created_ms: int
) -> Period | None:
    """Return the period after `previous`; None when the subscription has ended."""
    subscription, grid = terms.subscription, terms.grid
    if subscription.canceled_at_ms is not None:
        return None
    start_ms = subscription.started_at_ms if previous is None else previous.end_ms
    wished_ms = subscription.usage_end_ms
    if wished_ms is None and (previous is None or previous.timezone == grid.timezone):
        running = _running_under(start_ms, terms, created_ms)
        if running is not None:
            return running
    k = _index_after(previous, terms, start_ms)
    natural_end_ms = grid.start_ms(k + 1)
    ended_ms = wished_ms if wished_ms is not None and wished_ms <= natural_end_ms else None
    if ended_ms is None and _waits_behind(natural_end_ms, terms):
        ended_ms = wished_ms
    if ended_ms == natural_end_ms and subscription.superseded_at_ms == ended_ms:
        # The period after it is the one that a later subscription has taken over.
        ended_ms = None
    end_ms = natural_end_ms if ended_ms is None else ended_ms
    if end_ms <= start_ms:
        return None
    fixed_at_ms = _fixed_at(end_ms, ended_ms is not None, terms, created_ms)
    reason = _closing_reason(subscription, ended_ms)
    skipped = not terms.close_elapsed and end_ms <= created_ms
    if reason == "termination" and terms.fold_version > 1:
        skipped = skipped or subscription.on_termination_invoice == "skip"
    if ended_ms is not None and subscription.superseded_at_ms == ended_ms:
        # Its end skips the period, whatever was meant to end it when this part was over.
        skipped = True
    due_at_ms = NEVER_MS if skipped else fixed_at_ms
    # What ends with the period itself, as a downgrade does and an upgrade may, has all of its last
    # day and no more.
    whole = ended_ms is None or ended_ms == natural_end_ms
    period = Period(
        start_ms=start_ms,
        end_ms=end_ms,
        to_ms=end_ms - 1000 if whole else end_ms // 1000 * 1000,
        last_ms=end_ms - 1 if whole else min(end_ms, natural_end_ms - 1),
        duration_days=grid.duration_days(k),
        timezone=grid.timezone,
        fixed_at_ms=fixed_at_ms,
        due_at_ms=due_at_ms,
        late_until_ms=due_at_ms + terms.late_window_ms,
        closing_reason=reason,
        upgraded=subscription.upgraded and not whole,
        refuses_late=terms.refuses_late,
        revise_every_ms=terms.revise_every_ms,
        max_groups=terms.max_groups,
        fold_version=terms.fold_version,
        end_rules=terms.end_rules,
    )
    return _shared(period)


def _waits_behind(post_ms: int, terms: Terms) -> bool:
    """Return whether a planned downgrade comes hours after the post that it waited for.

    That post had passed in another timezone when the customer moved there, so it came at once.
    """
    subscription = terms.subscription
    end_ms = subscription.terminated_at_ms
    if terms.end_rules < EXACT_ENDS or end_ms is None or end_ms != subscription.usage_end_ms:
        return False
    planned = subscription.replaced_by is not None and not subscription.upgraded
    if not planned or subscription.superseded_at_ms == end_ms:
        return False
    return post_ms < end_ms < post_ms + _shift_ms(terms)


def _running_under(start_ms: int, terms: Terms, created_ms: int) -> Period | None:
    """Return the period from a moment on that nothing cuts short; None: the terms came too late."""
    running = _running(start_ms, terms[2:])
    if created_ms < running.end_ms and terms.since_ms <= running.fixed_at_ms:
        return running
    return None


@lru_cache(16_384)
def _running(start_ms: int, terms: tuple[Any, ...]) -> Period:
    """Return the period from a moment on that nothing cuts short; `terms` from their grid on.

    Most periods are like it, and most subscriptions of a plan share them.
    """
    grid, grace_ms, close_grid_ms, late_window_ms, _, *rules = terms
    k = grid.index_at(start_ms)
    end_ms = grid.start_ms(k + 1)
    due_at_ms = ceil_to(end_ms + grace_ms, close_grid_ms)
    bounds = (start_ms, end_ms, end_ms - 1000, end_ms - 1, grid.duration_days(k), grid.timezone)
    due_ms = (due_at_ms, due_at_ms, due_at_ms + late_window_ms)
    fields: tuple[Any, ...] = (*bounds, *due_ms, "period_end", False, *rules)
    return Period(*fields)


@lru_cache(1_024)
def _running_due(done_ms: int, terms: tuple[Any, ...]) -> Due:
    """Return what is due first after a cut where nothing cuts any period short.

    Most subscriptions of a plan share it.
    """
    grid, grace_ms, close_grid_ms, *_ = terms
    # The last one that is due by then is made, too: closing the next one may need it.
    k = grid.index_at(done_ms // close_grid_ms * close_grid_ms - grace_ms) - 1
    return _first_due(done_ms, (_running(grid.start_ms(i), terms) for i in count(k)))


def ever_under(terms: Sequence[Terms]) -> Timeline:
    """Return the timeline of one that ever ran under the terms of another."""
    first, *later = (each._replace(subscription=_EVER_RUNS) for each in terms)
    return Timeline([first._replace(since_ms=-1), *later])


_EVER_RUNS = Subscription(
    id="",
    organization_id="",
    external_id="",
    external_customer_id="",
    plan_id="",
    billing_time="calendar",
    subscription_at_ms=0,
    started_at_ms=0,
    created_at_ms=0,
)
"""Stands for whoever began long before it is asked what is due."""


@lru_cache(16_384)
def _shared(period: Period) -> Period:
    """Return the one kept copy of a period: subscriptions of a plan share most periods."""
    return period


def _fixed_at(end_ms: int, ended: bool, terms: Terms, created_ms: int) -> int:
    """Return the first multiple of the close grid (ms) where the period is over and its grace past.

    It is not before the moment since which these terms describe the period.
    """
    has_grace = not ended or terms.fold_version > 1
    ready_ms = max(end_ms, created_ms) + (terms.grace_ms if has_grace else 0)
    return ceil_to(max(ready_ms, terms.since_ms), terms.close_grid_ms)


def _closing_reason(subscription: Subscription, ended_ms: int | None) -> ClosingReason:
    if ended_ms is None:
        return "period_end"
    return "plan_change" if subscription.replaced_by is not None else "termination"


def ceil_to(at_ms: int, grid_ms: int) -> int:
    """Return the first multiple of `grid_ms` at or after the instant."""
    return -(-at_ms // grid_ms) * grid_ms
