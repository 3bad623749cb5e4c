"""The periods of one subscription and when each is due, from the definitions log alone.

They are found by arithmetic, wherever that tells: nobody goes through all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.alike_terms import AlikeTerms, Terms
from app.definitions.model import Subscription
from app.definitions.periods import (
    NEVER_MS,
    TIMEZONE_SHIFT_MS,
    Due,
    Period,
    ceil_to,
    first_due,
    may_end,
    periods_under,
    running_due,
    running_under,
)

T = TypeVar("T")

_LATE_WINDOW_MS = attrgetter("late_window_ms")
_REVISE_EVERY_MS = attrgetter("revise_every_ms")
_NEAR_PERIODS = 8
"""Most periods that are made one after the other, rather than one of them by arithmetic."""
_LATE_MS = 45 * 86_400 * 1000


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
            kept.more = periods_under(terms, previous=kept.periods[-1], first=kept.made_under[-1])
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
        # To ask for an instance takes longer: it is a kind of Sequence.
        if type(terms) is AlikeTerms:
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
            self._begun = _Stretch(periods_under(self.terms))
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
        return (period for _, period in periods_under(self.terms, done_ms))

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
                due = running_due(done_ms, newest[2:])
                period, earlier = due.periods[0]
                if earlier is not None and regular_ms <= earlier.start_ms:
                    return due
                known = self._due.periods[-1:] if self._due is not None else ()
                if known and known[0][0].end_ms == period.start_ms >= regular_ms:
                    # What is due first begins with it, as ever, but follows one of its own.
                    periods = ((period, known[0][0]), *due.periods[1:])
                    return Due.of(done_ms, due.at_ms, periods)
        return first_due(done_ms, self.due_after(done_ms))

    def fixed_since(self, at_ms: int, until_ms: int) -> list[Period]:
        """Return the periods fixed at or after `at_ms` that start until `until_ms`, in order."""
        if at_ms <= -NEVER_MS:
            return self.until(until_ms)
        if at_ms >= NEVER_MS:
            return []
        first, found = self._first, list[Period]()
        if len(first.periods) <= _NEAR_PERIODS and first.is_near(until_ms):
            return [period for period in self.until(until_ms) if period.fixed_at_ms >= at_ms]
        for _, period in periods_under(self.terms, at_ms - 1, skips_never=False):
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
        periods = periods_under(self.terms, alike_until_ms=alike_until_ms)
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
        periods = periods_under(self.terms, done_ms)
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
        for _, period in periods_under(terms, at_ms - 1):
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
            return running_under(start_ms, entry, entry.since_ms)
        if len(terms) < 2:
            return None
        entry = terms[-1]
        regular_ms = _regular_ms(entry)
        if at_ms < regular_ms or regular_ms >= NEVER_MS:
            return None
        start_ms = entry.grid.start_ms(entry.grid.index_at(at_ms))
        return running_under(start_ms, entry, terms[0].since_ms) if regular_ms <= start_ms else None

    def _around(self, at_ms: int) -> _Stretch:
        """Return a stretch that has the period holding an instant, and all after it."""
        first, recent = self._first, self._recent
        begins = bool(first.periods) or first.advance()
        if not begins or at_ms < first.starts_ms[0] or first.is_near(at_ms):
            return first
        if recent is not None and recent.is_near(at_ms):
            return recent
        # As far back as late events mostly are, so that these do not ask for others.
        recent = _Stretch(periods_under(self.terms, at_ms - _LATE_MS, skips_never=False))
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
    if may_end(subscription):
        return NEVER_MS
    return max(newest.since_ms, subscription.started_at_ms) + TIMEZONE_SHIFT_MS


def _lasting_in(terms: Sequence[Terms]) -> Terms | None:
    """Return the only terms of whom nothing ends; None: there are others, or it has an end."""
    if len(terms) != 1:
        return None
    (entry,) = terms
    return None if may_end(entry.subscription) else entry


def _differ_ms(one: Sequence[Terms], other: Sequence[Terms]) -> int:
    """Return since when terms differ from others; NEVER_MS: they do not."""
    pairs = enumerate(zip(one, other, strict=False))
    alike = min(len(one), len(other))
    common = next((number for number, (ours, theirs) in pairs if ours != theirs), alike)
    return min((each[common].since_ms for each in (one, other) if each[common:]), default=NEVER_MS)


class FixedPeriods(Timeline):
    """Given periods that are never due: every event counts from cut 0 on."""

    __slots__ = ()

    def __init__(self, periods: Iterable[Period]):
        super().__init__([], False)
        self._begun = _Stretch((0, period) for period in periods)


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
